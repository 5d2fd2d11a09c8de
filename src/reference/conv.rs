//! Convolution and its two gradients.
//!
//! In all three functions the innermost loop runs over contiguous channels, and the order of each element's sum does
//! not depend on the number of threads.

use rayon::prelude::*;

use super::View;
use super::activation::activate;
use crate::graph::op::{BiasGrad, Conv2d, Conv2dInputGrad, Conv2dWeightGrad};

/// `sum += factor * row`, element by element.
fn add_scaled(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (s, r) in sum.iter_mut().zip(row) {
        *s += factor * r;
    }
}

/// `y = activation((sum + bias) * gate + shortcut)`, the sum being
/// `y[n, oy, ox, o] = sum over ky, kx, i of x[n, iy, ix, i] * w[ky, kx, i, o]`, where window (oy, ox) reads (iy, ix)
/// with (ky, kx).
pub(super) fn conv2d(op: &Conv2d, inputs: &[View<'_>], output: &[usize]) -> Vec<f64> {
    let (x, w) = (inputs[0], inputs[1]);
    let ([_, height, width, ci], [kh, kw, _, co]) = (x.dims(), w.dims());
    let [n, oh, ow] = [output[0], output[1], output[2]];
    let [down, across] = op.window.over([height, width]);

    let [bias, gate, shortcut] = op.epilogue.operands(&inputs[2..]).map(|part| part.map(|part| part.data));

    let mut y = vec![0.0; n * oh * ow * co];
    y.par_chunks_mut(ow * co).enumerate().for_each(|(row, y_row)| {
        let (n, oy) = (row / oh, row % oh);
        for ky in 0..kh {
            let Some(iy) = down.pixel(oy, ky) else { continue };
            for (kx, i) in (0..kw).flat_map(|kx| (0..ci).map(move |i| (kx, i))) {
                let w_row = &w.data[((ky * kw + kx) * ci + i) * co..][..co];
                for (ox, y_pixel) in y_row.chunks_exact_mut(co).enumerate() {
                    let Some(ix) = across.pixel(ox, kx) else { continue };
                    add_scaled(y_pixel, x.data[((n * height + iy) * width + ix) * ci + i], w_row);
                }
            }
        }
        for (i, y) in y_row.iter_mut().enumerate() {
            let o = i % co;
            let sum = *y + bias.map_or(0.0, |b| b[o]);
            let scaled = sum * gate.map_or(1.0, |g| g[n * co + o]);
            *y = activate(op.epilogue.activation, scaled + shortcut.map_or(0.0, |s| s[row * ow * co + i]));
        }
    });
    y
}

/// `db = sum over n, y, x of d`, where `d = dy` unless the convolution's result was cut off at 0. Returns db and, after
/// a ReLU, d.
pub(super) fn bias_grad(op: &BiasGrad, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let dy = inputs[0];
    let d: Vec<f64> = match op.relu {
        true => dy.data.iter().zip(inputs[1].data).map(|(dy, &y)| if y > 0.0 { *dy } else { 0.0 }).collect(),
        false => dy.data.to_vec(),
    };
    let mut db = vec![0.0; dy.channels()];
    d.chunks_exact(dy.channels()).for_each(|pixel| add_scaled(&mut db, 1.0, pixel));
    if op.relu { vec![db, d] } else { vec![db] }
}

/// `dx[n, y, x, i] = sum over ky, kx, o of dy[n, oy, ox, o] * w[ky, kx, i, o]`, where window (oy, ox) reads (y, x) with
/// (ky, kx), plus the addend.
pub(super) fn conv2d_input_grad(op: &Conv2dInputGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let (dy, w) = (inputs[0], inputs[1]);
    let ([n, oh, ow, co], [kh, kw, ci, _]) = (dy.dims(), w.dims());
    let [height, width] = op.size;
    let [down, across] = op.window.over(op.size);

    // w[ky, kx, i, o] as w[ky, kx, o, i]: the output's channels become contiguous.
    let mut swapped = vec![0.0; w.data.len()];
    for (tap, block) in w.data.chunks_exact(ci * co).enumerate() {
        for (i, row) in block.chunks_exact(co).enumerate() {
            for (o, &value) in row.iter().enumerate() {
                swapped[(tap * co + o) * ci + i] = value;
            }
        }
    }

    let mut dx = match inputs.get(2) {
        Some(addend) => addend.data.to_vec(),
        None => vec![0.0; n * height * width * ci],
    };
    dx.par_chunks_mut(width * ci).enumerate().for_each(|(row, dx_row)| {
        let (n, y) = (row / height, row % height);
        for ky in 0..kh {
            let Some(oy) = down.window(y, ky, oh) else { continue };
            for (kx, o) in (0..kw).flat_map(|kx| (0..co).map(move |o| (kx, o))) {
                let w_row = &swapped[((ky * kw + kx) * co + o) * ci..][..ci];
                for (x, dx_pixel) in dx_row.chunks_exact_mut(ci).enumerate() {
                    let Some(ox) = across.window(x, kx, ow) else { continue };
                    add_scaled(dx_pixel, dy.data[((n * oh + oy) * ow + ox) * co + o], w_row);
                }
            }
        }
    });
    dx
}

/// `dw[ky, kx, i, o] = sum over n, oy, ox of x[n, iy, ix, i] * dy[n, oy, ox, o]`, where window (oy, ox) reads (iy, ix)
/// with (ky, kx).
pub(super) fn conv2d_weight_grad(op: &Conv2dWeightGrad, x: View<'_>, dy: View<'_>) -> Vec<f64> {
    let ([n, height, width, ci], [_, oh, ow, co]) = (x.dims(), dy.dims());
    let [kh, kw] = op.window.kernel;
    let [down, across] = op.window.over([height, width]);
    let mut dw = vec![0.0; kh * kw * ci * co];
    dw.par_chunks_mut(co).enumerate().for_each(|(row, dw_row)| {
        let (ky, kx, i) = (row / ci / kw, row / ci % kw, row % ci);
        for (n, oy) in (0..n).flat_map(|n| (0..oh).map(move |oy| (n, oy))) {
            let Some(iy) = down.pixel(oy, ky) else { continue };
            for ox in 0..ow {
                let Some(ix) = across.pixel(ox, kx) else { continue };
                let dy_pixel = &dy.data[((n * oh + oy) * ow + ox) * co..][..co];
                add_scaled(dw_row, x.data[((n * height + iy) * width + ix) * ci + i], dy_pixel);
            }
        }
    });
    dw
}
