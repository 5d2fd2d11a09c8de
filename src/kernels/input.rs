//! The conversion of pixels to the network's input.

use super::{Lowering, words};
use crate::graph::op::{MAX_BINDING_BYTES, Standardize};

pub(super) fn standardize(l: &mut Lowering<'_>, op: &Standardize) {
    let (pixels, x) = (l.input(0), l.output(0));
    let [scale_r, scale_g, scale_b] = op.std.map(|s| 1.0 / (255.0 * s));
    let [shift_r, shift_g, shift_b] = [0, 1, 2].map(|c| -op.mean[c] / op.std[c]);
    // Runs of pixels, which may cross from one picture to the next. Each run starts aligned in both tensors.
    let step = (MAX_BINDING_BYTES / 16) as usize;
    for first in (0..x.spec.rows()).step_by(step) {
        let run = first..(first + step).min(x.spec.rows());
        let params = words! { scale_r, scale_g, scale_b, shift_r, shift_g, shift_b };
        let views = vec![pixels.elements(&run), x.rows(&run)];
        l.each(l.kernel("input/standardize"), views, run.len(), params);
    }
}
