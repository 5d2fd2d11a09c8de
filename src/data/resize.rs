//! Resizing as Pillow does it, and the evaluation transform of timm.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A part of a picture in pixels: left, top, width, height; fractions allowed.
pub type Region = [f64; 4];

/// Resizes a part of a picture with Pillow's bicubic filter: a = -0.5, widened when shrinking so that it does not alias.
/// The part lies within the picture, which has at least one pixel.
pub(super) fn resize(picture: &RgbImage, part: Region, width: u32, height: u32) -> RgbImage {
    let (w, h) = picture.dimensions();
    if part == [0.0, 0.0, f64::from(w), f64::from(h)] && (w, h) == (width, height) {
        return picture.clone();
    }
    let [left, top, part_width, part_height] = part;
    // A pass an axis, across first, as Pillow does. In one pass with both, fast_image_resize 6.1 keeps too few columns of
    // some enlarged parts with a fractional left edge, and reads outside of them.
    let rows = rows_read(part, h, height);
    let (first, row_count) = (rows.start, rows.end - rows.start);
    let row_bytes = 3 * w as usize;
    let pixels = &picture.as_raw()[first as usize * row_bytes..rows.end as usize * row_bytes];
    let narrow = convolve(pixels, (w, row_count), [left, 0.0, part_width, f64::from(row_count)], (width, row_count));
    let part = [0.0, top - f64::from(first), f64::from(width), part_height];
    convolve(&narrow, (width, row_count), part, (width, height))
}

/// The rows of a picture of `picture_height` that a part of it, resized to `height`, is made of: the filter reaches two pixels of the larger of both
/// sizes beyond the part, and one or two more are there in case something is rounded otherwise. A picture of 1 x 10,000,000 pixels need not be
/// read for the few that are seen.
pub fn rows_read([_, top, _, part_height]: Region, picture_height: u32, height: u32) -> Range<u32> {
    let reach = 2.0 * (part_height / f64::from(height)).max(1.0) + 2.0;
    let first = (top - reach).floor().max(0.0) as u32;
    first..((top + part_height + reach).ceil() as u32).min(picture_height)
}

/// One pass of [`resize`] over RGB pixels of a size (width, height): the part and the result differ along one axis only.
fn convolve(pixels: &[u8], (w, h): (u32, u32), part: Region, (width, height): (u32, u32)) -> RgbImage {
    let [left, top, part_width, part_height] = part;
    // Pillow's BICUBIC is what this crate calls CatmullRom: the cubic convolution with a = -0.5.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).crop(
        left,
        top,
        part_width,
        part_height,
    );
    let mut result = RgbImage::new(width, height);
    // The typed form: the other compiles every filter for every kind of pixel, a quarter of this crate's build.
    let resized = TypedImageRef::<U8x3>::from_buffer(w, h, pixels).ok().and_then(|source| {
        let mut target = TypedImage::from_buffer(width, height, &mut result).ok()?;
        Resizer::new().resize_typed(&source, &mut target, &options).ok()
    });
    // A black picture instead would go unnoticed.
    assert!(resized.is_some(), "{part_width} x {part_height} at {left}, {top} lies within {w} x {h}");
    result
}

/// timm's evaluation transform: the short side to `floor(res / crop_pct)`, bicubic, then the central `res` x `res` pixels.
///
/// `crop_pct` lies in (0, 1]. A picture that is `res` x `res` already is returned unchanged when `crop_pct` is 1; one without
/// pixels becomes black.
pub fn evaluation_crop(picture: &RgbImage, res: u32, crop_pct: f64) -> RgbImage {
    if picture.is_empty() {
        return RgbImage::new(res, res);
    }
    let part = evaluation_part(picture.dimensions(), res, crop_pct);
    resize(picture, part, res, res)
}

/// The part of a picture of this width and height, neither of them 0, that [`evaluation_crop`] resizes.
pub fn evaluation_part((w, h): (u32, u32), res: u32, crop_pct: f64) -> Region {
    let short = (f64::from(res) / crop_pct).floor() as u64;
    // torchvision: the long side is truncated, the short side exact.
    let long = |long_side: u32, short_side: u32| short * u64::from(long_side) / u64::from(short_side);
    let (width, height) = if w <= h { (short, long(h, w)) } else { (long(w, h), short) };
    // Only the crop is computed: a picture of 1 x 10,000 pixels would otherwise grow without bound.
    let offset = |side: u64| (side - u64::from(res)) as f64 / 2.0;
    let (left, top) = (offset(width).round_ties_even(), offset(height).round_ties_even());
    // Start and length in the picture's own pixels. The minimum takes away what rounding may add beyond the last one.
    let span = |offset: f64, resized: u64, side: u32| {
        let scale = f64::from(side) / resized as f64;
        (offset * scale, (f64::from(res) * scale).min(f64::from(side) - offset * scale))
    };
    let ((left, part_width), (top, part_height)) = (span(left, width, w), span(top, height, h));
    [left, top, part_width, part_height]
}

/// Packs a picture's pixels as RGBA, red in the lowest byte.
pub(crate) fn pack(picture: &image::RgbImage) -> Vec<u32> {
    picture.pixels().map(|p| u32::from_le_bytes([p[0], p[1], p[2], 255])).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::IMAGENET_MEAN_STD;
    use super::*;

    /// Golden crops of timm, every fourth row and column, standardised.
    #[test]
    fn crops_equal_timm() {
        let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/oracle/golden"));
        if !golden.exists() {
            eprintln!("skipped: no golden files at {}", golden.display());
            return;
        }
        let picture = image::open(golden.join("picture.png")).unwrap().to_rgb8();
        let (mean, std) = IMAGENET_MEAN_STD;
        for (model, res, crop_pct) in [("rs50", 160, 0.91), ("rs101", 192, 0.94), ("rs152", 256, 1.0)] {
            let bytes = std::fs::read(golden.join(format!("preprocess_{model}.safetensors"))).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let want: Vec<f32> = bytemuck::pod_collect_to_vec(file.tensor("pixels").unwrap().data());
            let crop = evaluation_crop(&picture, res, crop_pct);
            let side = (res as usize).div_ceil(4);
            let mut close = 0;
            for (i, &w) in want.iter().enumerate() {
                let (c, y, x) = (i / side / side, i / side % side * 4, i % side * 4);
                let got = (f32::from(crop.get_pixel(x as u32, y as u32)[c]) / 255.0 - mean[c]) / std[c];
                close += usize::from((got - w).abs() <= 2.0 / 255.0 / std[c] + 1e-5);
            }
            let share = close as f64 / want.len() as f64;
            assert!(share >= 0.999, "{model}: {share} of the pixels agree");
        }
    }

    /// A constant picture stays constant, whatever its size: no pixel comes from outside, and none is left black. Among the
    /// cases are those where rounding leads beyond the edge (53 to 49, 58 to 224) or the first or last column of an
    /// enlarged part falls on a pixel's centre (35 to 160 with 0.91, 24 to 37).
    #[test]
    fn constant_pictures_of_all_sizes_stay_constant() {
        let colour = image::Rgb([255, 130, 1]);
        for side in 1..140 {
            for (w, h) in [(side, side), (side, 140), (140, side)] {
                let picture = RgbImage::from_pixel(w, h, colour);
                for (res, crop_pct) in [(37, 0.91), (49, 1.0), (160, 0.91), (224, 1.0)] {
                    let crop = evaluation_crop(&picture, res, crop_pct);
                    assert!(crop.pixels().all(|&p| p == colour), "{w} x {h} to {res} with {crop_pct}");
                }
            }
        }
    }

    #[test]
    fn extreme_pictures() {
        let colour = image::Rgb([10, 200, 30]);
        for (w, h) in [(1, 1), (1, 5000), (5000, 1), (33, 32), (1, 30_000_000), (30_000_000, 1)] {
            let crop = evaluation_crop(&RgbImage::from_pixel(w, h, colour), 32, 0.91);
            assert_eq!(crop.dimensions(), (32, 32));
            assert!(crop.pixels().all(|&p| p == colour), "{w} x {h}");
        }
        assert!(evaluation_crop(&RgbImage::new(0, 7), 32, 0.91).pixels().all(|p| p.0 == [0; 3]));
    }
}
