//! From pixels to the network's input.

use super::{Kernel, Lowering, TooLarge, words};
use crate::graph::op::Standardize;

pub(super) fn standardize(l: &mut Lowering<'_>, op: &Standardize) -> Result<(), TooLarge> {
    let (pixels, x) = (l.input(0), l.output(0));
    let scale = op.std.map(|s| 1.0 / (255.0 * s));
    let shift = [0, 1, 2].map(|c| -op.mean[c] / op.std[c]);
    for run in l.image_slices(&[pixels, x])? {
        let params = words![scale[0], scale[1], scale[2], shift[0], shift[1], shift[2]];
        l.each(Kernel::new("input/standardize"), vec![pixels.images(&run), x.images(&run)], x.vec4_in(&run), params);
    }
    Ok(())
}
