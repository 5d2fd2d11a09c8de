//! Activation functions and their derivatives.

use crate::graph::Activation;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The activation of `x`.
pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
    }
}

/// The derivative at `x`, the value before the activation. ReLU's at 0 is 0, as in PyTorch.
pub(super) fn derivative(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(x > 0.0),
        Activation::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
        Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
    }
}

/// The derivative where the activation's result is `y`.
pub(super) fn derivative_from_result(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(y > 0.0),
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Silu => unreachable!("ActivationGrad reads SiLU's argument"),
    }
}
