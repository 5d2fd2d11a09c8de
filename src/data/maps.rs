//! Boxes, masks and depths of a picture as those of a network's input, and back.

use image::{GrayImage, ImageBuffer, Luma};

use super::Geometry;
use super::geometry::{Affine, inverse, moved};

/// The class of a mask's pixels that do not count.
pub const IGNORED: u8 = 255;

/// The class of each pixel. 16 bits hold every class that a network can have.
pub type ClassMap = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Depth in metres; 0 where it is unknown.
pub type DepthMap = ImageBuffer<Luma<f32>, Vec<f32>>;

/// What makes it safe to build a picture from a list of values: there is one for each pixel.
const WHOLE: &str = "a value for each pixel";

impl Geometry {
    /// The box in the input around a box of the picture (left, top, right, bottom in pixels), cut off at the input's
    /// edges; `None` if a side of what is left is shorter than a pixel. It holds the four corners, so it grows where
    /// the picture was rotated or sheared.
    pub fn bounds_to_input(&self, bounds: [f32; 4]) -> Option<[f32; 4]> {
        let cut = clipped(around(bounds, inverse(self.map)), self.size);
        (cut[2] - cut[0] >= 1.0 && cut[3] - cut[1] >= 1.0).then_some(cut)
    }

    /// The box in a picture of this height and width around a box of the input, cut off at the picture's edges. A box
    /// outside of the picture has no area then.
    pub fn bounds_to_picture(&self, bounds: [f32; 4], picture: [usize; 2]) -> [f32; 4] {
        clipped(around(bounds, self.map), picture)
    }

    /// The input's mask, from the picture's: each pixel has the class of the picture's pixel at its centre, and
    /// [`IGNORED`] outside of the picture.
    pub fn mask_to_input(&self, mask: &GrayImage) -> GrayImage {
        let labels = nearest(mask, self.map, self.size, IGNORED);
        GrayImage::from_raw(self.size[1] as u32, self.size[0] as u32, labels).expect(WHOLE)
    }

    /// The classes of the pixels of a picture of this height and width, from the input's: nearest pixels, and `unseen`
    /// where the input did not show the picture.
    pub fn classes_to_picture(&self, classes: &ClassMap, picture: [usize; 2], unseen: u16) -> ClassMap {
        let classes = nearest(classes, inverse(self.map), picture, unseen);
        ClassMap::from_raw(picture[1] as u32, picture[0] as u32, classes).expect(WHOLE)
    }

    /// The input's depths, from the picture's: nearest pixels, and 0 outside of the picture. If a training shows
    /// the picture larger or smaller than usual by a factor, depths are divided by it.
    pub fn depth_to_input(&self, depth: &DepthMap) -> DepthMap {
        let mut metres = nearest(depth, self.map, self.size, 0.0);
        if self.zoom != 1.0 {
            metres.iter_mut().for_each(|metres| *metres /= self.zoom as f32);
        }
        DepthMap::from_raw(self.size[1] as u32, self.size[0] as u32, metres).expect(WHOLE)
    }

    /// The depths of a picture of this height and width, from the input's: bilinear between the centres of pixels, and
    /// 0 where the input did not show the picture. Where one of four depths is unknown, the nearest is taken. The
    /// inverse of [`Self::depth_to_input`].
    pub fn depth_to_picture(&self, depth: &DepthMap, picture: [usize; 2]) -> DepthMap {
        let (to_input, (width, height)) = (inverse(self.map), depth.dimensions());
        let mut result = DepthMap::new(picture[1] as u32, picture[0] as u32);
        for (x, y, metres) in result.enumerate_pixels_mut() {
            let [x, y] = moved(to_input, [f64::from(x) + 0.5, f64::from(y) + 0.5]);
            if let (Some(column), Some(row)) = (pixel(x, width), pixel(y, height)) {
                let ([left, right], across) = neighbours(x, width);
                let ([above, below], down) = neighbours(y, height);
                let of_row = |y: u32| [depth.get_pixel(left, y)[0], depth.get_pixel(right, y)[0]];
                let rows = [of_row(above), of_row(below)];
                let between = |[a, b]: [f32; 2], share: f32| a + (b - a) * share;
                let of_input = match rows.as_flattened().contains(&0.0) {
                    true => depth.get_pixel(column, row)[0],
                    false => between(rows.map(|row| between(row, across)), down),
                };
                metres[0] = of_input * self.zoom as f32;
            }
        }
        result
    }
}

/// The box around the moved corners of a box.
fn around([left, top, right, bottom]: [f32; 4], map: Affine) -> [f64; 4] {
    let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
    let [xs, ys] = corners
        .map(|corner| moved(map, corner.map(f64::from)))
        .iter()
        .fold([[f64::INFINITY, f64::NEG_INFINITY]; 2], |ends, corner| {
            [0, 1].map(|axis| [ends[axis][0].min(corner[axis]), ends[axis][1].max(corner[axis])])
        });
    [xs[0], ys[0], xs[1], ys[1]]
}

/// The part of a box within a picture of `[height, width]`.
fn clipped([left, top, right, bottom]: [f64; 4], [height, width]: [usize; 2]) -> [f32; 4] {
    let within = |v: f64, side: usize| v.clamp(0.0, side as f64) as f32;
    [within(left, width), within(top, height), within(right, width), within(bottom, height)]
}

/// The values of a map at the centres of a result's pixels, `map` from the result to the source; `outside` beyond it.
fn nearest<T: image::Primitive>(
    source: &ImageBuffer<Luma<T>, Vec<T>>,
    map: Affine,
    [height, width]: [usize; 2],
    outside: T,
) -> Vec<T>
where
    Luma<T>: image::Pixel<Subpixel = T>,
{
    let (w, h) = source.dimensions();
    let values: &[T] = source.as_raw();
    let centre = |index: usize| index as f64 + 0.5;
    let row = |y: u32| &values[y as usize * w as usize..][..w as usize];
    let [_, b, _, d, ..] = map;
    if (b, d) == (0.0, 0.0) {
        // Rows stay rows, so each row of the result takes the same columns.
        let columns: Vec<Option<u32>> = (0..width).map(|x| pixel(moved(map, [centre(x), 0.0])[0], w)).collect();
        let rows = (0..height).map(|y| pixel(moved(map, [0.0, centre(y)])[1], h).map(row));
        let at = |row: Option<&[T]>, column: Option<u32>| match (row, column) {
            (Some(row), Some(x)) => row[x as usize],
            _ => outside,
        };
        return rows.flat_map(|row| columns.iter().map(move |column| at(row, *column))).collect();
    }
    let places = (0..height).flat_map(|y| (0..width).map(move |x| [centre(x), centre(y)]));
    let value = |place: [f64; 2]| {
        let [x, y] = moved(map, place);
        pixel(x, w).zip(pixel(y, h)).map_or(outside, |(x, y)| row(y)[x as usize])
    };
    places.map(value).collect()
}

/// The pixel at a position along a side; `None` outside.
fn pixel(position: f64, side: u32) -> Option<u32> {
    (0.0..f64::from(side)).contains(&position).then_some(position as u32)
}

/// The pixels whose centres lie before and after a position within a side, and the way from the first to the second as
/// a share. The outermost pixels reach half a pixel beyond their centres.
fn neighbours(position: f64, side: u32) -> ([u32; 2], f32) {
    let from_centre = (position - 0.5).max(0.0);
    let first = from_centre as u32;
    ([first, (first + 1).min(side - 1)], from_centre.fract() as f32)
}

#[cfg(all(test, feature = "train"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::super::augment::{Augment, Augmentation, Operation};
    use super::super::resize::{CropMode, View, evaluation_view};
    use super::*;

    const SIZE: [u32; 2] = [120, 90];

    /// The box of an object, and whether a place of the picture is in it.
    const BOX: [f32; 4] = [20.0, 15.0, 95.0, 70.0];

    fn in_box([x, y]: [f64; 2]) -> bool {
        let [left, top, right, bottom] = BOX.map(f64::from);
        (left..right).contains(&x) && (top..bottom).contains(&y)
    }

    /// The picture's colours are its coordinates, red x and green y, so that each pixel of an input shows where it came
    /// from. The mask is 1 inside the box; the depth grows to the right and downwards.
    fn scene() -> (RgbImage, GrayImage, DepthMap) {
        let [w, h] = SIZE;
        let centre = |x: u32, y: u32| [x, y].map(|v| f64::from(v) + 0.5);
        (
            RgbImage::from_fn(w, h, |x, y| Rgb([x as u8, y as u8, 200])),
            GrayImage::from_fn(w, h, |x, y| Luma([u8::from(in_box(centre(x, y)))])),
            DepthMap::from_fn(w, h, |x, y| Luma([metres(centre(x, y)) as f32])),
        )
    }

    fn metres([x, y]: [f64; 2]) -> f64 {
        1.0 + 0.1 * x + 0.03 * y
    }

    /// Compares the input's truths with what the colours of its pixels show. `off` is how far the colours may be from
    /// the truth in pixels of the picture.
    fn check(what: &str, input: &RgbImage, geometry: Geometry, off: f64) {
        let (_, mask, depth) = scene();
        let (mask, depth) = (geometry.mask_to_input(&mask), geometry.depth_to_input(&depth));
        let mut seen: Option<[f32; 4]> = None;
        for (x, y, pixel) in input.enumerate_pixels() {
            let place = geometry.to_picture([x, y].map(|v| f64::from(v) + 0.5));
            let inside = (0..2).all(|i| (0.0..f64::from(SIZE[i])).contains(&place[i]));
            let (label, metres_here) = (mask.get_pixel(x, y)[0], f64::from(depth.get_pixel(x, y)[0]));
            if !inside {
                assert_eq!((label, metres_here), (IGNORED, 0.0), "{what}: {x}, {y}");
                continue;
            }
            if pixel[2] != 200 {
                continue;
            }
            let shown = [pixel[0], pixel[1]].map(|v| f64::from(v) + 0.5);
            // 0.13 m a pixel, and half a pixel from the nearest centre.
            let of_picture = metres_here * geometry.zoom;
            assert!((of_picture - metres(shown)).abs() <= 0.13 * (off + 0.5) + 1e-5, "{what}: {x}, {y}");
            let around = [-off, off].map(|dx| [-off, off].map(|dy| in_box([shown[0] + dx, shown[1] + dy])));
            if around.as_flattened().iter().all(|inside| *inside == around[0][0]) {
                assert_eq!(label, u8::from(around[0][0]), "{what}: {x}, {y} shows {shown:?}");
            }
            if label == 1 {
                let [l, t, r, b] = seen.unwrap_or([f32::MAX, f32::MAX, 0.0, 0.0]);
                let (x, y) = (x as f32, y as f32);
                seen = Some([l.min(x), t.min(y), r.max(x + 1.0), b.max(y + 1.0)]);
            }
        }
        let bounds = geometry.bounds_to_input(BOX).unwrap_or_else(|| panic!("{what}: the box has gone"));
        // A rotated box is cut off at the edges as the rectangle around it, which reaches further than its pixels.
        let seen = seen.unwrap_or_else(|| panic!("{what}: nothing of the box is seen"));
        let straight = geometry.map[1] == 0.0 && geometry.map[3] == 0.0;
        for side in 0..4 {
            let outwards = if side < 2 { seen[side] - bounds[side] } else { bounds[side] - seen[side] };
            assert!(outwards >= -1.0, "{what}: {bounds:?} does not hold {seen:?}");
            assert!(!straight || outwards <= 1.0, "{what}: {bounds:?} is larger than {seen:?}");
        }
    }

    #[test]
    fn truths_move_with_the_pixels_of_training_pictures() {
        let scale = Augment::Scale { least: 0.7, most: 1.6, hflip: 0.5, border: [0; 3] };
        let mut whole = 0;
        for crop in [Augment::default(), Augment::Standard { shift: 0.125, hflip: 0.5 }, scale] {
            for (epoch, small) in (0..20).flat_map(|epoch| [(epoch, false), (epoch, true)]) {
                let augmentation = Augmentation { crop, ..Augmentation::default() };
                let (input, geometry) = augmentation.picture(&scene().0, [96, 128], small, (5, epoch, 0));
                if geometry.bounds_to_input(BOX).is_some() {
                    whole += 1;
                    check(&format!("{crop:?}, small {small}, epoch {epoch}"), &input, geometry, 1.5);
                }
            }
        }
        assert!(whole > 100, "the box is in {whole} of 120 inputs");
    }

    #[test]
    fn truths_move_with_pictures_that_are_turned_and_sheared() {
        let mut input = scene().0;
        let mut geometry = Geometry::of_part([0.0, 0.0, 120.0, 90.0], [90, 120]);
        let operations = [
            Operation::Rotate { degrees: 12.0 },
            Operation::ShearX { share: 0.1 },
            Operation::TranslateY { pixels: -7.0 },
        ];
        for (operation, resampled) in operations.into_iter().zip(1..) {
            operation.apply(&mut input);
            geometry = geometry.after(operation.affine(input.dimensions()).unwrap());
            check(&format!("{operation:?}"), &input, geometry, 1.5 * f64::from(resampled));
        }
    }

    #[test]
    fn answers_go_back_to_the_picture() {
        let (picture, mask, depth) = scene();
        let size = [SIZE[1] as usize, SIZE[0] as usize];
        for crop_mode in [CropMode::Center, CropMode::Squash, CropMode::Border] {
            let view = View { crop_mode, ..View::center(1.0) };
            let (_, geometry) = evaluation_view(&picture, [513, 600], view);
            let shown = |x: u32, y: u32| {
                let [x, y] = geometry.to_input([f64::from(x) + 0.5, f64::from(y) + 0.5]);
                (0.0..600.0).contains(&x) && (0.0..513.0).contains(&y)
            };
            let of_input = geometry.mask_to_input(&mask);
            let classes = ClassMap::from_fn(600, 513, |x, y| Luma([u16::from(of_input.get_pixel(x, y)[0])]));
            let back = geometry.classes_to_picture(&classes, size, u16::MAX);
            for (x, y, label) in back.enumerate_pixels() {
                let want = if shown(x, y) { u16::from(mask.get_pixel(x, y)[0]) } else { u16::MAX };
                assert_eq!(label[0], want, "{crop_mode:?}: {x}, {y}");
            }
            let back = geometry.depth_to_picture(&geometry.depth_to_input(&depth), size);
            for (x, y, metres) in back.enumerate_pixels() {
                let want = if shown(x, y) { depth.get_pixel(x, y)[0] } else { 0.0 };
                // Between the pixels of an enlarged picture, nearest depths are steps of up to 0.13 m.
                assert!((metres[0] - want).abs() <= 0.07, "{crop_mode:?}: {x}, {y}: {}, not {want}", metres[0]);
            }
            let back = geometry.bounds_to_picture(geometry.bounds_to_input(BOX).unwrap(), size);
            assert!(BOX.iter().zip(back).all(|(want, got)| (want - got).abs() < 1e-3), "{back:?}");
        }
    }

    #[test]
    fn boxes_are_cut_off_and_empty_ones_dropped() {
        let geometry = Geometry::of_part([10.0, 20.0, 40.0, 40.0], [80, 80]);
        for (bounds, want) in [
            ([20.0, 30.0, 30.0, 40.0], Some([20.0, 20.0, 40.0, 40.0])),
            ([0.0, 0.0, 30.0, 40.0], Some([0.0, 0.0, 40.0, 40.0])),
            ([45.0, 50.0, 90.0, 99.0], Some([70.0, 60.0, 80.0, 80.0])),
            // Half a pixel of the picture is one of the input.
            ([0.0, 30.0, 10.5, 40.0], Some([0.0, 20.0, 1.0, 40.0])),
            ([0.0, 30.0, 10.4, 40.0], None),
            ([0.0, 0.0, 5.0, 5.0], None),
        ] {
            assert_eq!(geometry.bounds_to_input(bounds), want, "{bounds:?}");
        }
        let outside = geometry.bounds_to_picture([70.0, 70.0, 80.0, 80.0], [50, 40]);
        assert_eq!(outside, [40.0, 50.0, 40.0, 50.0], "from 45, 55 on");
    }

    /// A picture that is shown twice as large as it fits looks half as far away, whatever its size and the input's.
    #[test]
    fn what_is_shown_larger_is_nearer() {
        let metres = 6.0;
        let depth = DepthMap::from_pixel(SIZE[0], SIZE[1], Luma([metres]));
        for factor in [0.5, 1.0, 1.5, 2.0] {
            let crop = Augment::Scale { least: factor, most: factor, hflip: 0.5, border: [0; 3] };
            let augmentation = Augmentation { crop, ..Augmentation::default() };
            for (size, small) in [([96, 128], false), ([40; 2], true)] {
                let (_, geometry) = augmentation.picture(&scene().0, size, small, (5, 0, 0));
                let seen = geometry.depth_to_input(&depth);
                let known: Vec<f32> = seen.iter().copied().filter(|&metres| metres > 0.0).collect();
                assert!(!known.is_empty() && known.iter().all(|&m| m == metres / factor), "{factor}, {size:?}");
                let back = geometry.depth_to_picture(&seen, [SIZE[1] as usize, SIZE[0] as usize]);
                assert!(back.iter().all(|&m| m == 0.0 || (m - metres).abs() < 1e-5), "{factor}, {size:?}");
            }
        }
    }

    #[test]
    fn unknown_depths_are_not_blended() {
        let depth = DepthMap::from_raw(2, 1, vec![0.0, 4.0]).unwrap();
        let geometry = Geometry::of_part([0.0, 0.0, 8.0, 1.0], [1, 2]);
        assert_eq!(geometry.depth_to_picture(&depth, [1, 8]).into_raw(), [0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0]);
        let depth = DepthMap::from_raw(2, 1, vec![2.0, 4.0]).unwrap();
        let blended = [2.0, 2.0, 2.25, 2.75, 3.25, 3.75, 4.0, 4.0];
        assert_eq!(geometry.depth_to_picture(&depth, [1, 8]).into_raw(), blended);
    }
}
