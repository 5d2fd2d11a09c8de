//! Random numbers that depend on their purpose, never on time or thread order.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// What random numbers are drawn for. Different purposes with the same seed are independent.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The order of an epoch's pictures.
    Shuffle = 1,
    /// Crops and flips of one picture in one epoch.
    Augment = 2,
    /// A rendered picture of the training split.
    RenderTrain = 3,
    /// A rendered picture of the validation split.
    RenderVal = 4,
    /// RandAugment of one picture in one epoch.
    RandAugment = 5,
    /// Random erasing of one picture in one epoch.
    Erase = 6,
    /// Mixup or CutMix of one batch in one epoch.
    Mix = 7,
    /// The picture in the place of one that cannot be read.
    Replace = 8,
    /// A rendered scene of the training split.
    SceneTrain = 9,
    /// A rendered scene of the validation split.
    SceneVal = 10,
    /// The colours of one picture in one epoch.
    Jitter = 11,
}

/// A generator for one purpose, epoch and picture or batch.
pub(super) fn generator(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> Pcg64Mcg {
    let mixed = [purpose as u64, epoch, index]
        .into_iter()
        .fold(seed, |h, v| mix(h ^ mix(v.wrapping_add(0x9E37_79B9_7F4A_7C15))));
    Pcg64Mcg::seed_from_u64(mixed)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
