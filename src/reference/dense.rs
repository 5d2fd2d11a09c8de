//! Linear layers and their gradients.

use super::View;
use super::activation::{activate, derivative, derivative_from_result};
use crate::graph::op::{ActivationGrad, Linear};

/// `y[n, o] = activation(sum over i of x[n, i] * w[i, o] + b[o])`.
pub(super) fn linear(op: &Linear, inputs: &[View<'_>]) -> Vec<f64> {
    let (x, w, b) = (inputs[0], inputs[1], inputs[2]);
    let mut y = Vec::with_capacity(x.shape[0] * b.data.len());
    for x_row in x.data.chunks_exact(x.channels()) {
        let mut y_row = b.data.to_vec();
        for (value, w_row) in x_row.iter().zip(w.data.chunks_exact(y_row.len())) {
            for (y, w) in y_row.iter_mut().zip(w_row) {
                *y += value * w;
            }
        }
        y.extend(y_row.iter().map(|&y| activate(op.activation, y)));
    }
    y
}

/// `dx[n, i] = sum over o of dy[n, o] * w[i, o]`.
pub(super) fn linear_input_grad(dy: View<'_>, w: View<'_>) -> Vec<f64> {
    let co = dy.channels();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let dx_row = |dy_row| w.data.chunks_exact(co).map(move |w_row| dot(dy_row, w_row));
    dy.data.chunks_exact(co).flat_map(dx_row).collect()
}

/// `dw[i, o] = sum over n of x[n, i] * dy[n, o]`, `db[o] = sum over n of dy[n, o]`.
pub(super) fn linear_weight_grad(x: View<'_>, dy: View<'_>) -> Vec<Vec<f64>> {
    let (ci, co) = (x.channels(), dy.channels());
    let (mut dw, mut db) = (vec![0.0; ci * co], vec![0.0; co]);
    for (x_row, dy_row) in x.data.chunks_exact(ci).zip(dy.data.chunks_exact(co)) {
        for (o, &dy) in dy_row.iter().enumerate() {
            db[o] += dy;
        }
        for (value, dw_row) in x_row.iter().zip(dw.chunks_exact_mut(co)) {
            for (dw, dy) in dw_row.iter_mut().zip(dy_row) {
                *dw += value * dy;
            }
        }
    }
    vec![dw, db]
}

/// `dx = dy * activation'`, with the derivative computed from the activation's result or argument.
pub(super) fn activation_grad(op: &ActivationGrad, told_by: View<'_>, dy: View<'_>) -> Vec<f64> {
    let derivative = if op.reads_result() { derivative_from_result } else { derivative };
    told_by.data.iter().zip(dy.data).map(|(&v, dy)| dy * derivative(op.activation, v)).collect()
}
