//! Average pools and their gradients.

use super::View;
use crate::graph::op::{AvgPool2x2Grad, GlobalAvgPoolGrad, MaxPool};

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
    let [n, c] = inputs[0].dims();
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

/// Calls `f(y pixel, x pixel, pixels of the window)` for each pixel that a window covers. At odd sizes the last window
/// is cut short.
fn for_each_covered([n, h, w]: [usize; 3], mut f: impl FnMut(usize, usize, f64)) {
    let [oh, ow] = [h.div_ceil(2), w.div_ceil(2)];
    for n in 0..n {
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let (oy, ox) = (y / 2, x / 2);
            let covered = (h - 2 * oy).min(2) * (w - 2 * ox).min(2);
            f((n * oh + oy) * ow + ox, (n * h + y) * w + x, covered as f64);
        }
    }
}

/// Mean over 2x2 windows with stride 2, of as many pixels as the window covers.
pub(super) fn avg_pool_2x2(x: View<'_>) -> Vec<f64> {
    let [n, h, w, c] = x.dims();
    let mut y = vec![0.0; n * h.div_ceil(2) * w.div_ceil(2) * c];
    for_each_covered([n, h, w], |y_pixel, x_pixel, covered| {
        for channel in 0..c {
            y[y_pixel * c + channel] += x.data[x_pixel * c + channel] / covered;
        }
    });
    y
}

/// Each pixel receives its window's gradient over the window's pixel count, plus the addend.
pub(super) fn avg_pool_2x2_grad(op: &AvgPool2x2Grad, inputs: &[View<'_>]) -> Vec<f64> {
    let [n, _, _, c] = inputs[0].dims();
    let [h, w] = op.size;
    let mut dx = addend_or_zeros(inputs, n * h * w * c);
    for_each_covered([n, h, w], |y_pixel, x_pixel, covered| {
        for channel in 0..c {
            dx[x_pixel * c + channel] += inputs[0].data[y_pixel * c + channel] / covered;
        }
    });
    dx
}

fn addend_or_zeros(inputs: &[View<'_>], elements: usize) -> Vec<f64> {
    inputs.get(1).map_or_else(|| vec![0.0; elements], |addend| addend.data.to_vec())
}

/// The element of x that window `(n, oy, ox)` of 3x3 with stride 2 finds the largest of channel `channel`: the first of equal ones.
fn largest(x: View<'_>, [n, oy, ox, channel]: [usize; 4]) -> usize {
    let [_, height, width, c] = x.dims();
    let reach = |o: usize, length: usize| {
        let first = o * MaxPool::STRIDE;
        first.saturating_sub(MaxPool::BORDER)..(first + MaxPool::WINDOW - MaxPool::BORDER).min(length)
    };
    let within = reach(oy, height).flat_map(|y| reach(ox, width).map(move |x| (y, x)));
    let elements = within.map(|(y, x)| ((n * height + y) * width + x) * c + channel);
    elements.reduce(|best, i| if x.data[i] > x.data[best] { i } else { best }).unwrap_or_default()
}

/// Indices `[n, oy, ox, c]` of a map's elements, in order.
fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n * h * w * c).map(move |i| [i / c / w / h, i / c / w % h, i / c % w, i % c])
}

/// Largest value of 3x3 windows with stride 2.
pub(super) fn max_pool(x: View<'_>, output: &[usize]) -> Vec<f64> {
    indices(std::array::from_fn(|d| output[d])).map(|window| x.data[largest(x, window)]).collect()
}

/// Each window's gradient, handed to its largest value.
pub(super) fn max_pool_grad(x: View<'_>, dy: View<'_>) -> Vec<f64> {
    let mut dx = vec![0.0; x.data.len()];
    for (window, dy) in indices(dy.dims()).zip(dy.data) {
        dx[largest(x, window)] += dy;
    }
    dx
}
