//! The optimisers, and the operations between a gradient and its step.

use super::View;
use crate::graph::op::{AdamW, AdaptLossScale, BiasCorrection, GradientScale, SgdMomentum};

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr_scale * lr * (nesterov ? g + momentum * v : v)`.
/// `inputs` are lr, perhaps a scale, and each grad; `updates` are p and v of each.
pub(super) fn sgd_momentum(op: &SgdMomentum, inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let (leading, gradients) = inputs.split_at(op.leading());
    let [scale, finite] = leading.get(1).map_or([1.0, 1.0], |scale| [scale.data[0], scale.data[1]]);
    if finite == 0.0 {
        return;
    }
    let momentum = f64::from(op.momentum);
    for ((gradient, updates), rates) in gradients.iter().zip(updates.chunks_mut(2)).zip(&op.parameters) {
        let [parameter, velocity] = updates else { unreachable!("the shape rule asks for two updated tensors") };
        let lr = f64::from(rates.lr_scale) * leading[0].data[0];
        for ((p, v), grad) in parameter.iter_mut().zip(velocity).zip(gradient.data) {
            let g = scale * grad + f64::from(rates.weight_decay) * *p;
            *v = momentum * *v + g;
            *p -= lr * if op.nesterov { g + momentum * *v } else { *v };
        }
    }
}

/// `m += (1 - b1) * (grad - m); v += (1 - b2) * (grad^2 - v);
/// p -= lr_scale * lr * (weight_decay * p + (m / c1) / (sqrt(v / c2) + eps))`.
/// `inputs` are lr, the corrections c1 and c2, perhaps a scale, and each grad; `updates` are p, m and v of each.
pub(super) fn adamw(op: &AdamW, inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let (leading, gradients) = inputs.split_at(op.leading());
    let [scale, finite] = leading.get(2).map_or([1.0, 1.0], |scale| [scale.data[0], scale.data[1]]);
    if finite == 0.0 {
        return;
    }
    let [c1, c2] = [0, 1].map(|i| leading[1].data[i]);
    let [new1, new2] = op.decays.map(|decay| 1.0 - f64::from(decay));
    for ((gradient, updates), rates) in gradients.iter().zip(updates.chunks_mut(3)).zip(&op.parameters) {
        let [parameter, mean, square] = updates else { unreachable!("the shape rule asks for three updated tensors") };
        let lr = f64::from(rates.lr_scale) * leading[0].data[0];
        for (((p, m), v), grad) in parameter.iter_mut().zip(mean).zip(square).zip(gradient.data) {
            let g = scale * grad;
            *m += new1 * (g - *m);
            *v += new2 * (g * g - *v);
            let direction = (*m / c1) / ((*v / c2).sqrt() + f64::from(op.eps));
            *p -= lr * (f64::from(rates.weight_decay) * *p + direction);
        }
    }
}

/// `c += (1 - decay) * (1 - c)`. `inputs` is perhaps a scale, `updates` the corrections.
pub(super) fn bias_correction(op: &BiasCorrection, inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    if inputs.first().is_some_and(|scale| scale.data[1] == 0.0) {
        return;
    }
    for (c, decay) in updates[0].iter_mut().zip(op.decays) {
        *c += (1.0 - f64::from(decay)) * (1.0 - *c);
    }
}

/// `sum = keep > 0 ? sum + grad : grad`. `inputs` are keep and each grad, `updates` each sum.
pub(super) fn accumulate(inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let keep = inputs[0].data[0] > 0.0;
    for (sums, gradient) in updates.iter_mut().zip(&inputs[1..]) {
        for (sum, grad) in sums.iter_mut().zip(gradient.data) {
            *sum = if keep { *sum + grad } else { *grad };
        }
    }
}

/// `average += rate * (x - average)`. `inputs` are rate and each x, `updates` each average.
pub(super) fn moving_average(inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let rate = inputs[0].data[0];
    for (averages, x) in updates.iter_mut().zip(&inputs[1..]) {
        for (average, x) in averages.iter_mut().zip(x.data) {
            *average += rate * (x - *average);
        }
    }
}

/// Stores the sum of all squares as the first sum; the others become 0. `inputs` are factor and each x.
pub(super) fn squared_norm(inputs: &[View<'_>], updates: &mut [Vec<f64>]) {
    let factor = inputs[0].data[0];
    let squares = inputs[1..].iter().flat_map(|x| x.data).map(|x| (factor * x).powi(2));
    let total = squares.sum();
    updates[0].fill(0.0);
    updates[0][0] = total;
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
