//! The optimisers, stochastic gradient descent with momentum and AdamW, and the operations that may come between a
//! gradient and its step: accumulation over the parts of a batch, clipping by the global norm, the loss scale of mixed
//! precision, and averages of the weights.
//!
//! The operations on gradients and weights take any number of tensors, so that many small ones share a launch.

use super::{Rule, same};
use crate::graph::{DType, Spec};

/// `g = grad + weight_decay * p; v = momentum * v + g; p -= lr_scale * lr * (nesterov ? g + momentum * v : v)`:
/// PyTorch's SGD, for one parameter or several.
///
/// Inputs: lr `[1]`; if `scaled`, a [`GradientScale`]'s result `[2]`, whose first number multiplies every grad, and
/// which lets nothing be updated if its second number is 0; then each parameter's grad. Updates: for each grad, the
/// parameter p and its momentum buffer v, both shaped as grad.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdMomentum {
    /// Share of the last step's direction that is kept, in `[0, 1)`.
    pub momentum: f32,
    /// Whether to look one step ahead.
    pub nesterov: bool,
    /// Whether the second input scales the gradients.
    pub scaled: bool,
    /// The parameters' own settings, in order.
    pub parameters: Vec<ParameterRates>,
}

/// What the optimiser's steps of two parameters may differ in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterRates {
    /// [`SgdMomentum`]: L2 penalty added to the gradient, the derivative of half the squared norm times this.
    /// [`AdamW`]: what the parameter loses of itself in a step, as a share of the learning rate.
    pub weight_decay: f32,
    /// Multiplies the learning rate: fine-tuned layers may learn more slowly than a new classifier.
    pub lr_scale: f32,
}

impl SgdMomentum {
    /// The plain optimiser of one parameter: the gradient as it is, at the common rate.
    pub fn new(momentum: f32, nesterov: bool, weight_decay: f32) -> Self {
        let parameters = vec![ParameterRates { weight_decay, lr_scale: 1.0 }];
        Self { momentum, nesterov, scaled: false, parameters }
    }

    /// The number of inputs before the gradients.
    pub fn leading(&self) -> usize {
        1 + usize::from(self.scaled)
    }
}

impl Rule for SgdMomentum {
    fn name(&self) -> &'static str {
        "sgd_momentum"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let (leading, count) = (self.leading(), self.parameters.len());
        super::arity(inputs, leading + 3 * count)?;
        same("lr", &inputs[0].shape, &[1])?;
        if self.scaled {
            same("scale", &inputs[1].shape, &[2])?;
        }
        let (gradients, updates) = inputs[leading..].split_at(count);
        for (gradient, updated) in gradients.iter().zip(updates.chunks(2)) {
            same("parameter", &updated[0].shape, &gradient.shape)?;
            same("momentum buffer", &updated[1].shape, &gradient.shape)?;
        }
        Ok(Vec::new())
    }
}

/// `m += (1 - b1) * (grad - m); v += (1 - b2) * (grad^2 - v);
/// p -= lr_scale * lr * (weight_decay * p + (m / c1) / (sqrt(v / c2) + eps))`, with the decays b1 and b2: AdamW
/// (Loshchilov and Hutter 2019, arXiv 1711.05101) as PyTorch computes it, for one parameter or several.
///
/// Inputs: lr `[1]`; corrections `[2]`, the c1 and c2 that [`BiasCorrection`] keeps; if `scaled`, a [`GradientScale`]'s
/// result `[2]` as for [`SgdMomentum`]; then each parameter's grad. Updates: for each grad, the parameter p, the mean m
/// of its gradients and the mean v of their squares, all shaped as grad.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Shares of m and v that are kept, each in `[0, 1)`.
    pub decays: [f32; 2],
    /// Keeps steps finite where all gradients have been 0; above 0.
    pub eps: f32,
    /// Whether the third input scales the gradients.
    pub scaled: bool,
    /// The parameters' own settings, in order.
    pub parameters: Vec<ParameterRates>,
}

impl AdamW {
    /// The number of inputs before the gradients.
    pub fn leading(&self) -> usize {
        2 + usize::from(self.scaled)
    }
}

impl Rule for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let (leading, count) = (self.leading(), self.parameters.len());
        super::arity(inputs, leading + 4 * count)?;
        same("lr", &inputs[0].shape, &[1])?;
        for input in &inputs[1..leading] {
            same("corrections or scale", &input.shape, &[2])?;
        }
        let (gradients, updates) = inputs[leading..].split_at(count);
        for (gradient, updated) in gradients.iter().zip(updates.chunks(3)) {
            for (what, updated) in ["parameter", "mean", "mean of squares"].into_iter().zip(updated) {
                same(what, &updated.shape, &gradient.shape)?;
            }
        }
        Ok(Vec::new())
    }
}

/// `c += (1 - decay) * (1 - c)` for two decays: the weight of all that two moving averages have seen so far, if they
/// started at 0 as c does. An average divided by its c is unbiased.
///
/// Inputs: if `scaled`, a [`GradientScale`]'s result `[2]`, which lets nothing be updated if its second number is 0.
/// Updates: corrections `[2]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BiasCorrection {
    /// The decays of the averages.
    pub decays: [f32; 2],
    /// Whether there is an input.
    pub scaled: bool,
}

impl Rule for BiasCorrection {
    fn name(&self) -> &'static str {
        "bias_correction"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.scaled))?;
        inputs.iter().try_for_each(|input| same("scale or corrections", &input.shape, &[2]))?;
        Ok(Vec::new())
    }
}

/// Checks the tensors of an operation on pairs: a number, then the first of each pair, then the second of each.
fn pairs(inputs: &[&Spec], number: &str, second: &str) -> Result<(), String> {
    let Some((leading, tensors)) = inputs.split_first() else { return super::arity(inputs, 3) };
    same(number, &leading.shape, &[1])?;
    let (first, updated) = tensors.split_at(tensors.len() / 2);
    super::arity(updated, first.len())?;
    first.iter().zip(updated).try_for_each(|(first, updated)| same(second, &updated.shape, &first.shape))
}

/// `sum = keep > 0 ? sum + grad : grad`: the gradients of a batch that is computed in parts.
///
/// Inputs: keep `[1]`, then each grad. Updates: for each grad its sum, of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Accumulate;

impl Rule for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        pairs(inputs, "keep", "sum")?;
        Ok(Vec::new())
    }
}

/// `average += rate * (x - average)`: an exponential moving average, with a decay of `1 - rate`.
///
/// Inputs: rate `[1]`, then each x. Updates: for each x its average, of the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MovingAverage;

impl Rule for MovingAverage {
    fn name(&self) -> &'static str {
        "moving_average"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        pairs(inputs, "rate", "average")?;
        Ok(Vec::new())
    }
}

/// Sums of `(factor * x)^2` over chunks of each x. The root of their total is the global norm of all x.
///
/// Inputs: factor `[1]`, then each x. Updates: sums `[n]`, as many as [`Self::sums`] of all x: those of one x after
/// those of another. The kernel decides how it distributes an x over its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SquaredNorm;

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
        inputs.last().map(|sums| sums.bytes())
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let [factor, gradients @ .., sums] = inputs else { return super::arity(inputs, 3).map(|()| Vec::new()) };
        same("factor", &factor.shape, &[1])?;
        same("sums", &sums.shape, &[gradients.iter().map(|x| Self::sums(x)).sum()])?;
        Ok(Vec::new())
    }
}

/// The factor of all gradients before a step, and whether the gradients are finite. With
/// `norm = sqrt(sum of all sums)`:
/// `scale = factor * min(1, max_norm / (norm + 1e-6))`, as in PyTorch's `clip_grad_norm_`.
///
/// Inputs: sums `[n]`, written by a [`SquaredNorm`]; factor `[1]`, the same as its: 1 / number of parts of the batch,
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
