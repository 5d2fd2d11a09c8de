//! Stochastic gradient descent with momentum.

use super::View;
use crate::graph::op::SgdMomentum;

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr * (nesterov ? g + momentum * v : v)`.
/// `updates` are p and v.
pub(super) fn sgd_momentum(op: &SgdMomentum, grad: View<'_>, lr: View<'_>, updates: &mut [Vec<f64>]) {
    let [parameter, velocity] = updates else { unreachable!("the shape rule asks for two updated tensors") };
    let (momentum, weight_decay) = (f64::from(op.momentum), f64::from(op.weight_decay));
    for ((p, v), grad) in parameter.iter_mut().zip(velocity).zip(grad.data) {
        let g = grad + weight_decay * *p;
        *v = momentum * *v + g;
        *p -= lr.data[0] * if op.nesterov { g + momentum * *v } else { *v };
    }
}
