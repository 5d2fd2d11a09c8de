//! The optimiser: stochastic gradient descent with momentum, and the operations that may come between a gradient and
//! its step: accumulation over the parts of a batch, clipping by the global norm, the loss scale of mixed precision,
//! and averages of the weights.

use super::{Rule, same};
use crate::graph::{DType, Spec};

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr_scale * lr * (nesterov ? g + momentum * v : v)`:
/// PyTorch's SGD.
///
/// Inputs: grad, lr `[1]`, and, if `scaled`, a [`GradientScale`]'s result `[2]`: its first number multiplies grad, and
/// nothing is updated if its second number is 0. Updates: parameter p, momentum buffer v, both shaped as grad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdMomentum {
    /// Share of the last step's direction that is kept, in `[0, 1)`.
    pub momentum: f32,
    /// Whether to look one step ahead.
    pub nesterov: bool,
    /// L2 penalty added to the gradient: the derivative of half the squared norm times this.
    pub weight_decay: f32,
    /// Multiplies the learning rate: fine-tuned layers may learn more slowly than a new classifier.
    pub lr_scale: f32,
    /// Whether a third input scales the gradient.
    pub scaled: bool,
}

impl SgdMomentum {
    /// The plain optimiser: every gradient as it is, every layer at the same rate.
    pub fn new(momentum: f32, nesterov: bool, weight_decay: f32) -> Self {
        Self { momentum, nesterov, weight_decay, lr_scale: 1.0, scaled: false }
    }
}

impl Rule for SgdMomentum {
    fn name(&self) -> &'static str {
        "sgd_momentum"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 4 + usize::from(self.scaled))?;
        same("lr", &inputs[1].shape, &[1])?;
        if self.scaled {
            same("scale", &inputs[2].shape, &[2])?;
        }
        for (tensor, name) in inputs[2 + usize::from(self.scaled)..].iter().zip(["parameter", "momentum buffer"]) {
            same(name, &tensor.shape, &inputs[0].shape)?;
        }
        Ok(Vec::new())
    }
}

/// `sum = keep > 0 ? sum + grad : grad`: the gradient of a batch that is computed in parts.
///
/// Inputs: grad, keep `[1]`. Updates: sum, shaped as grad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accumulate;

impl Rule for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3)?;
        same("keep", &inputs[1].shape, &[1])?;
        same("sum", &inputs[2].shape, &inputs[0].shape)?;
        Ok(Vec::new())
    }
}

/// `average += rate * (x - average)`: an exponential moving average, with a decay of `1 - rate`.
///
/// Inputs: x, rate `[1]`. Updates: average, shaped as x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MovingAverage;

impl Rule for MovingAverage {
    fn name(&self) -> &'static str {
        "moving_average"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3)?;
        same("rate", &inputs[1].shape, &[1])?;
        same("average", &inputs[2].shape, &inputs[0].shape)?;
        Ok(Vec::new())
    }
}

/// Sums of `(factor * x)^2` over chunks of x, each stored at its own index among the sums of all gradients. The root of
/// their total is the global norm.
///
/// Inputs: x, factor `[1]`. Updates: sums `[n]`, of which the [`Self::sums`] from index `first` on are written. The
/// kernel decides how it distributes x over these sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SquaredNorm {
    /// Index of this tensor's first sum.
    pub first: usize,
}

impl SquaredNorm {
    /// Quads of a chunk, each summed by one workgroup.
    pub const CHUNK: usize = 4096;

    /// How many sums a tensor has.
    pub fn sums(x: &Spec) -> usize {
        ((x.bytes() / x.quad_bytes()) as usize).div_ceil(Self::CHUNK)
    }
}

impl Rule for SquaredNorm {
    fn name(&self) -> &'static str {
        "squared_norm"
    }

    fn updated_bytes(&self, inputs: &[&Spec]) -> Option<u64> {
        Some(4 * Self::sums(inputs[0]) as u64)
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3)?;
        same("factor", &inputs[1].shape, &[1])?;
        let (sums, end) = (&inputs[2].shape, self.first + Self::sums(inputs[0]));
        if sums.len() != 1 || sums[0] < end {
            return Err(format!("sums must have shape [n] with at least {end} numbers, got {sums:?}"));
        }
        Ok(Vec::new())
    }
}

/// The factor of all gradients before a step, and whether the gradients are finite. With
/// `norm = sqrt(sum of all sums)`:
/// `scale = factor * min(1, max_norm / (norm + 1e-6))`, as in PyTorch's `clip_grad_norm_`.
///
/// Inputs: sums `[n]`, written by [`SquaredNorm`]s; factor `[1]`, the same as theirs: 1 / number of parts of the batch,
/// divided by the loss scale if there is one.
/// Outputs: `[2]`, which holds the scale, then 1, or 0 if the gradients contain a NaN or infinity and the step must be
/// skipped; the norm `[1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientScale {
    /// The largest norm that is not scaled down; infinity for no limit.
    pub max_norm: f32,
}

impl Rule for GradientScale {
    fn name(&self) -> &'static str {
        "gradient_scale"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        if inputs[0].shape.len() != 1 {
            return Err(format!("sums must have shape [n], got {:?}", inputs[0].shape));
        }
        same("factor", &inputs[1].shape, &[1])?;
        Ok(vec![Spec::plain([2], DType::F32), Spec::plain([1], DType::F32)])
    }
}

/// `factor / loss_scale`: combines the removal of the loss scale with the factor that multiplies the gradients anyway.
///
/// Inputs: factor `[1]`, loss scale `[1]`. Output `[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unscale;

impl Rule for Unscale {
    fn name(&self) -> &'static str {
        "unscale"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        same("factor", &inputs[0].shape, &[1])?;
        same("loss scale", &inputs[1].shape, &[1])?;
        Ok(vec![Spec::plain([1], DType::F32)])
    }
}

/// The loss scale of the next step, as in PyTorch's `GradScaler`: halved if gradients have overflowed, doubled after
/// `growth_steps` steps without an overflow, otherwise unchanged; always within [`Self::RANGE`].
///
/// Inputs: a [`GradientScale`]'s first result `[2]`. Updates: the scale `[1]`, the steps since it changed or overflowed
/// `[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptLossScale {
    /// Steps without an overflow after which the scale is doubled; below 2^24, up to which f32 holds every integer.
    pub growth_steps: u32,
}

impl AdaptLossScale {
    /// Smallest and largest scale. A scale below 1 is no remedy for gradients that overflow unscaled. A scale of 2^24
    /// lifts gradients down to 2^-48 to f16's smallest number, 2^-24.
    pub const RANGE: [f32; 2] = [1.0, 16_777_216.0];
}

impl Rule for AdaptLossScale {
    fn name(&self) -> &'static str {
        "adapt_loss_scale"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3)?;
        same("scale", &inputs[0].shape, &[2])?;
        same("loss scale", &inputs[1].shape, &[1])?;
        same("steps", &inputs[2].shape, &[1])?;
        Ok(Vec::new())
    }
}
