//! Pools and their gradients.

use super::View;
use crate::graph::op::{AvgPool, AvgPoolGrad, GlobalAvgPoolGrad, MaxPool, MaxPoolGrad, Window};

/// Mean over height and width.
pub(super) fn global_avg_pool(x: View<'_>) -> Vec<f64> {
    let [n, h, w, c] = x.dims();
    let mut y = vec![0.0; n * c];
    for (pixel, values) in x.data.chunks_exact(c).enumerate() {
        let first = pixel / (h * w) * c;
        for (y, value) in y[first..].iter_mut().zip(values) {
            *y += value / (h * w) as f64;
        }
    }
    y
}

/// `dx = dy / (H * W)` everywhere, plus the addend.
pub(super) fn global_avg_pool_grad(op: &GlobalAvgPoolGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let (n, c) = (inputs[0].shape[0], inputs[0].channels());
    let [h, w] = op.size;
    let mut dx = addend_or_zeros(inputs, n * h * w * c);
    for (pixel, dx) in dx.chunks_exact_mut(c).enumerate() {
        let dy = &inputs[0].data[pixel / (h * w) * c..];
        for (dx, dy) in dx.iter_mut().zip(dy) {
            *dx += dy / (h * w) as f64;
        }
    }
    dx
}

/// The pixels of a map of `size` that window (oy, ox) reads, in reading order.
fn read_by(window: &Window, size: [usize; 2], [oy, ox]: [usize; 2]) -> Vec<[usize; 2]> {
    let ([down, across], [kh, kw]) = (window.over(size), window.kernel);
    let columns: Vec<usize> = (0..kw).filter_map(|tap| across.pixel(ox, tap)).collect();
    let lines = (0..kh).filter_map(|tap| down.pixel(oy, tap));
    lines.flat_map(|y| columns.iter().map(move |&x| [y, x])).collect()
}

/// Calls `f(element of y, element of x, pixels that count)` for each element that a window of the pool reads.
fn for_each_read(pool: &AvgPool, y: [usize; 4], [h, w]: [usize; 2], mut f: impl FnMut(usize, usize, f64)) {
    let [n, oh, ow, c] = y;
    for to in 0..n * oh * ow {
        let (n, oy, ox) = (to / ow / oh, to / ow % oh, to % ow);
        let pixels = read_by(&pool.window, [h, w], [oy, ox]);
        let count = if pool.zeros_count { pool.window.taps() } else { pixels.len() };
        for &[y, x] in &pixels {
            let from = (n * h + y) * w + x;
            (0..c).for_each(|channel| f(to * c + channel, from * c + channel, count as f64));
        }
    }
}

/// Mean of the pixels that count in a window.
pub(super) fn avg_pool(op: &AvgPool, x: View<'_>, output: &[usize]) -> Vec<f64> {
    let [_, h, w, _] = x.dims();
    let output: [usize; 4] = std::array::from_fn(|d| output[d]);
    let mut y = vec![0.0; output.iter().product()];
    for_each_read(op, output, [h, w], |to, from, pixels| y[to] += x.data[from] / pixels);
    y
}

/// Each pixel receives, from every window that reads it, the window's gradient divided by the pixels that count; plus
/// the addend.
pub(super) fn avg_pool_grad(op: &AvgPoolGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let dy = inputs[0];
    let [n, _, _, c] = dy.dims();
    let mut dx = addend_or_zeros(inputs, n * op.size[0] * op.size[1] * c);
    for_each_read(&op.pool, dy.dims(), op.size, |from, to, pixels| dx[to] += dy.data[from] / pixels);
    dx
}

pub(super) fn addend_or_zeros(inputs: &[View<'_>], elements: usize) -> Vec<f64> {
    inputs.get(1).map_or_else(|| vec![0.0; elements], |addend| addend.data.to_vec())
}

/// The index in x of the largest element of a channel within window (oy, ox): the first of equal ones.
fn largest(window: &Window, x: View<'_>, [n, oy, ox, channel]: [usize; 4]) -> usize {
    let [_, height, width, c] = x.dims();
    let pixels = read_by(window, [height, width], [oy, ox]).into_iter();
    let elements = pixels.map(|[y, x]| ((n * height + y) * width + x) * c + channel);
    elements.reduce(|best, i| if x.data[i] > x.data[best] { i } else { best }).unwrap_or_default()
}

/// Indices `[n, oy, ox, c]` of a map's elements, in order.
fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n * h * w * c).map(move |i| [i / c / w / h, i / c / w % h, i / c % w, i % c])
}

/// Largest value that a window reads.
pub(super) fn max_pool(op: &MaxPool, x: View<'_>, output: &[usize]) -> Vec<f64> {
    indices(std::array::from_fn(|d| output[d])).map(|at| x.data[largest(&op.window, x, at)]).collect()
}

/// Adds each window's gradient to that of the window's largest element.
pub(super) fn max_pool_grad(op: &MaxPoolGrad, x: View<'_>, dy: View<'_>) -> Vec<f64> {
    let mut dx = vec![0.0; x.data.len()];
    for (at, dy) in indices(dy.dims()).zip(dy.data) {
        dx[largest(&op.window, x, at)] += dy;
    }
    dx
}
