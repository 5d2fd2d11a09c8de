//! Random crops and flips.

use image::{RgbImage, imageops};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::super::geometry::Geometry;
use super::super::resize::{Interpolation, Placement, Region, View, evaluation_view, placed, resize};

/// How a training picture is cropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Augment {
    /// As an evaluation shows it, never flipped.
    View(View),
    /// Random crops and horizontal flips. Small pictures are shifted by up to a share of their side. Of larger ones a
    /// random part (8 to 100 % of the area, aspect ratio 3/4 to 4/3) is resized (tensorflow/tpu,
    /// models/official/resnet/resnet_preprocessing.py).
    Standard {
        /// Largest shift as a share of the side, 0 to 0.5.
        shift: f32,
        /// Probability of a flip, 0 to 1.
        hflip: f32,
    },
    /// Random scales and horizontal flips, for objects and pixels that have places (tensorflow/tpu,
    /// models/official/detection/dataloader; its detectors draw from 0.8 to 1.2, large jitter from 0.1 to 2). The
    /// picture is fitted into the input, whatever its size, with its aspect ratio, and scaled by a factor that is drawn
    /// evenly. Where it is larger then, a random part is seen; where it is smaller, it has a random place in a border.
    /// Depths are divided by the factor, since what is larger is nearer (Eigen et al. 2014, section 3.3).
    Scale {
        /// The least factor, above 0.
        least: f32,
        /// The largest factor.
        most: f32,
        /// Probability of a flip, 0 to 1.
        hflip: f32,
        /// Colour of the border, red first: that of the [`View`] that evaluates, the mean colour of the data.
        border: [u8; 3],
    },
}

impl Default for Augment {
    /// The largest central square, resized, never flipped.
    fn default() -> Self {
        Self::View(View::center(1.0))
    }
}

/// Crops and resizes a training picture to `size` (height, width), and returns the geometry of the result.
pub(super) fn training_crop(
    picture: &RgbImage,
    size: [usize; 2],
    augment: Augment,
    small: bool,
    rng: &mut Pcg64Mcg,
) -> (RgbImage, Geometry) {
    let ((mut crop, mut geometry), hflip) = match augment {
        Augment::View(view) => return evaluation_view(picture, size, view),
        Augment::Standard { shift, hflip } if small => {
            (shifted(evaluation_view(picture, size, View::center(1.0)), shift, rng), hflip)
        }
        Augment::Standard { hflip, .. } => {
            let part = random_part(picture.width(), picture.height(), rng);
            let crop = resize(picture, part, size[1] as u32, size[0] as u32, Interpolation::Bicubic);
            ((crop, Geometry::of_part(part, size)), hflip)
        }
        Augment::Scale { least, most, hflip, border } => {
            let zoom = f64::from(rng.random_range(least..=most));
            let placement = scaled(picture.dimensions(), size, zoom, rng);
            let crop = placed(picture, placement, size, Interpolation::Bilinear, border);
            ((crop, Geometry { zoom, ..Geometry::of_placement(placement, size) }), hflip)
        }
    };
    // The largest numbers flip: with a probability of 1/2 the highest bit alone decides.
    if f64::from(rng.random::<u32>()) >= (1.0 - f64::from(hflip)) * 2f64.powi(32) {
        imageops::flip_horizontal_in_place(&mut crop);
        geometry = geometry.mirrored();
    }
    (crop, geometry)
}

/// A random place for a picture of this width and height in an input of `size` (height, width), which it fits at a
/// `factor` of 1.
fn scaled((w, h): (u32, u32), size: [usize; 2], factor: f64, rng: &mut Pcg64Mcg) -> Placement {
    let fit = (size[1] as f64 / f64::from(w)).min(size[0] as f64 / f64::from(h)) * factor;
    // Along one axis: start and length in the picture, and in the input.
    let mut span = |side: u32, res: usize| {
        let (length, seen, res) = (f64::from(side), res as f64 / fit, res as u32);
        if seen < length {
            // The minimum keeps rounding from reaching beyond the last pixel.
            let start = rng.random_range(0.0..=length - seen);
            return ((start, seen.min(length - start)), (0, res));
        }
        let resized = ((length * fit).round() as u32).clamp(1, res);
        ((0.0, length), (rng.random_range(0..=res - resized), resized))
    };
    let ((left, part_width), (x, across)) = span(w, size[1]);
    let ((top, part_height), (y, down)) = span(h, size[0]);
    Placement { part: [left, top, part_width, part_height], target: [x, y, across, down] }
}

/// Moves a picture by up to a share of its sides in each direction; black comes in from outside.
fn shifted((picture, geometry): (RgbImage, Geometry), share: f32, rng: &mut Pcg64Mcg) -> (RgbImage, Geometry) {
    let (width, height) = picture.dimensions();
    let mut random = |side: u32| {
        let reach = (side as f32 * share) as i64;
        rng.random_range(-reach..=reach)
    };
    let (x, y) = (random(width), random(height));
    let mut moved = RgbImage::new(width, height);
    imageops::replace(&mut moved, &picture, x, y);
    (moved, geometry.after([1.0, 0.0, -x as f64, 0.0, 1.0, -y as f64]))
}

/// A random part of a picture, as torchvision's RandomResizedCrop draws it: ten attempts, else the largest central part
/// of an allowed shape.
fn random_part(width: u32, height: u32, rng: &mut Pcg64Mcg) -> Region {
    let (w, h) = (f64::from(width), f64::from(height));
    let (narrowest, widest) = (3.0f64 / 4.0, 4.0f64 / 3.0);
    for _ in 0..10 {
        let area = w * h * rng.random_range(0.08..=1.0);
        let shape = rng.random_range(narrowest.ln()..=widest.ln()).exp();
        let (pw, ph) = ((area * shape).sqrt().round(), (area / shape).sqrt().round());
        if (1.0..=w).contains(&pw) && (1.0..=h).contains(&ph) {
            let left = rng.random_range(0..=(w - pw) as u32);
            let top = rng.random_range(0..=(h - ph) as u32);
            return [f64::from(left), f64::from(top), pw, ph];
        }
    }
    let (pw, ph) = if w / h < narrowest {
        (w, (w / narrowest).round().clamp(1.0, h))
    } else if w / h > widest {
        ((h * widest).round().clamp(1.0, w), h)
    } else {
        (w, h)
    };
    [((w - pw) / 2.0).floor(), ((h - ph) / 2.0).floor(), pw, ph]
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Purpose, generator};
    use super::*;

    #[test]
    fn parts_lie_inside_and_cover_the_range() {
        let mut rng = generator(1, Purpose::Augment, 0, 0);
        let mut smallest: f64 = 1.0;
        for (w, h) in [(500, 375), (1, 1), (2000, 3), (7, 640)] {
            for _ in 0..500 {
                let [x, y, pw, ph] = random_part(w, h, &mut rng);
                assert!(x >= 0.0 && y >= 0.0 && pw >= 1.0 && ph >= 1.0, "{w} x {h}: {x} {y} {pw} {ph}");
                assert!(x + pw <= f64::from(w) && y + ph <= f64::from(h), "{w} x {h}: {x} {y} {pw} {ph}");
                smallest = smallest.min(pw * ph / f64::from(w * h));
            }
        }
        assert!(smallest < 0.15, "500 draws reach small parts, got {smallest}");
    }

    #[test]
    fn flips_come_as_often_as_asked_for() {
        let picture = RgbImage::from_fn(8, 8, |x, _| image::Rgb([x as u8, 0, 0]));
        let flips = |hflip| {
            let flipped = |epoch: &u64| {
                let mut rng = generator(3, Purpose::Augment, *epoch, 5);
                let crop = training_crop(&picture, [8; 2], Augment::Standard { shift: 0.0, hflip }, true, &mut rng);
                crop.0.get_pixel(0, 0)[0] == 7
            };
            (0..1000).filter(flipped).count()
        };
        assert_eq!((flips(0.0), flips(1.0)), (0, 1000));
        // Binomial: the standard deviation is 14 to 16.
        assert!(flips(0.25).abs_diff(250) < 60 && flips(0.5).abs_diff(500) < 60, "{} {}", flips(0.25), flips(0.5));
    }

    #[test]
    fn crops_repeat_for_the_same_epoch_and_differ_between_epochs() {
        let picture = RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 7]));
        let crop = |epoch| {
            let mut rng = generator(3, Purpose::Augment, epoch, 5);
            training_crop(&picture, [32; 2], Augment::Standard { shift: 0.125, hflip: 0.5 }, true, &mut rng)
                .0
                .into_raw()
        };
        assert_eq!(crop(1), crop(1));
        assert!((0..4).any(|epoch| crop(epoch) != crop(epoch + 1)));
    }

    /// The scales of draws, as pixels of the input a pixel of the picture over those that fit.
    #[test]
    fn scales_cover_their_range_and_all_places_are_reached() {
        for (w, h) in [(500, 375), (30, 40), (1, 1), (2000, 3), (128, 128)] {
            let (size, mut rng) = ([96, 128], generator(1, Purpose::Augment, 0, 0));
            let fit = (128.0 / f64::from(w)).min(96.0 / f64::from(h));
            let (mut ends, mut first, mut last) = ([f64::MAX, 0.0_f64], false, false);
            for draw in 0..400 {
                let factor = 0.5 + f64::from(draw % 100) / 66.0;
                let Placement { part: [left, top, pw, ph], target: [x, y, across, down] } =
                    scaled((w, h), size, factor, &mut rng);
                assert!(left >= 0.0 && top >= 0.0 && pw > 0.0 && ph > 0.0, "{w} x {h}");
                assert!(left + pw <= f64::from(w) && top + ph <= f64::from(h), "{w} x {h}: {left} {top} {pw} {ph}");
                assert!(across > 0 && down > 0 && x + across <= 128 && y + down <= 96, "{w} x {h}");
                // A side of the result is rounded to whole pixels.
                for (scale, pixels) in [(f64::from(across) / pw, across), (f64::from(down) / ph, down)] {
                    let allowed = if pixels < 2 { f64::MAX } else { 0.51 * scale / f64::from(pixels) };
                    assert!((scale - fit * factor).abs() <= allowed, "{w} x {h}: {scale}, not {}", fit * factor);
                    ends = [ends[0].min(scale / fit), ends[1].max(scale / fit)];
                }
                first |= x < 16 && left < 0.25 * f64::from(w);
                last |= x + across > 112 && left + pw > 0.75 * f64::from(w);
            }
            assert!(first && last && ends[0] < 0.6 && ends[1] > 1.9, "{w} x {h}: {ends:?}");
        }
    }

    #[test]
    fn a_border_has_its_colour_and_pictures_smaller_than_the_input_are_whole() {
        let picture = RgbImage::from_pixel(40, 30, image::Rgb([9, 8, 7]));
        let border = [120, 110, 100];
        for epoch in 0..50 {
            let crop = |least: f32, most: f32| {
                let augment = Augment::Scale { least, most, hflip: 0.5, border };
                training_crop(&picture, [64; 2], augment, epoch % 2 == 0, &mut generator(3, Purpose::Augment, epoch, 0))
            };
            let (input, _) = crop(0.5, 1.0);
            let inner = input.pixels().filter(|p| p.0 == [9, 8, 7]).count() as f64;
            let outer = input.pixels().filter(|p| p.0 == border).count();
            assert_eq!(inner as usize + outer, 64 * 64);
            // 64 x 48 at a scale of 1.
            assert!((0.24..=1.01).contains(&(inner / (64.0 * 48.0))), "{inner}");
            assert!(crop(1.5, 2.0).0.pixels().all(|p| p.0 == [9, 8, 7]), "48 pixels are 72 at least");
        }
    }
}
