//! Operations that move pixels, with the arithmetic of Pillow's `Image.transform(AFFINE, BILINEAR)`. Grey comes in from
//! outside.

use image::{Rgb, RgbImage};

use super::super::geometry::Affine;

/// Colour outside of a picture.
const GREY: Rgb<u8> = Rgb([128; 3]);

/// Takes every pixel `(x, y)` of the result from `(a x + b y + c, d x + e y + f)`; a pixel's centre lies at its index
/// plus a half.
pub(super) fn affine(picture: &RgbImage, [a, b, c, d, e, f]: Affine) -> RgbImage {
    let (width, height) = picture.dimensions();
    let (w, h) = (f64::from(width), f64::from(height));
    let source: &[u8] = picture;
    let row = 3 * width as usize;
    let mut result = RgbImage::from_pixel(width, height, GREY);
    for (x, y, pixel) in result.enumerate_pixels_mut() {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (x, y) = (a * x + b * y + c, d * x + e * y + f);
        if !(0.0..w).contains(&x) || !(0.0..h).contains(&y) {
            continue;
        }
        let ([left, right], dx) = neighbours(x, width);
        let ([above, below], dy) = neighbours(y, height);
        let between = |line: usize, channel: usize| {
            let value = |column: usize| f64::from(source[line * row + column * 3 + channel]);
            value(left) + (value(right) - value(left)) * dx
        };
        *pixel = Rgb([0, 1, 2].map(|channel| {
            let upper = between(above, channel);
            (upper + (between(below, channel) - upper) * dy) as u8
        }));
    }
    result
}

/// The pixels on either side of a position from 0 to `side`, and how far the position is from the first to the second.
/// Beyond the centres of the outermost pixels their value continues for half a pixel.
fn neighbours(position: f64, side: u32) -> ([usize; 2], f64) {
    let second = (position + 0.5) as u32;
    let first = second.saturating_sub(1);
    ([first as usize, second.min(side - 1) as usize], position - 0.5 - (f64::from(second) - 1.0))
}

/// Turns a picture of this width and height around its centre, counterclockwise.
pub(super) fn rotation((width, height): (u32, u32), degrees: f64) -> Affine {
    let (sin, cos) = (-degrees).to_radians().sin_cos();
    let (cx, cy) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    [cos, sin, cx - cos * cx - sin * cy, -sin, cos, cy + sin * cx - cos * cy]
}

/// Covers a square of twice `half_side` pixels around a point, clipped to the picture.
pub(super) fn cutout(picture: &mut RgbImage, (x, y): (u32, u32), half_side: u32) {
    let span = |centre: u32, side: u32| centre.saturating_sub(half_side)..centre.saturating_add(half_side).min(side);
    let columns = span(x, picture.width());
    for y in span(y, picture.height()) {
        for x in columns.clone() {
            picture.put_pixel(x, y, GREY);
        }
    }
}
