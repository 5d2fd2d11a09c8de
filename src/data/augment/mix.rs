//! Mixup and CutMix, as timm's Mixup does them for a whole batch: picture `i` is mixed with picture `N - 1 - i`, with
//! one share for the whole batch.

use rand::RngExt;
use rand_distr::{Beta, Distribution};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::Mixed;

/// Mixes the pictures of a batch, packed pixels of `size` (height, width), and returns how; `None` if they were not
/// mixed. An alpha of 0 turns a kind off.
pub(super) fn mix(pixels: &mut [u32], size: [usize; 2], mixup: f32, cutmix: f32, rng: &mut Pcg64Mcg) -> Option<Mixed> {
    let cut = match (mixup > 0.0, cutmix > 0.0) {
        (false, false) => return None,
        (true, true) => rng.random(),
        (_, cut) => cut,
    };
    let alpha = f64::from(if cut { cutmix } else { mixup });
    let mut share: f64 = Beta::new(alpha, alpha).expect("only a positive alpha turns mixing on").sample(rng);
    let picture = size[0] * size[1];
    if cut {
        let [columns, rows] = rectangle(size, share, rng);
        share = 1.0 - (columns.len() * rows.len()) as f64 / picture as f64;
        pairs(pixels, picture).for_each(|(first, second)| {
            for row in rows.clone() {
                let part = row * size[1] + columns.start..row * size[1] + columns.end;
                first[part.clone()].swap_with_slice(&mut second[part]);
            }
        });
    } else {
        pairs(pixels, picture).for_each(|(first, second)| {
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (blend(*a, *b, share as f32), blend(*b, *a, share as f32));
            }
        });
    }
    Some(Mixed { share: share as f32 })
}

/// The pairs of pictures that are mixed: first and last, second and last but one, and so on; `picture` is the number of
/// pixels of one. The middle picture of an odd batch has no partner and stays as it is.
fn pairs(pixels: &mut [u32], picture: usize) -> impl IndexedParallelIterator<Item = (&mut [u32], &mut [u32])> {
    let half = pixels.len() / picture / 2;
    let (first, second) = pixels.split_at_mut(half * picture);
    first.par_chunks_exact_mut(picture).zip(second.par_chunks_exact_mut(picture).rev())
}

/// Columns and rows of a rectangle around a random point with `1 - share` of the area of a picture of `size`, clipped
/// to the picture.
fn rectangle([height, width]: [usize; 2], share: f64, rng: &mut Pcg64Mcg) -> [std::ops::Range<usize>; 2] {
    [width, height].map(|side| {
        let half = (side as f64 * (1.0 - share).sqrt()) as usize / 2;
        let centre = rng.random_range(0..side);
        centre.saturating_sub(half)..(centre + half).min(side)
    })
}

/// `share` of one pixel and the rest of another, each channel rounded to 8 bits.
fn blend(a: u32, b: u32, share: f32) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u32::from_le_bytes(std::array::from_fn(|i| (f32::from(a[i]) * share + f32::from(b[i]) * (1.0 - share) + 0.5) as u8))
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Purpose, generator};
    use super::*;

    /// Pictures of one value each: 10, 20, 30 and so on.
    fn pixels(count: usize, size: [usize; 2]) -> Vec<u32> {
        let picture = |i: usize| vec![u32::from_le_bytes([10 * i as u8, 10 * i as u8, 7, 255]); size[0] * size[1]];
        (1..=count).flat_map(picture).collect()
    }

    /// A batch after mixing, and the share that each picture keeps.
    struct Batch {
        pixels: Vec<u32>,
        count: usize,
        share: f32,
    }

    fn mixed(count: usize, size: [usize; 2], mixup: f32, cutmix: f32, number: u64) -> Batch {
        let mut pixels = pixels(count, size);
        let mixed = mix(&mut pixels, size, mixup, cutmix, &mut generator(1, Purpose::Mix, 0, number));
        Batch { pixels, count, share: mixed.map_or(1.0, |mixed| mixed.share) }
    }

    /// The values of each picture's first channel.
    fn values(batch: &Batch) -> Vec<Vec<u8>> {
        let pictures = batch.pixels.chunks(batch.pixels.len() / batch.count);
        pictures.map(|picture| picture.iter().map(|p| p.to_le_bytes()[0]).collect()).collect()
    }

    #[test]
    fn no_alpha_changes_nothing() {
        let batch = mixed(4, [3, 3], 0.0, 0.0, 0);
        assert_eq!((batch.pixels, batch.share), (pixels(4, [3, 3]), 1.0));
    }

    #[test]
    fn mixup_blends_each_picture_with_its_partner() {
        for number in 0..50 {
            let batch = mixed(5, [3, 2], 0.8, 0.0, number);
            let share = batch.share;
            for (i, picture) in values(&batch).iter().enumerate() {
                let (own, other) = (10.0 * (1 + i) as f32, 10.0 * (5 - i) as f32);
                let want = share * own + (1.0 - share) * other;
                // Half a level for rounding to 8 bits, and the rounding of the sum in f32.
                assert!(picture.iter().all(|&v| (f32::from(v) - want).abs() <= 0.5001), "{want}: {picture:?}");
            }
            assert!(batch.pixels.iter().all(|p| p >> 16 == 0xFF07), "what pictures have in common stays");
        }
    }

    #[test]
    fn cutmix_shares_are_those_of_the_pixels() {
        let mut corrected = 0;
        for number in 0..200 {
            let size = if number % 2 == 0 { [16, 16] } else { [8, 32] };
            let batch = mixed(4, size, 0.0, 1.0, number);
            for (i, picture) in values(&batch).iter().enumerate() {
                let of = |picture_of: usize| picture.iter().filter(|&&v| usize::from(v) == 10 * picture_of).count();
                let (own, other) = (of(1 + i), of(4 - i));
                assert_eq!(own + other, 256, "whole pixels of the two");
                assert_eq!(batch.share, own as f32 / 256.0);
                // In a square picture an unclipped rectangle is a square with an even side.
                let inner = other.isqrt().pow(2) == other && other % 4 == 0;
                corrected += usize::from(size == [16, 16] && !inner);
            }
        }
        assert!(corrected > 0, "some rectangles are cut off at the border");
    }

    #[test]
    fn each_kind_has_half_of_the_batches() {
        let whole = |batch: &Batch| values(batch).concat().iter().all(|v| v % 10 == 0);
        // Shares from Beta(8, 8) stay clear of 0 and 1, so no blend looks like a whole pixel.
        let cut = (0..1000).filter(|&number| whole(&mixed(2, [8, 8], 8.0, 1.0, number))).count();
        // Five standard deviations of 16 each.
        assert!((420..=580).contains(&cut), "{cut} of 1000");
    }

    /// Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)).
    #[test]
    fn shares_are_beta_distributed() {
        for alpha in [0.2, 1.0, 4.0] {
            let shares: Vec<f64> = (0..4000).map(|n| f64::from(mixed(1, [1, 1], alpha, 0.0, n).share)).collect();
            let count = shares.len() as f64;
            let variance = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            let mean = shares.iter().sum::<f64>() / count;
            let spread = shares.iter().map(|s| (s - 0.5).powi(2)).sum::<f64>() / count;
            assert!((mean - 0.5).abs() < 5.0 * (variance / count).sqrt(), "{alpha}: mean {mean}");
            // (s - 1/2)^2 lies within 0 and 1/4, so its variance is below `variance / 4`.
            assert!(
                (spread - variance).abs() < 5.0 * (variance / 4.0 / count).sqrt(),
                "{alpha}: {spread}, not {variance}"
            );
        }
    }

    #[test]
    fn one_picture_and_one_pixel() {
        for number in 0..50 {
            assert_eq!(mixed(1, [4, 4], 1.0, 1.0, number).pixels, pixels(1, [4, 4]));
            assert_eq!(mixed(4, [1, 1], 0.0, 1.0, number).share, 1.0, "no rectangle fits into a pixel");
        }
    }
}
