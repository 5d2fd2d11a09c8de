//! Batch normalisation and its gradient.

use super::View;
use super::activation::{activate, derivative};
use crate::graph::op::{BatchNorm, BatchNormGrad, BatchNormInference, FoldBatchNorm, Normalize, Statistics};

/// `f(element, channel)` for every element of x.
fn map_elements(x: View<'_>, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let channels = x.channels();
    (0..x.data.len()).map(|i| f(i, i % channels)).collect()
}

/// Per channel, the sum over all pixels of `term(element, channel)`.
fn sum_over_pixels(x: View<'_>, term: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let channels = x.channels();
    let mut sums = vec![0.0; channels];
    for first in (0..x.data.len()).step_by(channels) {
        for (c, sum) in sums.iter_mut().enumerate() {
            *sum += term(first + c, c);
        }
    }
    sums
}

/// `y = activation((x - mean) / sqrt(var + eps) * gamma + beta)` with the batch's mean and biased variance; the running
/// statistics move towards the mean and the unbiased variance. Returns y, mean, `1 / sqrt(var + eps)`.
pub(super) fn batch_norm(op: &BatchNorm, inputs: &[View<'_>], running: &mut [Vec<f64>]) -> Vec<Vec<f64>> {
    let (x, gamma, beta) = (inputs[0], inputs[1].data, inputs[2].data);
    let pixels = (x.data.len() / x.channels()) as f64;

    let mean: Vec<f64> = sum_over_pixels(x, |i, _| x.data[i]).iter().map(|s| s / pixels).collect();
    let squares = sum_over_pixels(x, |i, c| (x.data[i] - mean[c]).powi(2));
    let inverse: Vec<f64> = squares.iter().map(|s| 1.0 / (s / pixels + f64::from(op.eps)).sqrt()).collect();
    let y = map_elements(x, |i, c| activate(op.activation, (x.data[i] - mean[c]) * inverse[c] * gamma[c] + beta[c]));

    let momentum = f64::from(op.momentum);
    let follow = |running: &mut f64, batch: f64| *running = (1.0 - momentum) * *running + momentum * batch;
    for (c, square) in squares.iter().enumerate() {
        follow(&mut running[0][c], mean[c]);
        follow(&mut running[1][c], square / (pixels - 1.0));
    }
    vec![y, mean, inverse]
}

/// With `d = dy * activation'` and `xhat` the normalised map: `dbeta = sum d`, `dgamma = sum d * xhat`,
/// `dx = gamma / sqrt(var + eps) * (d - dbeta / M - xhat * dgamma / M)`, without the last two terms if the statistics
/// are constants. Returns dx and, if gamma and beta learn, dgamma and dbeta.
pub(super) fn batch_norm_grad(op: &BatchNormGrad, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let (x, dy, gamma, beta) = (inputs[0], inputs[1].data, inputs[2].data, inputs[3].data);
    let mean = inputs[4].data;
    let (inverse, pixels): (Vec<f64>, f64) = match op.statistics {
        Statistics::Batch => (inputs[5].data.to_vec(), (x.data.len() / x.channels()) as f64),
        Statistics::Running { eps, .. } => {
            (inputs[5].data.iter().map(|var| 1.0 / (var + f64::from(eps)).sqrt()).collect(), f64::INFINITY)
        }
    };

    let xhat = map_elements(x, |i, c| (x.data[i] - mean[c]) * inverse[c]);
    let d = map_elements(x, |i, c| dy[i] * derivative(op.activation, xhat[i] * gamma[c] + beta[c]));
    let dbeta = sum_over_pixels(x, |i, _| d[i]);
    let dgamma = sum_over_pixels(x, |i, _| d[i] * xhat[i]);
    let dx = map_elements(x, |i, c| gamma[c] * inverse[c] * (d[i] - dbeta[c] / pixels - xhat[i] * dgamma[c] / pixels));
    if op.learns() { vec![dx, dgamma, dbeta] } else { vec![dx] }
}

/// `y = activation((x - mean) * inverse_deviation * gamma + beta)`.
pub(super) fn normalize(op: &Normalize, inputs: &[View<'_>]) -> Vec<f64> {
    let [x, gamma, beta, mean, inverse] = [0, 1, 2, 3, 4].map(|i| inputs[i]);
    let xhat = |i, c| (x.data[i] - mean.data[c]) * inverse.data[c];
    map_elements(x, |i, c| activate(op.activation, xhat(i, c) * gamma.data[c] + beta.data[c]))
}

/// `y = activation((x - mean) / sqrt(var + eps) * gamma + beta)` with the given statistics.
pub(super) fn batch_norm_inference(op: &BatchNormInference, inputs: &[View<'_>]) -> Vec<f64> {
    let (x, gamma, beta) = (inputs[0], inputs[1].data, inputs[2].data);
    let (mean, var) = (inputs[3].data, inputs[4].data);
    let scale: Vec<f64> = var.iter().zip(gamma).map(|(v, g)| g / (v + f64::from(op.eps)).sqrt()).collect();
    map_elements(x, |i, c| activate(op.activation, (x.data[i] - mean[c]) * scale[c] + beta[c]))
}

/// `w' = w * s`, `b' = beta - mean * s`, with `s = gamma / sqrt(var + eps)` per output channel.
pub(super) fn fold_batch_norm(op: &FoldBatchNorm, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let (w, gamma, beta) = (inputs[0], inputs[1].data, inputs[2].data);
    let (mean, var) = (inputs[3].data, inputs[4].data);
    let scale: Vec<f64> = var.iter().zip(gamma).map(|(v, g)| g / (v + f64::from(op.eps)).sqrt()).collect();
    let folded = map_elements(w, |i, o| w.data[i] * scale[o]);
    let bias = (0..scale.len()).map(|o| beta[o] - mean[o] * scale[o]).collect();
    vec![folded, bias]
}
