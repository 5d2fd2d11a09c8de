//! How training pictures are varied: crop and flip, RandAugment, random erasing.

mod crop;
mod erasing;
mod geometric;
mod operation;
mod photometric;
mod rand_augment;

use image::RgbImage;

pub use crop::Augment;
pub use rand_augment::{Convention, RandAugment};

use super::random::{Purpose, generator};

/// How training pictures are varied. The default is not at all.
///
/// Each step draws from random numbers of its own, so turning one on leaves what the others do as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Which part of a picture is seen, and whether it is flipped.
    pub crop: Augment,
    /// RandAugment, after crop and flip, on pictures of the training resolution.
    pub rand_augment: Option<RandAugment>,
    /// Probability, from 0 to 1, that a rectangle of a picture is replaced by noise: between 2 % and a third of its area, 0.3
    /// to 1/0.3 in shape (Zhong et al. 2017, arXiv 1708.04896). Each value of the noise is uniform over 0 to 255.
    pub erasing: f32,
}

impl Augmentation {
    /// Turns a training picture into `res` x `res` pixels. The result depends on seed, epoch and index alone.
    pub(super) fn picture(
        &self,
        picture: &RgbImage,
        res: u32,
        small: bool,
        (seed, epoch, index): (u64, u64, u64),
    ) -> RgbImage {
        let rng = |purpose| generator(seed, purpose, epoch, index);
        let mut varied = crop::training_crop(picture, res, self.crop, small, &mut rng(Purpose::Augment));
        if let Some(rand_augment) = self.rand_augment {
            rand_augment.apply(&mut varied, &mut rng(Purpose::RandAugment));
        }
        erasing::erase(&mut varied, self.erasing, &mut rng(Purpose::Erase));
        varied
    }
}
