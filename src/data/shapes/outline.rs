//! The outlines of the eight shapes, and their places in pictures.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// Signed distance of a point from a shape's outline, negative inside, in the coordinates of its unit circle. Exact at
/// the outline, which is all that anti-aliasing needs.
pub(super) type Distance = fn(f32, f32) -> f32;

/// The shapes with their names. No two are turned or scaled copies of each other.
pub(super) const SHAPES: [(&str, Distance); 8] = [
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

/// Largest tilt to either side in radians, 20 degrees.
const TILT: f32 = 0.35;

/// A shape at a place in a picture.
pub(super) struct Placed {
    shape: Distance,
    /// Radius of the circle around it, and the circle's centre, in pixels.
    pub(super) radius: f32,
    pub(super) centre: [f32; 2],
    /// Sine and cosine of its tilt.
    tilt: (f32, f32),
}

impl Placed {
    /// Draws place and tilt; the circle lies within a picture of `side` pixels.
    pub(super) fn draw(shape: Distance, radius: f32, side: u32, rng: &mut Pcg64Mcg) -> Self {
        let mut centre = || rng.random_range(radius..=side as f32 - radius);
        let centre = [centre(), centre()];
        Self { shape, radius, centre, tilt: rng.random_range(-TILT..=TILT).sin_cos() }
    }

    /// The share of the pixel around a point that the shape covers.
    pub(super) fn cover(&self, [x, y]: [f32; 2]) -> f32 {
        let (radius, [cx, cy], (sin, cos)) = (self.radius, self.centre, self.tilt);
        // Shapes are described with y up, pictures have it down.
        let (dx, dy) = ((x - cx) / radius, (cy - y) / radius);
        let distance_px = (self.shape)(cos * dx + sin * dy, cos * dy - sin * dx) * radius;
        // What a straight outline at this distance leaves.
        (0.5 - distance_px).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
