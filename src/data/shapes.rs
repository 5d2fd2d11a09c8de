//! `shapes`: eight kinds of shapes on textured backgrounds, 32 x 32 pixels, rendered on demand. Needs no files.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::random::{Purpose, generator};
use super::split::plain_names;
use super::walk::PassedOver;
use super::{Dataset, Error, Sample, Source, Truth};

/// Training and validation pictures: multiples of eight, so that each class has the same number.
const TRAIN_PICTURES: usize = 8192;
const VAL_PICTURES: usize = 1024;

/// Pixels a side.
const SIDE: u32 = 32;

/// The least distance between a shape's colour and any of its background's, in the unit cube of red, green and blue.
const CONTRAST: f32 = 0.5;

// Radius, tilt and spread make the task easy: a convnet of three 3x3 layers with batch norm reaches 98 % after 500
// steps of 64. With radii from 9, full turns and any two background colours it reached 70 %.

/// Radius of the circle around a shape in pixels.
const RADIUS: std::ops::RangeInclusive<f32> = 11.0..=14.5;

/// Largest tilt to either side in radians, 20 degrees.
const TILT: f32 = 0.35;

/// How far a background's two colours may lie apart in each channel.
const BACKGROUND_SPREAD: f32 = 0.3;

/// Largest change of a pixel by grain, on a scale from 0 to 1.
const GRAIN: f32 = 0.03;

/// Signed distance of a point from a shape's outline, negative inside, in the coordinates of its unit circle. Exact at
/// the outline, which is all that anti-aliasing needs.
type Distance = fn(f32, f32) -> f32;

/// The classes. No two are turned or scaled copies of each other.
const SHAPES: [(&str, Distance); 8] = [
    ("circle", |x, y| circle(x, y, 1.0)),
    ("crescent", |x, y| circle(x, y, 1.0).max(-circle(x - 0.5, y, 0.8))),
    ("cross", |x, y| (x.abs().max(y.abs()) - 0.95).max(x.abs().min(y.abs()) - 0.3)),
    ("heart", heart),
    ("ring", |x, y| circle(x, y, 0.75).abs() - 0.25),
    ("square", |x, y| x.abs().max(y.abs()) - std::f32::consts::FRAC_1_SQRT_2),
    ("star", star),
    ("triangle", |x, y| (0.866_025_4 * x.abs() + 0.5 * y).max(-y) - 0.5),
];

fn circle(x: f32, y: f32, radius: f32) -> f32 {
    (x * x + y * y).sqrt() - radius
}

/// A square on its corner, with a half circle on each of its two upper sides. The sides are 2 * `HALF` long.
fn heart(x: f32, y: f32) -> f32 {
    const HALF: f32 = 0.54;
    const CENTRE: f32 = HALF * std::f32::consts::FRAC_1_SQRT_2;
    let (x, y) = (x.abs(), y + 0.1);
    let square = (x + y.abs()) * std::f32::consts::FRAC_1_SQRT_2 - HALF;
    square.min(circle(x - CENTRE, y - CENTRE, HALF))
}

/// The five lines of a pentagram: a point inside is on the inner side of at least four, so the second largest distance
/// decides.
fn star(x: f32, y: f32) -> f32 {
    /// Sine and cosine of 0, 72, 144, 216, 288 degrees.
    const NORMALS: [(f32, f32); 5] = [
        (0.0, 1.0),
        (0.951_056_5, 0.309_017),
        (0.587_785_3, -0.809_017),
        (-0.587_785_3, -0.809_017),
        (-0.951_056_5, 0.309_017),
    ];
    /// Distance of the lines from the centre, cos 72 degrees, when the points lie on the unit circle.
    const INNER: f32 = 0.309_017;
    let (mut largest, mut second) = (f32::MIN, f32::MIN);
    for (nx, ny) in NORMALS {
        let distance = nx * x + ny * y;
        second = second.max(distance.min(largest));
        largest = largest.max(distance);
    }
    second - INNER
}

/// The data set that `seed` stands for.
pub(super) fn open(seed: u64) -> Dataset {
    let split = |purpose, pictures| Arc::new(Shapes { seed, purpose, pictures });
    Dataset {
        train: split(Purpose::RenderTrain, TRAIN_PICTURES),
        val: split(Purpose::RenderVal, VAL_PICTURES),
        classes: SHAPES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        mean: [0.5; 3],
        std: [0.29; 3],
        native_res: Some(SIDE),
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: plain_names(),
    }
}

/// One split.
struct Shapes {
    seed: u64,
    purpose: Purpose,
    pictures: usize,
}

impl Source for Shapes {
    fn len(&self) -> usize {
        self.pictures
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let label = index % SHAPES.len();
        let mut rng = generator(self.seed, self.purpose, 0, index as u64);
        Ok(Sample { image: render(SHAPES[label].1, &mut rng), truth: Truth::Class(label as u32) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some((index % SHAPES.len()) as u32)
    }
}

/// A picture of a shape. Nothing but the outline depends on the class: colours, texture and pose are drawn alike for
/// all.
fn render(shape: Distance, rng: &mut Pcg64Mcg) -> RgbImage {
    let [first, second, colour] = palette(rng);
    let texture = Texture::draw(rng);
    let radius = rng.random_range(RADIUS);
    let mut centre = || rng.random_range(radius..=SIDE as f32 - radius);
    let (cx, cy) = (centre(), centre());
    let (sin, cos) = rng.random_range(-TILT..=TILT).sin_cos();
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
        // Shapes are described with y up, pictures have it down.
        let (dx, dy) = ((px - cx) / radius, (cy - py) / radius);
        let distance_px = shape(cos * dx + sin * dy, cos * dy - sin * dx) * radius;
        // The share of the pixel that a straight outline at this distance covers.
        let cover = (0.5 - distance_px).clamp(0.0, 1.0);
        let blend = texture.at(px, py);
        let grain = rng.random_range(-GRAIN..=GRAIN);
        Rgb(std::array::from_fn(|c| {
            let background = first[c] + (second[c] - first[c]) * blend;
            ((background + (colour[c] - background) * cover + grain) * 255.0).round() as u8
        }))
    })
}

/// Two colours of a background, and a shape's colour that differs from every blend of the two.
fn palette(rng: &mut Pcg64Mcg) -> [[f32; 3]; 3] {
    let first: [f32; 3] = rng.random();
    let second = first.map(|v| (v + rng.random_range(-BACKGROUND_SPREAD..=BACKGROUND_SPREAD)).clamp(0.0, 1.0));
    loop {
        let colour = rng.random();
        if distance_to_blends(colour, first, second) >= CONTRAST {
            return [first, second, colour];
        }
    }
}

/// Distance from a colour to the nearest blend of two others.
fn distance_to_blends(colour: [f32; 3], first: [f32; 3], second: [f32; 3]) -> f32 {
    let subtract = |a: [f32; 3], b: [f32; 3]| -> [f32; 3] { std::array::from_fn(|c| a[c] - b[c]) };
    let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let (line, offset) = (subtract(second, first), subtract(colour, first));
    let nearest = (dot(offset, line) / dot(line, line).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
    let rest = subtract(offset, line.map(|v| v * nearest));
    dot(rest, rest).sqrt()
}

/// Side of the lattice of random values that value noise interpolates: enough for cells of `SMALLEST_CELL_PX`.
const LATTICE: usize = 9;
const SMALLEST_CELL_PX: f32 = 4.0;

/// How a background blends its two colours.
enum Texture {
    /// Straight waves, from narrow stripes to less than one wave across the picture: a gradient.
    Waves { direction_x: f32, direction_y: f32, phase: f32 },
    /// Value noise: random values on a square lattice, smoothly interpolated.
    Noise { values: Box<[[f32; LATTICE]; LATTICE]>, cell_px: f32 },
}

impl Texture {
    fn draw(rng: &mut Pcg64Mcg) -> Self {
        if rng.random() {
            // Evenly spread on a logarithmic scale, from 6 pixels to twice the side.
            let period_px = rng.random_range(6.0f32.ln()..=64.0f32.ln()).exp();
            let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
            Self::Waves { direction_x: cos / period_px, direction_y: sin / period_px, phase: rng.random() }
        } else {
            Self::Noise { values: Box::new(rng.random()), cell_px: rng.random_range(SMALLEST_CELL_PX..=16.0) }
        }
    }

    /// The share of the second colour, 0 to 1, at a point in pixels.
    fn at(&self, x: f32, y: f32) -> f32 {
        match self {
            Self::Waves { direction_x, direction_y, phase } => {
                let t = direction_x * x + direction_y * y + phase;
                (2.0 * (t - t.floor()) - 1.0).abs()
            }
            Self::Noise { values, cell_px } => {
                let (x, y) = (x / cell_px, y / cell_px);
                let (i, j) = (x as usize, y as usize);
                let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
                let (u, v) = (smooth(x.fract()), smooth(y.fract()));
                let row = |j: usize| values[j][i] + (values[j][i + 1] - values[j][i]) * u;
                row(j) + (row(j + 1) - row(j)) * v
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pictures_repeat_and_differ_by_seed_split_and_index() {
        let picture = |seed, index| open(seed).train.sample(index).unwrap().image.into_raw();
        let first = picture(7, 3);
        assert_eq!(first, picture(7, 3));
        assert_ne!(first, picture(8, 3));
        assert_ne!(first, picture(7, 3 + SHAPES.len()));
        assert_ne!(first, open(7).val.sample(3).unwrap().image.into_raw());
    }

    #[test]
    fn classes_are_balanced() {
        let data = open(0);
        for split in [&data.train, &data.val] {
            let mut counts = [0; SHAPES.len()];
            for index in 0..split.len() {
                counts[split.sample(index).unwrap().truth.class().unwrap() as usize] += 1;
            }
            assert_eq!(counts, [split.len() / SHAPES.len(); SHAPES.len()]);
        }
        assert_eq!(data.classes.len(), SHAPES.len());
    }

    /// Every outline touches its unit circle, so that radius and position keep it inside the picture, and none is tiny.
    #[test]
    fn shapes_fill_their_unit_circle_and_stay_inside() {
        for (name, shape) in SHAPES {
            let grid = (-60..=60).flat_map(|i| (-60..=60).map(move |j| (i as f32 / 50.0, j as f32 / 50.0)));
            let inside: Vec<(f32, f32)> = grid.filter(|&(x, y)| shape(x, y) < 0.0).collect();
            let reach = inside.iter().map(|(x, y)| x.hypot(*y)).fold(0.0, f32::max);
            assert!((0.9..=1.02).contains(&reach), "{name} reaches {reach}");
            // The pentagram is the smallest: 1.12 of the circle's 3.14.
            let area = inside.len() as f32 / 2500.0;
            assert!(area > 1.05, "{name} covers {area}");
        }
    }

    #[test]
    fn shapes_stand_out_from_their_backgrounds() {
        let mut rng = generator(1, Purpose::RenderTrain, 0, 0);
        for _ in 0..1000 {
            let [first, second, colour] = palette(&mut rng);
            for step in 0..=20 {
                let blend: [f32; 3] = std::array::from_fn(|c| first[c] + (second[c] - first[c]) * step as f32 / 20.0);
                let distance = (0..3).map(|c| (colour[c] - blend[c]).powi(2)).sum::<f32>().sqrt();
                assert!(distance >= CONTRAST - 1e-5, "{distance} from {blend:?} to {colour:?}");
            }
        }
    }

    /// The nearest mean colour guesses the class no better than chance: 1 in 8 of 1024, four standard deviations (1.03
    /// %) allowed.
    #[test]
    fn colours_do_not_give_the_class_away() {
        let data = open(0);
        let mean = |sample: &Sample| -> [f64; 3] {
            std::array::from_fn(|c| sample.image.pixels().map(|p| f64::from(p[c])).sum::<f64>())
        };
        let mut centres = [[0.0; 3]; SHAPES.len()];
        for index in 0..2048 {
            let sample = data.train.sample(index).unwrap();
            let colour = mean(&sample);
            (0..3).for_each(|c| {
                centres[sample.truth.class().unwrap() as usize][c] += colour[c] / (2048 / SHAPES.len()) as f64
            });
        }
        let guess = |colour: [f64; 3]| {
            let distance = |label: &usize| (0..3).map(|c| (centres[*label][c] - colour[c]).powi(2)).sum::<f64>();
            (0..SHAPES.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap()
        };
        let samples = (0..data.val.len()).map(|index| data.val.sample(index).unwrap());
        let right = samples.filter(|sample| guess(mean(sample)) == sample.truth.class().unwrap() as usize).count();
        assert!(right as f64 / 1024.0 < 0.125 + 4.0 * 0.0103, "{right} of 1024");
    }
}
