//! Resized maps.

use super::View;
use super::pool::addend_or_zeros;
use crate::graph::op::{Axis, Resize, ResizeGrad, Taps};

/// Each pixel from up to four pixels of the map.
pub(super) fn resize(op: &Resize, x: View<'_>) -> Vec<f64> {
    let [n, h, w, c] = x.dims();
    let [oh, ow] = op.size;
    let mut y = Vec::with_capacity(n * oh * ow * c);
    for to in 0..n * oh * ow {
        let (n, oy, ox) = (to / ow / oh, to / ow % oh, to % ow);
        let (down, across) = (op.filter.taps(oy, h, oh), op.filter.taps(ox, w, ow));
        let at = |y: usize, x: usize| ((n * h + y) * w + x) * c;
        y.extend((0..c).map(|channel| {
            let line = |y: usize| {
                let [left, right] = across.pixels.map(|pixel| x.data[at(y, pixel) + channel]);
                left * (1.0 - across.share) + right * across.share
            };
            line(down.pixels[0]) * (1.0 - down.share) + line(down.pixels[1]) * down.share
        }));
    }
    y
}

/// Spreads each pixel's gradient over the pixels that it was made from.
pub(super) fn resize_grad(op: &ResizeGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let dy = inputs[0];
    let [n, h, w, c] = dy.dims();
    // The axis lies between all that is outside of it and all that is inside.
    let (outer, out, inner) = match op.axis {
        Axis::Height => (n, h, w * c),
        Axis::Width => (n * h, w, c),
    };
    let mut dx = addend_or_zeros(inputs, outer * op.pixels * inner);
    for (from, dy) in dy.data.chunks_exact(inner).enumerate() {
        let Taps { pixels, share } = op.filter.taps(from % out, op.pixels, out);
        for (pixel, weight) in pixels.into_iter().zip([1.0 - share, share]) {
            let to = (from / out * op.pixels + pixel) * inner;
            dx[to..to + inner].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += weight * dy);
        }
    }
    dx
}
