//! RandAugment's sixteen operations.

use image::RgbImage;

use super::super::geometry::Affine;
use super::{geometric, photometric};

/// One change of a picture, with all its arguments: nothing is random here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) enum Operation {
    /// Stretches each channel from 0 to 255.
    AutoContrast,
    /// Flattens each channel's histogram.
    Equalize,
    /// The negative.
    Invert,
    /// Turns around the centre, counterclockwise.
    Rotate { degrees: f64 },
    /// Keeps the high bits of each value, 0 to 8 of them.
    Posterize { bits: u32 },
    /// Inverts the values from a threshold on, 0 (all of them) to 256 (none).
    Solarize { threshold: u32 },
    /// Adds to the values below 128, up to 255.
    SolarizeAdd { addition: u32 },
    /// Colourfulness: 0 is grey, 1 the picture itself.
    Color { factor: f32 },
    /// Contrast: 0 is the mean grey, 1 the picture itself.
    Contrast { factor: f32 },
    /// Brightness: 0 is black, 1 the picture itself.
    Brightness { factor: f32 },
    /// Sharpness: 0 is smoothed, 1 the picture itself.
    Sharpness { factor: f32 },
    /// Moves each row to the left by a share of its distance from the top.
    ShearX { share: f64 },
    /// Moves each column up by a share of its distance from the left.
    ShearY { share: f64 },
    /// Moves to the left.
    TranslateX { pixels: f64 },
    /// Moves up.
    TranslateY { pixels: f64 },
    /// Covers a square of twice `half_side` pixels around a point with grey.
    Cutout { centre: (u32, u32), half_side: u32 },
}

impl Operation {
    /// The map from the result's points to those of a picture of this width and height, if the operation moves pixels.
    pub(in crate::data) fn affine(self, size: (u32, u32)) -> Option<Affine> {
        match self {
            Self::Rotate { degrees } => Some(geometric::rotation(size, degrees)),
            Self::ShearX { share } => Some([1.0, share, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY { share } => Some([1.0, 0.0, 0.0, share, 1.0, 0.0]),
            Self::TranslateX { pixels } => Some([1.0, 0.0, pixels, 0.0, 1.0, 0.0]),
            Self::TranslateY { pixels } => Some([1.0, 0.0, 0.0, 0.0, 1.0, pixels]),
            _ => None,
        }
    }

    /// Whether it changes colours alone: it neither moves nor hides anything.
    pub(super) fn keeps_places(self) -> bool {
        self.affine((1, 1)).is_none() && !matches!(self, Self::Cutout { .. })
    }

    /// Changes a picture of at least one pixel.
    pub(in crate::data) fn apply(self, picture: &mut RgbImage) {
        if let Some(affine) = self.affine(picture.dimensions()) {
            *picture = geometric::affine(picture, affine);
            return;
        }
        match self {
            Self::Rotate { .. }
            | Self::ShearX { .. }
            | Self::ShearY { .. }
            | Self::TranslateX { .. }
            | Self::TranslateY { .. } => {}
            Self::AutoContrast => photometric::auto_contrast(picture),
            Self::Equalize => photometric::equalize(picture),
            Self::Invert => photometric::map(picture, |v| 255 - v),
            Self::Posterize { bits } => photometric::map(picture, |v| v & !(0xFF_u32 >> bits) as u8),
            Self::Solarize { threshold } => {
                photometric::map(picture, |v| if u32::from(v) < threshold { v } else { 255 - v });
            }
            Self::SolarizeAdd { addition } => {
                photometric::map(picture, |v| if v < 128 { (u32::from(v) + addition).min(255) as u8 } else { v });
            }
            Self::Color { factor } => photometric::color(picture, factor),
            Self::Contrast { factor } => photometric::contrast(picture, factor),
            Self::Brightness { factor } => photometric::brightness(picture, factor),
            Self::Sharpness { factor } => photometric::sharpness(picture, factor),
            Self::Cutout { centre, half_side } => geometric::cutout(picture, centre, half_side),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::Operation::*;
    use super::*;

    /// Pillow's results at fixed arguments, to the bit.
    #[test]
    fn operations_equal_pillow() {
        let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
        let open = |name: &str| image::open(golden.join(format!("augment_{name}.png"))).unwrap().to_rgb8();
        for (name, operation) in [
            ("autocontrast", AutoContrast),
            ("equalize", Equalize),
            ("invert", Invert),
            ("posterize_4", Posterize { bits: 4 }),
            ("solarize_100", Solarize { threshold: 100 }),
            ("color_1.9", Color { factor: 1.9 }),
            ("contrast_1.9", Contrast { factor: 1.9 }),
            ("brightness_0.4", Brightness { factor: 0.4 }),
            ("sharpness_1.9", Sharpness { factor: 1.9 }),
            ("rotate_20", Rotate { degrees: 20.0 }),
            ("shear_x_0.3", ShearX { share: 0.3 }),
            ("shear_y_-0.3", ShearY { share: -0.3 }),
            ("translate_x_10", TranslateX { pixels: 10.0 }),
            ("translate_y_-7", TranslateY { pixels: -7.0 }),
        ] {
            let (mut got, want) = (open("in"), open(name));
            operation.apply(&mut got);
            let differing = got.iter().zip(want.iter()).filter(|(g, w)| g != w).count();
            assert_eq!(differing, 0, "{name}: values of {}", want.len());
        }
    }

    /// The result of one operation on a picture of a single grey.
    fn of_grey(operation: Operation, grey: u8) -> u8 {
        let mut picture = RgbImage::from_pixel(5, 4, image::Rgb([grey; 3]));
        operation.apply(&mut picture);
        picture.get_pixel(2, 2)[0]
    }

    #[test]
    fn solarize_add_leaves_the_bright_values() {
        let add = |grey| of_grey(SolarizeAdd { addition: 165 }, grey);
        assert_eq!([0, 20, 90, 127, 128, 255].map(add), [165, 185, 255, 255, 128, 255]);
    }

    #[test]
    fn arguments_at_the_ends_of_their_ranges() {
        assert_eq!([7, 200].map(|v| of_grey(Posterize { bits: 0 }, v)), [0, 0]);
        assert_eq!([7, 200].map(|v| of_grey(Posterize { bits: 8 }, v)), [7, 200]);
        assert_eq!([7, 255].map(|v| of_grey(Solarize { threshold: 384 }, v)), [7, 255]);
        assert_eq!([7, 255].map(|v| of_grey(Solarize { threshold: 0 }, v)), [248, 0]);
        assert_eq!([7, 255].map(|v| of_grey(Brightness { factor: 2.8 }, v)), [19, 255]);
        assert_eq!(of_grey(TranslateX { pixels: 150.0 }, 9), 128);
    }

    /// With a single value, a histogram has nothing to stretch or flatten.
    #[test]
    fn pictures_of_one_colour_keep_it() {
        for operation in
            [AutoContrast, Equalize, Color { factor: 2.8 }, Contrast { factor: 2.8 }, Sharpness { factor: 2.8 }]
        {
            assert_eq!([0, 77, 255].map(|v| of_grey(operation, v)), [0, 77, 255], "{operation:?}");
        }
    }

    #[test]
    fn a_cutout_ends_at_the_border() {
        let covered = |centre, half_side| {
            let mut picture = RgbImage::new(10, 6);
            Cutout { centre, half_side }.apply(&mut picture);
            picture.pixels().filter(|p| p.0 == [128; 3]).count()
        };
        assert_eq!(covered((4, 3), 2), 16);
        assert_eq!(covered((0, 5), 2), 2 * 3, "columns 0 and 1, rows 3 to 5");
        assert_eq!(covered((9, 0), 60), 60);
        assert_eq!(covered((4, 3), 0), 0);
    }
}
