//! Batch normalisation: training forward and backward, inference, and folding into a convolution.

use super::{Activation, Half, Op, Rule, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Layout, Node, Spec};

/// Normalisation by the batch's own statistics: `y = activation((x - mean) / sqrt(var + eps) * gamma + beta)`, mean and
/// biased variance per channel over `N * H * W`.
///
/// Inputs: x `[N, H, W, C]`, gamma `[C]`, beta `[C]`. Updates: running mean, running variance, by
/// `new = (1 - momentum) * old + momentum * batch`, with the unbiased variance, as PyTorch does.
/// Outputs: y, batch mean `[C]`, `1 / sqrt(var + eps)` `[C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Weight of the new batch in the running statistics (PyTorch's convention; TF's momentum 0 is 1 here).
    pub momentum: f32,
    /// Applied to the result.
    pub activation: Activation,
}

/// Checks a map followed by vectors of its channels.
fn map_and_vectors(inputs: &[&Spec], names: &[&str]) -> Result<[usize; 4], String> {
    vectors_of(inputs, names)?;
    map(inputs[0])
}

/// Checks that vectors are as long as the last dimension of the tensor before them.
fn vectors_of(inputs: &[&Spec], names: &[&str]) -> Result<(), String> {
    super::arity(inputs, 1 + names.len())?;
    let channels = [inputs[0].last()];
    inputs[1..].iter().zip(names).try_for_each(|(vector, name)| same(name, &vector.shape, &channels))
}

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    /// Repeats the norm with the statistics that it has already computed, so that the running statistics move only
    /// once.
    fn repeated(&self) -> Option<Op> {
        Some(Normalize { activation: self.activation }.into())
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let shape = map_and_vectors(inputs, &["gamma", "beta", "running mean", "running variance"])?;
        if inputs[0].rows() < 2 {
            return Err("statistics need at least 2 values per channel; use a larger batch or resolution".into());
        }
        Ok(vec![Spec::channels(shape), Spec::channels([shape[3]]), Spec::channels([shape[3]])])
    }

    /// x is read once for the statistics and once for the normalisation. With the writing of y, that is three passes
    /// over the map.
    fn reread_bytes(&self, inputs: &[&Spec]) -> u64 {
        inputs[0].bytes()
    }

    fn gatherable_bytes(&self, inputs: &[&Spec]) -> u64 {
        inputs[0].bytes()
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let (x, gamma, beta) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let inputs = [x, dy, gamma, beta, node.outputs[1], node.outputs[2]];
        let grad = BatchNormGrad { activation: self.activation, statistics: Statistics::Batch };
        let gradients = back.emit(node, grad, &inputs)?;
        for (tensor, gradient) in [x, gamma, beta].into_iter().zip(gradients) {
            back.accumulate(node, tensor, gradient)?;
        }
        Ok(())
    }
}

/// The statistics that a map was normalised by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistics {
    /// Those of the map itself, so that they depend on it.
    Batch,
    /// Running statistics, which are constants. The variance is given, to which this epsilon is added.
    Running {
        /// Added to the variance.
        eps: f32,
        /// Whether gamma and beta learn.
        learns: bool,
    },
}

/// Gradient of [`BatchNorm`] and of [`BatchNormInference`]. With `d = dy * activation'`, and `xhat` the normalised map:
/// `dbeta = sum d`, `dgamma = sum d * xhat`, `dx = gamma / sqrt(var + eps) * (d - dbeta / M - xhat * dgamma / M)`,
/// `M = N * H * W`; with running statistics `dx = gamma / sqrt(var + eps) * d`.
///
/// Inputs: x, dy, gamma, beta, mean, and `1 / sqrt(var + eps)`, or the variance if the statistics are running ones.
/// Outputs: dx; dgamma, dbeta if these learn.
/// The activation's derivative is recomputed from x, so its input is never stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormGrad {
    /// Activation of the forward node.
    pub activation: Activation,
    /// Statistics of the forward node.
    pub statistics: Statistics,
}

impl BatchNormGrad {
    /// Whether gamma and beta learn.
    pub fn learns(&self) -> bool {
        !matches!(self.statistics, Statistics::Running { learns: false, .. })
    }
}

impl Rule for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 6)?;
        same("dy", &inputs[1].shape, &inputs[0].shape)?;
        let vectors = [inputs[0], inputs[2], inputs[3], inputs[4], inputs[5]];
        let deviation = match self.statistics {
            Statistics::Batch => "inverse deviation",
            Statistics::Running { .. } => "variance",
        };
        let shape = map_and_vectors(&vectors, &["gamma", "beta", "mean", deviation])?;
        let mut outputs = vec![Spec::channels(shape)];
        if self.learns() {
            outputs.extend([Spec::channels([shape[3]]), Spec::channels([shape[3]])]);
        }
        Ok(outputs)
    }

    /// x and dy are read once for the two sums and once for dx. With the writing of dx, that is five passes over the
    /// map.
    fn reread_bytes(&self, inputs: &[&Spec]) -> u64 {
        if self.learns() { inputs[0].bytes() + inputs[1].bytes() } else { 0 }
    }
}

/// Normalisation by statistics that a [`BatchNorm`] has already computed:
/// `y = activation((x - mean) * inverse_deviation * gamma + beta)`. The result equals that node's result for the same x
/// bit for bit.
///
/// Inputs: x `[N, H, W, C]`, gamma, beta, batch mean, `1 / sqrt(var + eps)`, each `[C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Applied to the result.
    pub activation: Activation,
}

impl Rule for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let shape = map_and_vectors(inputs, &["gamma", "beta", "mean", "inverse deviation"])?;
        Ok(vec![Spec::channels(shape)])
    }
}

/// Normalisation by the running statistics: `y = activation((x - mean) / sqrt(var + eps) * gamma + beta)`.
///
/// Inputs: x `[N, H, W, C]`, gamma, beta, mean, variance, each `[C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormInference {
    /// Added to the variance.
    pub eps: f32,
    /// Applied to the result.
    pub activation: Activation,
}

impl Rule for BatchNormInference {
    fn name(&self) -> &'static str {
        "batch_norm_inference"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let shape = map_and_vectors(inputs, &["gamma", "beta", "mean", "variance"])?;
        Ok(vec![Spec::channels(shape)])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let [x, gamma, beta, mean, variance] = [0, 1, 2, 3, 4].map(|i| node.inputs[i]);
        let learns = back.needs(gamma) || back.needs(beta);
        let statistics = Statistics::Running { eps: self.eps, learns };
        let grad = BatchNormGrad { activation: self.activation, statistics };
        let gradients = back.emit(node, grad, &[x, dy, gamma, beta, mean, variance])?;
        for (tensor, gradient) in [x, gamma, beta].into_iter().zip(gradients) {
            back.accumulate(node, tensor, gradient)?;
        }
        Ok(())
    }
}

/// Folds a [`BatchNormInference`] into the convolution before it: `w' = w * s`, `b' = beta - mean * s`,
/// `s = gamma / sqrt(var + eps)` per output channel.
///
/// Inputs: w `[KH, KW, Ci, Co]`, or `[KH, KW, Co]` for a depthwise convolution; gamma, beta, mean, variance, each
/// `[Co]`.
/// Outputs: w', b' `[Co]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldBatchNorm {
    /// Added to the variance.
    pub eps: f32,
}

impl Rule for FoldBatchNorm {
    fn name(&self) -> &'static str {
        "fold_batch_norm"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        vectors_of(inputs, &["gamma", "beta", "mean", "variance"])?;
        if !matches!(inputs[0].layout, Layout::Weights | Layout::Depthwise) {
            return Err("only the weights of a convolution can be scaled".into());
        }
        Ok(vec![inputs[0].clone(), Spec::channels([inputs[0].last()])])
    }
}
