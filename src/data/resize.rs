//! Resizing as Pillow does it, and the evaluation transform of timm.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use image::imageops::replace;
use serde::{Deserialize, Serialize};

use super::geometry::Geometry;

/// A part of a picture in pixels: left, top, width, height; fractions allowed.
pub type Region = [f64; 4];

/// The filter that resizes a picture, one of Pillow's. All but [`Self::Nearest`] widen when shrinking, which avoids
/// aliasing. `shaders/input/filters.wgsl` numbers the filters in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The pixel under the centre of the result's pixel.
    Nearest,
    /// The mean of the pixels that the result covers.
    Box,
    /// A triangle over two pixels.
    Bilinear,
    /// A raised cosine over two pixels.
    Hamming,
    /// The cubic convolution with a = -0.5, over four pixels.
    #[default]
    Bicubic,
    /// A windowed sinc over six pixels.
    Lanczos,
}

impl Interpolation {
    /// timm's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// Radius of the filter, in pixels of the larger of both pictures.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The filter in fast_image_resize; `None` for [`Self::Nearest`], which has no weights.
    fn filter(self) -> Option<FilterType> {
        Some(match self {
            Self::Nearest => return None,
            Self::Box => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::Hamming => FilterType::Hamming,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        })
    }
}

/// How a picture that is not square becomes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// The short side is resized to fit, and the long side is cropped at both ends.
    #[default]
    Center,
    /// Both sides are resized to fit, each by a factor of its own.
    Squash,
    /// The long side is resized to fit, and a border fills up the short side.
    Border,
}

impl CropMode {
    /// timm's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Center => "center",
            Self::Squash => "squash",
            Self::Border => "border",
        }
    }
}

/// timm's evaluation transform: how a picture becomes the square that a network sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Share of the resized picture that the central crop keeps, in (0, 1].
    pub crop_pct: f64,
    /// The filter that resizes.
    pub interpolation: Interpolation,
    /// What happens if width and height differ.
    pub crop_mode: CropMode,
    /// Colour of [`CropMode::Border`]'s border, red first.
    pub border: [u8; 3],
}

/// Where a picture lies in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// The part of the picture that is seen, in the picture's pixels.
    pub part: Region,
    /// The part of the input that it fills: left, top, width, height. The rest is border.
    pub target: [u32; 4],
}

impl View {
    /// timm's default: bicubic, centre crop.
    pub fn center(crop_pct: f64) -> Self {
        Self { crop_pct, interpolation: Interpolation::default(), crop_mode: CropMode::default(), border: [0; 3] }
    }

    /// Where a picture of this width and height, neither of them 0, lies in an input of `size` (height, width).
    pub fn placement(&self, (w, h): (u32, u32), size: [usize; 2]) -> Placement {
        let [down, across] = size.map(|side| side as u32);
        let whole = |side: u32| (f64::from(side) / self.crop_pct).floor() as u64;
        let (wide, high) = (whole(across), whole(down));
        let ratios = [f64::from(w) / wide as f64, f64::from(h) / high as f64];
        // timm fails if the short side of a thin picture rounds to 0.
        let resized = |length: u32, ratio: f64| (f64::from(length) / ratio).round_ties_even().max(1.0) as u64;
        let (width, height) = match self.crop_mode {
            // torchvision's resizing to a square: the long side is truncated, the short side exact.
            CropMode::Center if wide == high && w <= h => (wide, high * u64::from(h) / u64::from(w)),
            CropMode::Center if wide == high => (wide * u64::from(w) / u64::from(h), high),
            // timm's resizing, by the side that shrinks less.
            CropMode::Center => (resized(w, ratios[0].min(ratios[1])), resized(h, ratios[0].min(ratios[1]))),
            CropMode::Squash => (wide, high),
            CropMode::Border => (resized(w, ratios[0].max(ratios[1])), resized(h, ratios[0].max(ratios[1]))),
        };
        let ((left, part_width), (x, across)) = span(w, width, across);
        let ((top, part_height), (y, down)) = span(h, height, down);
        Placement { part: [left, top, part_width, part_height], target: [x, y, across, down] }
    }
}

/// Along one axis that is resized to `resized` pixels, of which the central `res` are seen: start and length in the
/// picture's own pixels, and start and length in the input. Only the visible part is computed: a picture of 1 x 10,000
/// pixels would otherwise grow without bound.
fn span(side: u32, resized: u64, res: u32) -> ((f64, f64), (u32, u32)) {
    if resized < u64::from(res) {
        let resized = resized as u32;
        return ((0.0, f64::from(side)), ((res - resized) / 2, resized));
    }
    let offset = ((resized - u64::from(res)) as f64 / 2.0).round_ties_even();
    let scale = f64::from(side) / resized as f64;
    // The minimum keeps rounding from reaching beyond the last pixel.
    ((offset * scale, (f64::from(res) * scale).min(f64::from(side) - offset * scale)), (0, res))
}

/// Where the points of [`evaluation_crop`] lie in a picture of this width and height.
pub fn evaluation_geometry(picture: (u32, u32), size: [usize; 2], view: View) -> Geometry {
    match picture {
        (0, _) | (_, 0) => Geometry::of_part([0.0, 0.0, size[1] as f64, size[0] as f64], size),
        _ => Geometry::of_placement(view.placement(picture, size), size),
    }
}

/// [`evaluation_crop`], and the geometry of its result.
#[cfg(feature = "train")]
pub(super) fn evaluation_view(picture: &RgbImage, size: [usize; 2], view: View) -> (RgbImage, Geometry) {
    (evaluation_crop(picture, size, view), evaluation_geometry(picture.dimensions(), size, view))
}

/// Crops and resizes a picture to the pixels of `size` (height, width) that a network sees. A picture of this size is
/// returned unchanged if `crop_pct` is 1; one without pixels becomes black.
pub fn evaluation_crop(picture: &RgbImage, size: [usize; 2], view: View) -> RgbImage {
    if picture.is_empty() {
        return RgbImage::new(size[1] as u32, size[0] as u32);
    }
    placed(picture, view.placement(picture.dimensions(), size), size, view.interpolation, view.border)
}

/// An input of `size` (height, width) with a part of a picture in its place and a border around it.
pub(super) fn placed(
    picture: &RgbImage,
    Placement { part, target: [x, y, width, height] }: Placement,
    size: [usize; 2],
    interpolation: Interpolation,
    border: [u8; 3],
) -> RgbImage {
    let [down, across] = size.map(|side| side as u32);
    let seen = resize(picture, part, width, height, interpolation);
    if (width, height) == (across, down) {
        return seen;
    }
    let mut input = RgbImage::from_pixel(across, down, image::Rgb(border));
    replace(&mut input, &seen, x.into(), y.into());
    input
}

/// Resizes a part of a picture as Pillow does. The part lies within the picture, which has at least one pixel.
pub(super) fn resize(
    picture: &RgbImage,
    part: Region,
    width: u32,
    height: u32,
    interpolation: Interpolation,
) -> RgbImage {
    let (w, h) = picture.dimensions();
    if part == [0.0, 0.0, f64::from(w), f64::from(h)] && (w, h) == (width, height) {
        return picture.clone();
    }
    let Some(filter) = interpolation.filter() else { return nearest(picture, part, width, height) };
    let [left, top, part_width, part_height] = part;
    // One pass per axis, horizontal first, as Pillow does. If both are done in one call, fast_image_resize 6.1 keeps
    // too few columns of some enlarged parts with a fractional left edge, and reads outside of them.
    let rows = rows_read(part, h, height, interpolation);
    let (first, row_count) = (rows.start, rows.end - rows.start);
    let row_bytes = 3 * w as usize;
    let pixels = &picture.as_raw()[first as usize * row_bytes..rows.end as usize * row_bytes];
    let across = [left, 0.0, part_width, f64::from(row_count)];
    let narrow = one_axis(pixels, (w, row_count), across, (width, row_count), filter);
    let down = [0.0, top - f64::from(first), f64::from(width), part_height];
    one_axis(&narrow, (width, row_count), down, (width, height), filter)
}

/// [`resize`] without a filter.
fn nearest(picture: &RgbImage, [left, top, part_width, part_height]: Region, width: u32, height: u32) -> RgbImage {
    let columns = nearest_of(left, part_width, width, picture.width());
    let rows = nearest_of(top, part_height, height, picture.height());
    RgbImage::from_fn(width, height, |x, y| *picture.get_pixel(columns[x as usize], rows[y as usize]))
}

/// Along one axis of `side` pixels: the source of each of `count` results, which cover `length` pixels from `start` on.
/// Pillow walks along the whole axis and adds up steps, so at a boundary between two pixels its rounding errors decide.
fn nearest_of(start: f64, length: f64, count: u32, side: u32) -> Vec<u32> {
    let scale = length / f64::from(count);
    let (resized, skipped) = ((f64::from(side) / scale).round(), (start / scale).round() as usize);
    let step = f64::from(side) / resized;
    let positions = std::iter::successors(Some(0.5 * step), |at| Some(at + step));
    positions.skip(skipped).take(count as usize).map(|at| (at as u32).min(side - 1)).collect()
}

/// The rows of a picture of `picture_height` that a part of it, resized to `height`, depends on, with one or two more
/// at either end for other roundings. Of a picture of 1 x 10,000,000 pixels only the few visible rows need be read.
pub fn rows_read(
    [_, top, _, part_height]: Region,
    picture_height: u32,
    height: u32,
    interpolation: Interpolation,
) -> Range<u32> {
    let reach = interpolation.support() * (part_height / f64::from(height)).max(1.0) + 2.0;
    let first = (top - reach).floor().max(0.0) as u32;
    first..((top + part_height + reach).ceil() as u32).min(picture_height)
}

/// One pass of [`resize`] over RGB pixels of a size (width, height): the part and the result differ along one axis
/// only.
fn one_axis(
    pixels: &[u8],
    (w, h): (u32, u32),
    part: Region,
    (width, height): (u32, u32),
    filter: FilterType,
) -> RgbImage {
    let [left, top, part_width, part_height] = part;
    let algorithm = ResizeAlg::Convolution(filter);
    let options = ResizeOptions::new().resize_alg(algorithm).crop(left, top, part_width, part_height);
    let mut result = RgbImage::new(width, height);
    // The typed interface: the untyped one compiles every filter for every kind of pixel, a quarter of this crate's
    // build time.
    let resized = TypedImageRef::<U8x3>::from_buffer(w, h, pixels).ok().and_then(|source| {
        let mut target = TypedImage::from_buffer(width, height, &mut result).ok()?;
        Resizer::new().resize_typed(&source, &mut target, &options).ok()
    });
    // Without this check a black picture would go unnoticed.
    assert!(resized.is_some(), "{part_width} x {part_height} at {left}, {top} lies within {w} x {h}");
    result
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
        let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
        let picture = image::open(golden.join("picture.png")).unwrap().to_rgb8();
        let (mean, std) = IMAGENET_MEAN_STD;
        for (model, res, crop_pct) in [("rs50", 160, 0.91), ("rs101", 192, 0.94), ("rs152", 256, 1.0)] {
            let bytes = std::fs::read(golden.join(format!("preprocess_{model}.safetensors"))).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let want: Vec<f32> = bytemuck::pod_collect_to_vec(file.tensor("pixels").unwrap().data());
            let crop = evaluation_crop(&picture, [res; 2], View::center(crop_pct));
            let side = res.div_ceil(4);
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

    /// timm's crops by every filter and in every mode, of pictures that are smaller than the square, larger, and tall.
    #[test]
    fn every_view_equals_timms() {
        let bytes = include_bytes!("../../tests/golden/crops.safetensors");
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        assert_eq!(file.len(), 3 * 6 * 3);
        for (name, want) in file.tensors() {
            let parts: Vec<&str> = name.split(' ').collect();
            let &[size, res, crop_pct, interpolation, crop_mode] = &parts[..] else { panic!("{name}") };
            let (w, h) = size.split_once('x').unwrap();
            let colour = |c: u32, x: u32, y: u32| ((3 * x * x + 5 * y * y + (2 + c) * x * y + 40 * c) % 256) as u8;
            let pixel = |x, y| image::Rgb([0u32, 1, 2].map(|c| colour(c, x, y)));
            let picture = RgbImage::from_fn(w.parse().unwrap(), h.parse().unwrap(), pixel);
            let quoted = |name: &str| format!("\"{name}\"");
            let view = View {
                crop_pct: crop_pct.parse().unwrap(),
                interpolation: serde_json::from_str(&quoted(interpolation)).unwrap(),
                crop_mode: serde_json::from_str(&quoted(crop_mode)).unwrap(),
                border: [124, 116, 104],
            };
            assert_eq!((view.interpolation.name(), view.crop_mode.name()), (interpolation, crop_mode));
            let crop = evaluation_crop(&picture, [res.parse().unwrap(); 2], view);
            let off = crop.iter().zip(want.data()).map(|(&got, &want)| got.abs_diff(want)).max().unwrap();
            // Both use fixed-point weights with different precision, and two passes round.
            let allowed = if view.interpolation == Interpolation::Nearest { 0 } else { 2 };
            assert!(off <= allowed, "{name}: off by {off} levels");
        }
    }

    /// A constant picture of any size stays constant: no pixel comes from outside, and none is left black. Among the
    /// cases are those where rounding leads beyond the edge (53 to 49, 58 to 224) or the first or last column of an
    /// enlarged part falls on a pixel's centre (35 to 160 with 0.91, 24 to 37).
    #[test]
    fn constant_pictures_of_all_sizes_stay_constant() {
        let colour = image::Rgb([255, 130, 1]);
        for side in 1..140 {
            for (w, h) in [(side, side), (side, 140), (140, side)] {
                let picture = RgbImage::from_pixel(w, h, colour);
                for (res, crop_pct) in [(37, 0.91), (49, 1.0), (160, 0.91), (224, 1.0)] {
                    let crop = evaluation_crop(&picture, [res; 2], View::center(crop_pct));
                    assert!(crop.pixels().all(|&p| p == colour), "{w} x {h} to {res} with {crop_pct}");
                }
            }
        }
    }

    #[test]
    fn extreme_pictures() {
        let colour = image::Rgb([10, 200, 30]);
        for (w, h) in [(1, 1), (1, 5000), (5000, 1), (33, 32), (1, 30_000_000), (30_000_000, 1)] {
            let crop = evaluation_crop(&RgbImage::from_pixel(w, h, colour), [32; 2], View::center(0.91));
            assert_eq!(crop.dimensions(), (32, 32));
            assert!(crop.pixels().all(|&p| p == colour), "{w} x {h}");
        }
        assert!(evaluation_crop(&RgbImage::new(0, 7), [32; 2], View::center(0.91)).pixels().all(|p| p.0 == [0; 3]));
    }
}
