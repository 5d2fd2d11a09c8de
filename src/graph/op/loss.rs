//! Softmax cross-entropy with label smoothing.

use super::{Rule, features, same};
use crate::graph::autodiff::{Backward, Seed};
use crate::graph::{DType, Error, Node, Spec, TensorId};

/// Mean over the batch of `-sum over k of t[k] * log softmax(logits)[k]`, with the target
/// `t = (1 - label_smoothing) * onehot(label) + label_smoothing / K`. If each image is `mixed` from two,
/// `share * onehot(label) + (1 - share) * onehot(other)` takes the place of `onehot(label)`.
///
/// Inputs: logits `[N, K]`, labels `[N]` (u32, each below K), and, if `mixed`, the second labels `[N]` (u32, each below
/// K) and shares `[N]` (f32).
/// Outputs: the mean `[1]`; top-1 accuracy `[1]`, the share of rows whose likeliest class is right; each row's loss and
/// top-1 `[N, 2]`. The first of equally likely classes counts. A mixed image counts by the share of the image that
/// belongs to its likeliest class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// Share of the target spread evenly over all classes, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Whether each image has two labels and a share.
    pub mixed: bool,
}

fn check(inputs: &[&Spec], mixed: bool) -> Result<[usize; 2], String> {
    super::arity(inputs, if mixed { 4 } else { 2 })?;
    let shape = features(inputs[0])?;
    for (input, (name, dtype)) in
        inputs[1..].iter().zip([("labels", DType::U32), ("others", DType::U32), ("shares", DType::F32)])
    {
        same(name, &input.shape, &[shape[0]])?;
        if input.dtype != dtype {
            return Err(format!("{name} are {dtype:?}"));
        }
    }
    Ok(shape)
}

impl Rule for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let [n, _] = check(inputs, self.mixed)?;
        Ok([vec![1], vec![1], vec![n, 2]].map(|shape| Spec::plain(shape, DType::F32)).into())
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(Seed { weight, scale }) = back.seed_of(node.outputs[0]) else { return Ok(()) };
        let Self { label_smoothing, mixed } = *self;
        let grad = SoftmaxCrossEntropyGrad { label_smoothing, mixed, weight, scaled: scale.is_some() };
        let inputs: Vec<TensorId> = node.inputs.iter().copied().chain(scale).collect();
        let dlogits = back.emit(node, grad, &inputs)?[0];
        back.accumulate(node, node.inputs[0], dlogits)
    }
}

/// Gradient of [`SoftmaxCrossEntropy`]'s mean: `weight * (softmax(logits) - t) / N`, times a scale if there is one.
///
/// Inputs: those of the forward node and, if `scaled`, the scale `[1]`. Output `[N, K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCrossEntropyGrad {
    /// As in the forward node.
    pub label_smoothing: f32,
    /// As in the forward node.
    pub mixed: bool,
    /// The factor of this loss in the sum of all losses; 1 for a single loss.
    pub weight: f32,
    /// Whether there is a scale.
    pub scaled: bool,
}

impl Rule for SoftmaxCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let (forward, scale) = inputs.split_at(inputs.len().saturating_sub(usize::from(self.scaled)));
        for scale in scale {
            same("scale", &scale.shape, &[1])?;
        }
        Ok(vec![Spec::channels(check(forward, self.mixed)?)])
    }
}
