//! Stochastic gradient descent with momentum, and the operations between a gradient and its step.

use super::View;
use crate::graph::op::{AdaptLossScale, GradientScale, SgdMomentum, SquaredNorm};

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr_scale * lr * (nesterov ? g + momentum * v : v)`.
/// `inputs` are grad, lr and perhaps a scale, `updates` p and v.
pub(super) fn sgd_momentum(op: &SgdMomentum, inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let [parameter, velocity] = updates else { unreachable!("the shape rule asks for two updated tensors") };
    let (momentum, weight_decay) = (f64::from(op.momentum), f64::from(op.weight_decay));
    let lr = f64::from(op.lr_scale) * inputs[1].data[0];
    let [scale, finite] = if op.scaled { [inputs[2].data[0], inputs[2].data[1]] } else { [1.0, 1.0] };
    if finite == 0.0 {
        return;
    }
    for ((p, v), grad) in parameter.iter_mut().zip(velocity).zip(inputs[0].data) {
        let g = scale * grad + weight_decay * *p;
        *v = momentum * *v + g;
        *p -= lr * if op.nesterov { g + momentum * *v } else { *v };
    }
}

/// `sum = keep > 0 ? sum + grad : grad`.
pub(super) fn accumulate(inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let keep = inputs[1].data[0] > 0.0;
    for (sum, grad) in updates[0].iter_mut().zip(inputs[0].data) {
        *sum = if keep { *sum + grad } else { *grad };
    }
}

/// `average += rate * (x - average)`.
pub(super) fn moving_average(inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    for (average, x) in updates[0].iter_mut().zip(inputs[0].data) {
        *average += inputs[1].data[0] * (x - *average);
    }
}

/// Stores the sum of all squares as the first of the tensor's sums; the rest of its `sums` become 0.
pub(super) fn squared_norm(op: &SquaredNorm, inputs: &[View<'_>], updates: &mut [Vec<f64>], sums: usize) {
    let factor = inputs[1].data[0];
    let own = &mut updates[0][op.first..][..sums];
    own.fill(0.0);
    own[0] = inputs[0].data.iter().map(|x| (factor * x).powi(2)).sum();
}

/// Returns the scale and whether the norm is finite, then the norm.
pub(super) fn gradient_scale(op: &GradientScale, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let (total, factor) = (inputs[0].data.iter().sum::<f64>(), inputs[1].data[0]);
    let norm = total.sqrt();
    let scale = factor * (f64::from(op.max_norm) / (norm + 1e-6)).min(1.0);
    vec![if norm.is_finite() { vec![scale, 1.0] } else { vec![0.0, 0.0] }, vec![norm]]
}

/// `factor / loss_scale`.
pub(super) fn unscale(inputs: &[View<'_>]) -> Vec<f64> {
    vec![inputs[0].data[0] / inputs[1].data[0]]
}

/// Halves the scale after an overflow and doubles it after `growth_steps` steps without one. `updates` are the scale
/// and the number of those steps.
pub(super) fn adapt_loss_scale(op: &AdaptLossScale, inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let [least, most] = AdaptLossScale::RANGE.map(f64::from);
    let (scale, steps) = (updates[0][0], updates[1][0]);
    let (scale, steps) = match inputs[0].data[1] {
        0.0 => (scale / 2.0, 0.0),
        _ if steps + 1.0 >= f64::from(op.growth_steps) => (scale * 2.0, 0.0),
        _ => (scale, steps + 1.0),
    };
    (updates[0][0], updates[1][0]) = (scale.clamp(least, most), steps);
}
