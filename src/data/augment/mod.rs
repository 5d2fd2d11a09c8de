//! Augmentation of training pictures: one by one (crop and flip, jitter, RandAugment, random erasing), then as a batch
//! (mixup, CutMix).
//!
//! The geometry of a picture follows crops, flips and RandAugment. Erasing and mixing move nothing, but they hide parts
//! of pictures: they suit classes, not boxes, masks or depths.

mod crop;
mod erasing;
mod geometric;
mod mix;
mod operation;
mod photometric;
mod rand_augment;

use image::RgbImage;

pub use crop::Augment;
#[cfg(test)]
pub(super) use operation::Operation;
pub use rand_augment::{Convention, RandAugment};

use super::Mixed;
use super::geometry::Geometry;
use super::random::{Purpose, generator};

/// How training pictures are augmented. The default is no augmentation.
///
/// Each kind has random numbers of its own, so turning one on does not change another's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Crop and flip.
    pub crop: Augment,
    /// Strength of random changes of brightness, contrast and colourfulness, in random order: each is multiplied by a
    /// factor from `1 - 0.4 * strength` to `1 + 0.4 * strength`. (SSD changes brightness by up to 12 %, the others
    /// by up to 50 %.) From 0, which turns it off, to 2.5.
    pub jitter: f32,
    /// RandAugment, after crop and flip, on pictures of the training resolution.
    pub rand_augment: Option<RandAugment>,
    /// Probability, from 0 to 1, that a rectangle of a picture is replaced by noise: between 2 % and a third of its
    /// area, 0.3 to 1/0.3 in shape (Zhong et al. 2017, arXiv 1708.04896). Each value of the noise is uniform over 0 to
    /// 255.
    pub erasing: f32,
    /// The alpha of mixup (Zhang et al. 2017, arXiv 1710.09412), finite; 0 turns it off. Each batch is blended with
    /// itself in reverse order, with a share drawn from Beta(alpha, alpha).
    pub mixup: f32,
    /// The alpha of CutMix (Yun et al. 2019, arXiv 1905.04899), finite; 0 turns it off. Picture `i` of a batch of N
    /// swaps a rectangle with picture `N - 1 - i`. If mixup is on as well, one of the two is drawn for each batch.
    pub cutmix: f32,
}

impl Augmentation {
    /// Turns a training picture into pixels of `size` (height, width), and returns their geometry. The result depends
    /// on seed, epoch and index alone.
    pub(super) fn picture(
        &self,
        picture: &RgbImage,
        size: [usize; 2],
        small: bool,
        (seed, epoch, index): (u64, u64, u64),
    ) -> (RgbImage, Geometry) {
        let rng = |purpose| generator(seed, purpose, epoch, index);
        let (mut varied, mut geometry) =
            crop::training_crop(picture, size, self.crop, small, &mut rng(Purpose::Augment));
        if self.jitter > 0.0 {
            photometric::jitter(&mut varied, self.jitter, &mut rng(Purpose::Jitter));
        }
        if let Some(rand_augment) = self.rand_augment {
            geometry = rand_augment.apply(&mut varied, geometry, &mut rng(Purpose::RandAugment));
        }
        erasing::erase(&mut varied, self.erasing, &mut rng(Purpose::Erase));
        (varied, geometry)
    }

    /// Mixes the pictures of a whole batch, packed pixels of `size` (height, width). The result depends on seed, epoch
    /// and the batch's number alone.
    pub(super) fn batch(
        &self,
        pixels: &mut [u32],
        size: [usize; 2],
        (seed, epoch, number): (u64, u64, u64),
    ) -> Option<Mixed> {
        mix::mix(pixels, size, self.mixup, self.cutmix, &mut generator(seed, Purpose::Mix, epoch, number))
    }
}
