//! The optimiser: stochastic gradient descent with momentum.

use super::{Rule, same};
use crate::graph::Spec;

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr * (nesterov ? g + momentum * v : v)`: PyTorch's SGD.
///
/// Inputs: grad, lr `[1]`. Updates: parameter p, momentum buffer v, both shaped as grad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdMomentum {
    /// Share of the last step's direction that is kept, in `[0, 1)`.
    pub momentum: f32,
    /// Whether to look one step ahead.
    pub nesterov: bool,
    /// L2 penalty added to the gradient: the derivative of half the squared norm times this.
    pub weight_decay: f32,
}

impl Rule for SgdMomentum {
    fn name(&self) -> &'static str {
        "sgd_momentum"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 4)?;
        same("lr", &inputs[1].shape, &[1])?;
        for (tensor, name) in inputs[2..].iter().zip(["parameter", "momentum buffer"]) {
            same(name, &tensor.shape, &inputs[0].shape)?;
        }
        Ok(Vec::new())
    }
}
