//! Depthwise convolution and its two gradients.

use super::View;
use super::activation::activate;
use crate::graph::op::{DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad};

/// `y[n, oy, ox, c] = activation(sum over ky, kx of x[n, iy, ix, c] * w[ky, kx, c] + bias[c])`, where window (oy, ox)
/// reads (iy, ix) with (ky, kx).
pub(super) fn conv2d(op: &DepthwiseConv2d, inputs: &[View<'_>], output: &[usize]) -> Vec<f64> {
    let (x, w) = (inputs[0], inputs[1]);
    let ([_, height, width, c], [kh, kw, _]) = (x.dims(), w.dims());
    let [n, oh, ow] = [output[0], output[1], output[2]];
    let [down, across] = op.window.over([height, width]);
    let mut y = vec![0.0; n * oh * ow * c];
    for (pixel, y) in y.chunks_exact_mut(c).enumerate() {
        let (n, oy, ox) = (pixel / ow / oh, pixel / ow % oh, pixel % ow);
        for (ky, kx) in taps(kh, kw) {
            let Some(iy) = down.pixel(oy, ky) else { continue };
            let Some(ix) = across.pixel(ox, kx) else { continue };
            let (from, tap) = (((n * height + iy) * width + ix) * c, (ky * kw + kx) * c);
            add_products(y, &x.data[from..][..c], &w.data[tap..][..c]);
        }
        for (i, y) in y.iter_mut().enumerate() {
            *y = activate(op.activation, *y + if op.bias { inputs[2].data[i] } else { 0.0 });
        }
    }
    y
}

/// `dx[n, y, x, c] = sum over ky, kx of dy[n, oy, ox, c] * w[ky, kx, c]`, where window (oy, ox) reads (y, x) with
/// (ky, kx), plus the addend.
pub(super) fn input_grad(op: &DepthwiseInputGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let (dy, w) = (inputs[0], inputs[1]);
    let ([n, oh, ow, c], [kh, kw, _]) = (dy.dims(), w.dims());
    let [height, width] = op.size;
    let [down, across] = op.window.over(op.size);
    let mut dx = inputs.get(2).map_or_else(|| vec![0.0; n * height * width * c], |addend| addend.data.to_vec());
    for (pixel, dx) in dx.chunks_exact_mut(c).enumerate() {
        let (n, y, x) = (pixel / width / height, pixel / width % height, pixel % width);
        for (ky, kx) in taps(kh, kw) {
            let Some(oy) = down.window(y, ky, oh) else { continue };
            let Some(ox) = across.window(x, kx, ow) else { continue };
            let (from, tap) = (((n * oh + oy) * ow + ox) * c, (ky * kw + kx) * c);
            add_products(dx, &dy.data[from..][..c], &w.data[tap..][..c]);
        }
    }
    dx
}

/// `dw[ky, kx, c] = sum over n, oy, ox of x[n, iy, ix, c] * dy[n, oy, ox, c]`, where window (oy, ox) reads (iy, ix)
/// with (ky, kx).
pub(super) fn weight_grad(op: &DepthwiseWeightGrad, x: View<'_>, dy: View<'_>) -> Vec<f64> {
    let ([_, height, width, c], [_, oh, ow, _]) = (x.dims(), dy.dims());
    let [kh, kw] = op.window.kernel;
    let [down, across] = op.window.over([height, width]);
    let mut dw = vec![0.0; kh * kw * c];
    for ((ky, kx), dw) in taps(kh, kw).zip(dw.chunks_exact_mut(c)) {
        for (pixel, dy) in dy.data.chunks_exact(c).enumerate() {
            let (n, oy, ox) = (pixel / ow / oh, pixel / ow % oh, pixel % ow);
            let Some(iy) = down.pixel(oy, ky) else { continue };
            let Some(ix) = across.pixel(ox, kx) else { continue };
            add_products(dw, &x.data[((n * height + iy) * width + ix) * c..][..c], dy);
        }
    }
    dw
}

fn taps(kh: usize, kw: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (ky, kx)))
}

/// `sum += a * b`, channel by channel.
fn add_products(sum: &mut [f64], a: &[f64], b: &[f64]) {
    for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(b)) {
        *sum += a * b;
    }
}
