//! Maps joined by their channels, and taken apart again: the same copy of channels.

use super::{Lowering, Operand, TooLarge, words};
use crate::graph::LANES;
use crate::graph::op::SliceChannels;

pub(super) fn concat(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    let y = l.output(0);
    let mut first = 0;
    for i in 0..l.node.inputs.len() {
        let x = l.input(i);
        copy(l, (x, 0), (y, first), x.spec.quads())?;
        first += x.spec.quads();
    }
    Ok(())
}

pub(super) fn slice_channels(l: &mut Lowering<'_>, op: &SliceChannels) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    copy(l, (x, op.first / LANES), (y, 0), y.spec.quads())
}

/// Copies `quads` quads of each pixel of a map to another map's pixel, each from a first quad on.
fn copy(
    l: &mut Lowering<'_>,
    (x, first): (Operand<'_>, usize),
    (y, first_in_y): (Operand<'_>, usize),
    quads: usize,
) -> Result<(), TooLarge> {
    let params =
        words! { quads, x_quads: x.spec.quads(), x_first: first, y_quads: y.spec.quads(), y_first: first_in_y };
    for run in l.image_slices(&[x, y])? {
        let count = run.len() * x.pixels() * quads;
        l.each(l.kernel("concat/copy"), vec![x.images(&run), y.images(&run)], count, params.clone());
    }
    Ok(())
}
