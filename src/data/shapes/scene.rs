//! Scenes of one to four shapes, 128 x 128 pixels, with their boxes, masks or depths.

use std::sync::Arc;

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::super::DepthMap;
use super::super::random::{Purpose, generator};
use super::super::split::plain_names;
use super::super::walk::PassedOver;
use super::super::{Dataset, Error, Sample, Source, Truth, TruthKind};
use super::ground::{Colour, GRAIN, Texture, background, blend, standing_out};
use super::outline::{Placed, SHAPES};
use crate::boxes::Object;

const TRAIN_SCENES: usize = 2048;
const VAL_SCENES: usize = 256;

/// Pixels a side.
const SIDE: u32 = 128;

/// Radius of the circle around a shape in pixels.
const RADIUS: std::ops::RangeInclusive<f32> = 12.0..=30.0;

/// All shapes are of one true size: one with this radius in pixels is 1 metre away, one with half of it 2 metres. So
/// they are 2 to 5 metres away, and the size tells how far.
const RADIUS_AT_ONE_METRE: f32 = 60.0;

/// Depth of the background in metres.
const BACKGROUND_METRES: f32 = 8.0;

/// The least share of a shape that is not covered by others.
const LEAST_SEEN: f32 = 0.6;

/// Textures are those of 32 x 32 pixels, enlarged.
const TEXTURE_SCALE: f32 = 4.0;

/// The data set that `seed` stands for.
pub(super) fn open(seed: u64, truth: TruthKind) -> Dataset {
    let split = |purpose, scenes| Arc::new(Scenes { seed, purpose, scenes, truth });
    let classes = match truth {
        TruthKind::Mask => std::iter::once("background".to_owned()).chain(super::names()).collect(),
        TruthKind::Depth => Vec::new(),
        _ => super::names(),
    };
    Dataset {
        train: split(Purpose::SceneTrain, TRAIN_SCENES),
        val: split(Purpose::SceneVal, VAL_SCENES),
        classes,
        mean: [0.5; 3],
        std: [0.29; 3],
        native_res: Some(SIDE),
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: plain_names(),
    }
}

/// One split.
struct Scenes {
    seed: u64,
    purpose: Purpose,
    scenes: usize,
    truth: TruthKind,
}

impl Source for Scenes {
    fn len(&self) -> usize {
        self.scenes
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let (image, scene) = render(&mut generator(self.seed, self.purpose, 0, index as u64));
        let truth = match self.truth {
            TruthKind::Mask => Truth::Mask(scene.mask),
            TruthKind::Depth => Truth::Depth(scene.depth),
            _ => Truth::Objects(scene.objects),
        };
        Ok(Sample { image, truth })
    }
}

/// What is known of a scene.
struct Scene {
    /// Nearest first. A box holds the visible pixels, as people draw it.
    objects: Vec<Object>,
    /// 0 for the background, else 1 plus the shape's class: that of the nearest shape that covers half of the pixel.
    mask: GrayImage,
    depth: DepthMap,
}

/// A scene's picture, and what is known of it. The nearest shape is placed first and covers those behind it, so what is
/// seen of each is final once it is placed.
fn render(rng: &mut Pcg64Mcg) -> (RgbImage, Scene) {
    let background = background(rng);
    let texture = Texture::draw(rng);
    let mut radii: Vec<f32> = (0..rng.random_range(1..=4)).map(|_| rng.random_range(RADIUS)).collect();
    radii.sort_by(|a, b| b.total_cmp(a));
    let mut scene = Scene::empty();
    let mut colours: Vec<Colour> = Vec::new();
    // Colours so far, and the share of what lies behind that still shows.
    let mut light = vec![([0.0; 3], 1.0); (SIDE * SIDE) as usize];
    for radius in radii {
        let class = rng.random_range(0..SHAPES.len() as u32);
        // Four of the largest shapes fit side by side, so there is room for each.
        let covers = loop {
            let covers = covers(&Placed::draw(SHAPES[class as usize].1, radius, SIDE, rng));
            if let Some(object) = scene.object(class, &covers) {
                scene.objects.push(object);
                break covers;
            }
        };
        scene.add(class, RADIUS_AT_ONE_METRE / radius, &covers);
        let colour = standing_out(background, &colours, rng);
        colours.push(colour);
        for ([x, y], cover) in covers {
            let (seen, behind) = &mut light[(y * SIDE + x) as usize];
            (0..3).for_each(|c| seen[c] += *behind * cover * colour[c]);
            *behind *= 1.0 - cover;
        }
    }
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (seen, behind) = light[(y * SIDE + x) as usize];
        let at = [x, y].map(|v| (v as f32 + 0.5) / TEXTURE_SCALE);
        let ground = blend(background, texture.at(at));
        let grain = rng.random_range(-GRAIN..=GRAIN);
        Rgb([0, 1, 2].map(|c| ((seen[c] + behind * ground[c] + grain) * 255.0).round() as u8))
    });
    (image, scene)
}

/// The pixels that a shape touches, and the share of each that it covers.
fn covers(placed: &Placed) -> Vec<([u32; 2], f32)> {
    // An outline may reach beyond its circle by 2 % of the radius.
    let reach = 1.02 * placed.radius + 1.0;
    let [columns, rows] = placed.centre.map(|c| (c - reach).max(0.0) as u32..((c + reach).ceil() as u32).min(SIDE));
    let pixels = rows.flat_map(|y| columns.clone().map(move |x| [x, y]));
    let touched = pixels.map(|at| (at, placed.cover(at.map(|v| v as f32 + 0.5)))).filter(|(_, cover)| *cover > 0.0);
    touched.collect()
}

/// Whether a shape counts where it covers this share of a pixel.
fn counts(cover: f32) -> bool {
    cover >= 0.5
}

impl Scene {
    fn empty() -> Self {
        Self {
            objects: Vec::new(),
            mask: GrayImage::new(SIDE, SIDE),
            depth: DepthMap::from_pixel(SIDE, SIDE, Luma([BACKGROUND_METRES])),
        }
    }

    /// A shape behind those of the scene, by the pixels that it covers; `None` if too little of it would be seen.
    fn object(&self, class: u32, covers: &[([u32; 2], f32)]) -> Option<Object> {
        let (mut area, mut seen, mut bounds) = (0, 0, [SIDE, SIDE, 0, 0]);
        for ([x, y], _) in covers.iter().filter(|(_, cover)| counts(*cover)) {
            area += 1;
            if self.mask.get_pixel(*x, *y)[0] == 0 {
                seen += 1;
                let [left, top, right, bottom] = bounds;
                bounds = [left.min(*x), top.min(*y), right.max(x + 1), bottom.max(y + 1)];
            }
        }
        let bounds = bounds.map(|v| v as f32);
        let object = Object { class, bounds, area: seen as f32, difficult: false, crowd: false };
        (seen as f32 >= LEAST_SEEN * area as f32).then_some(object)
    }

    /// Enters a shape where it is seen.
    fn add(&mut self, class: u32, metres: f32, covers: &[([u32; 2], f32)]) {
        for ([x, y], _) in covers.iter().filter(|(_, cover)| counts(*cover)) {
            let label = self.mask.get_pixel_mut(*x, *y);
            if label[0] == 0 {
                label[0] = class as u8 + 1;
                self.depth.put_pixel(*x, *y, Luma([metres]));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The scenes of a split with what is known of them.
    fn scenes(count: u64) -> impl Iterator<Item = (RgbImage, Scene)> {
        (0..count).map(|index| render(&mut generator(0, Purpose::SceneVal, 0, index)))
    }

    #[test]
    fn scenes_repeat_and_differ_by_seed_split_and_index() {
        for truth in [TruthKind::Objects, TruthKind::Mask, TruthKind::Depth] {
            let scene = |seed, index| open(seed, truth).train.sample(index).unwrap();
            let first = scene(7, 3);
            let again = scene(7, 3);
            assert_eq!((first.image.as_raw(), &first.truth), (again.image.as_raw(), &again.truth));
            for other in [scene(8, 3), scene(7, 4), open(7, truth).val.sample(3).unwrap()] {
                assert_ne!(first.image.as_raw(), other.image.as_raw());
                assert_ne!(first.truth, other.truth);
            }
        }
    }

    /// Boxes, mask and depth are three views of the same shapes.
    #[test]
    fn truths_agree() {
        for (_, scene) in scenes(256) {
            let (mut seen, mut background, mut nearest) = (0.0, 0, 0.0);
            for object in &scene.objects {
                let [left, top, right, bottom] = object.bounds.map(|v| v as u32);
                let inside = |x: u32, y: u32| (left..right).contains(&x) && (top..bottom).contains(&y);
                let labelled = |x, y| u32::from(scene.mask.get_pixel(x, y)[0]) == object.class + 1;
                let pixels = scene.depth.enumerate_pixels().filter(|(x, y, _)| inside(*x, *y) && labelled(*x, *y));
                let pixels: Vec<(u32, u32, f32)> = pixels.map(|(x, y, metres)| (x, y, metres[0])).collect();
                // Two shapes of a class may overlap, but their depths differ.
                let depths = pixels.iter().map(|pixel| pixel.2);
                let fits = |metres: &f32| {
                    let own: Vec<_> = pixels.iter().filter(|pixel| pixel.2 == *metres).collect();
                    let (xs, ys) = (|| own.iter().map(|p| p.0), || own.iter().map(|p| p.1));
                    let tight = (xs().min(), ys().min(), xs().max(), ys().max());
                    own.len() as f32 == object.area
                        && tight == (Some(left), Some(top), Some(right - 1), Some(bottom - 1))
                };
                let metres = depths.collect::<Vec<_>>().into_iter().find(fits).unwrap_or_else(|| panic!("{object:?}"));
                assert!(metres > nearest, "nearest first");
                nearest = metres;
                seen += object.area;
            }
            for (label, metres) in scene.mask.pixels().zip(scene.depth.pixels()) {
                background += u32::from(label[0] == 0);
                assert_eq!(label[0] == 0, metres[0] == BACKGROUND_METRES);
                assert!(label[0] <= 8 && (2.0..=8.0).contains(&metres[0]));
            }
            assert_eq!(seen + background as f32, (SIDE * SIDE) as f32, "each pixel belongs to one shape");
        }
    }

    #[test]
    fn nearer_shapes_cover_farther_ones() {
        let block = |columns: std::ops::Range<u32>, cover: f32| -> Vec<([u32; 2], f32)> {
            (10..20).flat_map(|y| columns.clone().map(move |x| ([x, y], cover))).collect()
        };
        let mut scene = Scene::empty();
        scene.add(0, 2.0, &block(10..20, 1.0));
        assert_eq!(scene.object(1, &block(15..25, 1.0)), None, "half of it is seen");
        let behind = [block(17..27, 1.0), block(27..28, 0.4)].concat();
        let object = scene.object(1, &behind).unwrap();
        assert_eq!((object.class, object.bounds, object.area), (1, [20.0, 10.0, 27.0, 20.0], 70.0));
        scene.add(1, 3.0, &behind);
        let at = |x| (scene.mask.get_pixel(x, 10)[0], scene.depth.get_pixel(x, 10)[0]);
        assert_eq!([19, 20, 26, 27].map(at), [(1, 2.0), (2, 3.0), (2, 3.0), (0, BACKGROUND_METRES)]);
    }

    #[test]
    fn shapes_show_their_colour_and_backgrounds_another() {
        for (image, scene) in scenes(64) {
            for object in &scene.objects {
                let [left, top, right, bottom] = object.bounds.map(|v| v as u32);
                let inner: Vec<&Rgb<u8>> = (image.enumerate_pixels())
                    .filter(|(x, y, _)| (left..right).contains(x) && (top..bottom).contains(y))
                    .filter(|(x, y, _)| u32::from(scene.mask.get_pixel(*x, *y)[0]) == object.class + 1)
                    .map(|(.., pixel)| pixel)
                    .collect();
                let median = |c: usize| {
                    let mut values: Vec<u8> = inner.iter().map(|p| p[c]).collect();
                    values.sort_unstable();
                    values[values.len() / 2]
                };
                let colour = [0, 1, 2].map(median);
                let near = |p: &&&Rgb<u8>| (0..3).all(|c| p[c].abs_diff(colour[c]) <= 20);
                let share = inner.iter().filter(near).count() as f32 / inner.len() as f32;
                // The outline's pixels are blends: at most a perimeter of 2 pi r for an area of 1.1 r^2, r >= 12.
                assert!(share > 0.5, "{object:?}: {share} are {colour:?}");
            }
        }
    }

    /// Each class comes as often: 1 in 8 of the shapes, four standard deviations allowed.
    #[test]
    fn classes_and_numbers_are_balanced() {
        let mut classes = [0.0; SHAPES.len()];
        let mut numbers = [0.0; 4];
        let train = open(0, TruthKind::Objects).train;
        for index in 0..train.len() {
            let Truth::Objects(objects) = train.sample(index).unwrap().truth else { panic!("objects were asked for") };
            numbers[objects.len() - 1] += 1.0;
            objects.iter().for_each(|object| classes[object.class as usize] += 1.0);
        }
        for counts in [&classes[..], &numbers[..]] {
            let (total, share) = (counts.iter().sum::<f64>(), 1.0 / counts.len() as f64);
            let deviation = (total * share * (1.0 - share)).sqrt();
            assert!(counts.iter().all(|n| (n - total * share).abs() <= 4.0 * deviation), "{counts:?}");
        }
    }

    #[test]
    fn colours_have_the_mean_and_deviation_that_the_data_set_says() {
        let data = open(0, TruthKind::Depth);
        let values: Vec<f64> = (0..256)
            .flat_map(|index| data.train.sample(index).unwrap().image.into_raw())
            .map(|v| f64::from(v) / 255.0)
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        assert!((mean - 0.5).abs() < 0.03 && (deviation - 0.29).abs() < 0.02, "{mean}, {deviation}");
    }
}
