//! From pixels to the network's input.

use super::View;
use crate::graph::op::Standardize;

/// `(pixel / 255 - mean) / std` of red, green and blue, which are the lowest three bytes; alpha is ignored.
pub(super) fn standardize(op: &Standardize, pixels: View<'_>) -> Vec<f64> {
    let colour = |pixel: u32, c: usize| {
        let byte = (pixel >> (8 * c)) & 0xff;
        (f64::from(byte) / 255.0 - f64::from(op.mean[c])) / f64::from(op.std[c])
    };
    pixels.data.iter().flat_map(|&pixel| [0, 1, 2].map(|c| colour(pixel as u32, c))).collect()
}
