//! What shapes lie on: backgrounds, and colours that stand out from them.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// The least distance between a shape's colour and any of its background's, in the unit cube of red, green and blue.
const CONTRAST: f32 = 0.5;

/// The least distance between the colours of two shapes in a picture.
const APART: f32 = 0.35;

/// How far a background's two colours may lie apart in each channel.
const BACKGROUND_SPREAD: f32 = 0.3;

/// Largest change of a pixel by grain, on a scale from 0 to 1.
pub(super) const GRAIN: f32 = 0.03;

/// Red, green and blue from 0 to 1.
pub(super) type Colour = [f32; 3];

/// Two colours of a background.
pub(super) fn background(rng: &mut Pcg64Mcg) -> [Colour; 2] {
    let first: Colour = rng.random();
    let second = first.map(|v| (v + rng.random_range(-BACKGROUND_SPREAD..=BACKGROUND_SPREAD)).clamp(0.0, 1.0));
    [first, second]
}

/// A shape's colour that differs from every blend of a background's two, and from the `others`.
pub(super) fn standing_out([first, second]: [Colour; 2], others: &[Colour], rng: &mut Pcg64Mcg) -> Colour {
    loop {
        let colour = rng.random();
        let apart = |other: &Colour| distance_to_blends(colour, *other, *other) >= APART;
        if distance_to_blends(colour, first, second) >= CONTRAST && others.iter().all(apart) {
            return colour;
        }
    }
}

/// `share` of the way from one colour to another.
pub(super) fn blend([first, second]: [Colour; 2], share: f32) -> Colour {
    std::array::from_fn(|c| first[c] + (second[c] - first[c]) * share)
}

/// Distance from a colour to the nearest blend of two others.
fn distance_to_blends(colour: Colour, first: Colour, second: Colour) -> f32 {
    let subtract = |a: Colour, b: Colour| -> Colour { std::array::from_fn(|c| a[c] - b[c]) };
    let dot = |a: Colour, b: Colour| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let (line, offset) = (subtract(second, first), subtract(colour, first));
    let nearest = (dot(offset, line) / dot(line, line).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
    let rest = subtract(offset, line.map(|v| v * nearest));
    dot(rest, rest).sqrt()
}

/// Side of the lattice of random values that value noise interpolates: enough for cells of `SMALLEST_CELL_PX`.
const LATTICE: usize = 9;
const SMALLEST_CELL_PX: f32 = 4.0;

/// How a background blends its two colours.
pub(super) enum Texture {
    /// Straight waves, from narrow stripes to less than one wave across the picture: a gradient.
    Waves { direction_x: f32, direction_y: f32, phase: f32 },
    /// Value noise: random values on a square lattice, smoothly interpolated.
    Noise { values: Box<[[f32; LATTICE]; LATTICE]>, cell_px: f32 },
}

impl Texture {
    pub(super) fn draw(rng: &mut Pcg64Mcg) -> Self {
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
    pub(super) fn at(&self, [x, y]: [f32; 2]) -> f32 {
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
mod tests {
    use super::super::super::random::{Purpose, generator};
    use super::*;

    #[test]
    fn shapes_stand_out_from_their_backgrounds_and_from_each_other() {
        let mut rng = generator(1, Purpose::RenderTrain, 0, 0);
        for _ in 0..1000 {
            let background = background(&mut rng);
            let first = standing_out(background, &[], &mut rng);
            let second = standing_out(background, &[first], &mut rng);
            let distance = |a: Colour, b: Colour| (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f32>().sqrt();
            assert!(distance(first, second) >= APART - 1e-5, "{first:?} and {second:?}");
            for (colour, step) in [first, second].into_iter().flat_map(|c| (0..=20).map(move |step| (c, step))) {
                let blend = blend(background, step as f32 / 20.0);
                let distance = distance(colour, blend);
                assert!(distance >= CONTRAST - 1e-5, "{distance} from {blend:?} to {colour:?}");
            }
        }
    }
}
