//! The map between the points of a network's input and those of the picture that it was made from.

use super::resize::{Placement, Region};

/// An affine map `(x, y) -> (a x + b y + c, d x + e y + f)`, as `[a, b, c, d, e, f]`.
pub(super) type Affine = [f64; 6];

/// A point where a map moves it.
pub(super) fn moved([a, b, c, d, e, f]: Affine, [x, y]: [f64; 2]) -> [f64; 2] {
    [a * x + b * y + c, d * x + e * y + f]
}

/// The map back. Maps of pictures have one.
pub(super) fn inverse([a, b, c, d, e, f]: Affine) -> Affine {
    let determinant = a * e - b * d;
    let [a, b, d, e] = [e, -b, -d, a].map(|v| v / determinant);
    [a, b, -(a * c + b * f), d, e, -(d * c + e * f)]
}

/// `(x, y) -> outer(inner(x, y))`.
#[cfg(feature = "train")]
fn composed(outer: Affine, [a, b, c, d, e, f]: Affine) -> Affine {
    let [ix, iy] = [[a, b, c], [d, e, f]];
    let row = |p: f64, q: f64| [0, 1, 2].map(|i| p * ix[i] + q * iy[i]);
    let ([a, b, c], [d, e, f]) = (row(outer[0], outer[1]), row(outer[3], outer[4]));
    [a, b, c + outer[2], d, e, f + outer[5]]
}

/// The sum of cropping, resizing, mirroring, rotating and shearing a picture: one affine map.
///
/// Points are in pixels, x to the right and y down, with the corner of the first pixel at `(0, 0)` and its centre at
/// `(0.5, 0.5)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Height and width of the input.
    pub size: [usize; 2],
    /// From the input to the picture.
    pub(super) map: Affine,
    /// How much larger the picture is shown than the network usually sees it: what is shown twice as large looks half
    /// as far away.
    pub(super) zoom: f64,
}

impl Geometry {
    /// An input that shows a whole picture in its own size, `[height, width]` in pixels.
    pub fn whole(size: [usize; 2]) -> Self {
        Self::of_part([0.0, 0.0, size[1] as f64, size[0] as f64], size)
    }

    /// An input of `size` that a part of the picture fills.
    pub(super) fn of_part(part: Region, size: [usize; 2]) -> Self {
        let target = [0, 0, size[1] as u32, size[0] as u32];
        Self::of_placement(Placement { part, target }, size)
    }

    /// An input of `size` in which a part of the picture fills a rectangle.
    pub(super) fn of_placement(Placement { part, target }: Placement, size: [usize; 2]) -> Self {
        let [left, top, part_width, part_height] = part;
        let [x, y, width, height] = target.map(f64::from);
        let (across, down) = (part_width / width, part_height / height);
        Self { size, map: [across, 0.0, left - x * across, 0.0, down, top - y * down], zoom: 1.0 }
    }

    /// Maps a point of the input to the picture.
    pub fn to_picture(&self, point: [f64; 2]) -> [f64; 2] {
        moved(self.map, point)
    }

    /// Maps a point of the picture to the input; the result may lie outside.
    pub fn to_input(&self, point: [f64; 2]) -> [f64; 2] {
        moved(inverse(self.map), point)
    }
}

#[cfg(feature = "train")]
impl Geometry {
    /// The geometry after another change; `change` maps points of the new input to points of the old one.
    pub(super) fn after(self, change: Affine) -> Self {
        Self { map: composed(self.map, change), ..self }
    }

    /// Mirrored left to right.
    pub(super) fn mirrored(self) -> Self {
        self.after([-1.0, 0.0, self.size[1] as f64, 0.0, 1.0, 0.0])
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use image::{Rgb, RgbImage};

    use super::super::augment::{Augment, Augmentation, Operation};
    use super::super::resize::{CropMode, View, evaluation_view};
    use super::Geometry;

    /// A picture whose colours are coordinates (red x, green y), so that each pixel of an input shows where it came
    /// from.
    fn places(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200]))
    }

    /// Compares the geometry's coordinates of an input's pixels with those that their colours show; `resampled` counts
    /// resamplings. Pixels from outside the picture are skipped.
    fn check(what: &str, input: &RgbImage, geometry: Geometry, resampled: u32) {
        let mut seen = 0;
        for (x, y, pixel) in input.enumerate_pixels().filter(|(.., pixel)| pixel[2] == 200) {
            let at = [x, y].map(|v| f64::from(v) + 0.5);
            let place = geometry.to_picture(at);
            let shown = [pixel[0], pixel[1]].map(|v| f64::from(v) + 0.5);
            // Each resampling rounds to one level, that is one pixel; at the edges a filter lacks half a pixel on one
            // side.
            let off = (0..2).map(|i| (place[i] - shown[i]).abs()).fold(0.0, f64::max);
            assert!(off <= 1.5 * f64::from(resampled), "{what}: {at:?} shows {shown:?}, not {place:?}");
            let back = geometry.to_input(place);
            assert!((0..2).all(|i| (back[i] - at[i]).abs() < 1e-9), "{what}: {at:?}, {back:?}");
            seen += 1;
        }
        assert!(seen * 8 > input.width() * input.height(), "{what}: only {seen} pixels are of the picture");
    }

    #[test]
    fn training_pictures_know_where_they_come_from() {
        let (picture, crop) = (places(120, 90), Augment::Standard { shift: 0.125, hflip: 0.5 });
        let augmentation = Augmentation { crop, ..Augmentation::default() };
        for (epoch, small) in (0..40).flat_map(|epoch| [(epoch, false), (epoch, true)]) {
            let (input, geometry) = augmentation.picture(&picture, [96, 128], small, (5, epoch, 0));
            check(&format!("small {small}, epoch {epoch}"), &input, geometry, 1);
        }
    }

    #[test]
    fn turned_and_sheared_pictures_know_where_they_come_from() {
        use Operation::{Rotate, ShearX, ShearY, TranslateX, TranslateY};

        let picture = places(120, 90);
        let mut geometry = Geometry::of_part([0.0, 0.0, 120.0, 90.0], [90, 120]);
        let mut input = picture.clone();
        // Applied one after the other, so that the order of maps matters.
        let mut resampled = 0;
        for operation in [
            Rotate { degrees: 20.0 },
            ShearX { share: 0.2 },
            TranslateX { pixels: 10.0 },
            ShearY { share: -0.1 },
            TranslateY { pixels: -7.0 },
            Operation::Cutout { centre: (9, 9), half_side: 4 },
        ] {
            operation.apply(&mut input);
            geometry = operation.affine(input.dimensions()).map_or(geometry, |change| geometry.after(change));
            resampled += 1;
            check(&format!("{operation:?}"), &input, geometry, resampled);
        }
    }

    #[test]
    fn evaluation_pictures_know_where_they_come_from() {
        for (w, h) in [(120, 90), (50, 200), (224, 224)] {
            for crop_mode in [CropMode::Center, CropMode::Squash, CropMode::Border] {
                for size in [[64, 64], [48, 96]] {
                    let view = View { crop_mode, ..View::center(0.9) };
                    let (input, geometry) = evaluation_view(&places(w, h), size, view);
                    check(&format!("{w} x {h}, {crop_mode:?}, {size:?}"), &input, geometry, 1);
                }
            }
        }
    }
}
