//! How training pictures are varied.

mod crop;

use image::RgbImage;

pub use crop::Augment;

use super::random::{Purpose, generator};

/// How training pictures are varied. The default is not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Augmentation {
    /// Which part of a picture is seen, and whether it is flipped.
    pub crop: Augment,
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
        crop::training_crop(picture, res, self.crop, small, &mut generator(seed, Purpose::Augment, epoch, index))
    }
}
