//! The classes of a map's pixels: their cross-entropy, where some pixels are ignored, and the likeliest ones.

use super::{Half, MAX_LOOP_ITERATIONS, Rule, map, same};
use crate::graph::autodiff::{Backward, Seed};
use crate::graph::{DType, Error, Node, Spec};

/// Mean over the pixels of `-log softmax(logits)[label]`. Pixels with the label `ignored` do not count; if no pixel
/// counts, the mean is 0.
///
/// Inputs: logits `[N, H, W, K]`, labels `[N, H, W]` (u32, each below K or `ignored`).
/// Outputs: the mean `[1]`; the share of pixels whose likeliest class is right `[1]`, the first of equally likely ones;
/// the number of pixels that count `[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PixelCrossEntropy {
    /// The label of pixels that do not count.
    pub ignored: u32,
}

impl PixelCrossEntropy {
    /// The most classes, and the most pixels of a batch, which an f32 counts exactly.
    pub const MOST: [usize; 2] = [8192, 1 << 24];

    /// How many pixels with this many quads of classes one invocation adds up: it may walk twice through all classes of
    /// each.
    pub(crate) fn chunk_pixels(quads: usize) -> usize {
        (MAX_LOOP_ITERATIONS / (2 * quads + 2)).clamp(1, 1024)
    }
}

fn check(inputs: &[&Spec]) -> Result<[usize; 4], String> {
    let [n, h, w, k] = map(inputs[0])?;
    same("labels", &inputs[1].shape, &[n, h, w])?;
    if inputs[1].dtype != DType::U32 {
        return Err("labels are U32".into());
    }
    let [classes, pixels] = PixelCrossEntropy::MOST;
    if k > classes || n * h * w > pixels {
        return Err(format!("takes up to {classes} classes and {pixels} pixels, got {k} and {}", n * h * w));
    }
    // One invocation may add the sums of all chunks.
    let most = MAX_LOOP_ITERATIONS * PixelCrossEntropy::chunk_pixels(inputs[0].quads());
    if n * h * w > most {
        return Err(format!("takes up to {most} pixels of {k} classes, got {}", n * h * w));
    }
    Ok([n, h, w, k])
}

impl Rule for PixelCrossEntropy {
    fn name(&self) -> &'static str {
        "pixel_cross_entropy"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        check(inputs)?;
        Ok(vec![Spec::plain([1], DType::F32); 3])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(Seed { weight, scale }) = back.seed_of(node.outputs[0]) else { return Ok(()) };
        let grad = PixelCrossEntropyGrad { ignored: self.ignored, weight, scaled: scale.is_some() };
        let mut inputs = vec![node.inputs[0], node.inputs[1], node.outputs[2]];
        inputs.extend(scale);
        let dlogits = back.emit(node, grad, &inputs)?[0];
        back.accumulate(node, node.inputs[0], dlogits)
    }
}

/// Gradient of [`PixelCrossEntropy`]'s mean: `weight * (softmax(logits) - onehot(label)) / count` for the pixels that
/// count, else 0; times a scale if there is one.
///
/// Inputs: logits, labels, the number of pixels that count `[1]` and, if `scaled`, the scale `[1]`. Output
/// `[N, H, W, K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelCrossEntropyGrad {
    /// As in the forward node.
    pub ignored: u32,
    /// The factor of this loss in the sum of all losses; 1 for a single loss.
    pub weight: f32,
    /// Whether there is a scale.
    pub scaled: bool,
}

impl Rule for PixelCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "pixel_cross_entropy_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3 + usize::from(self.scaled))?;
        for (number, name) in inputs[2..].iter().zip(["count", "scale"]) {
            same(name, &number.shape, &[1])?;
        }
        Ok(vec![Spec::channels(check(&inputs[..2])?)])
    }
}

/// The likeliest class of each pixel, the first of equally likely ones.
///
/// Input: logits `[N, H, W, K]`. Output `[N, H, W]`, u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argmax;

impl Rule for Argmax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, h, w, _] = map(inputs[0])?;
        Ok(vec![Spec::plain([n, h, w], DType::U32)])
    }
}

/// How often each class is taken for each other one, picture by picture.
///
/// Inputs: predictions and truths `[N, H, W]` (u32). Output `[N, K, K]` (u32): the number of a picture's pixels with a
/// truth (row) and a prediction (column). Pixels do not count whose truth is `ignored` or no class below K, nor those
/// whose prediction is no class below K.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Confusion {
    /// K, up to [`Self::MOST_CLASSES`].
    pub classes: usize,
    /// The truth of pixels that do not count.
    pub ignored: u32,
}

impl Confusion {
    /// The most classes: the counts of one picture fit one shader binding.
    pub const MOST_CLASSES: usize = 4096;
}

impl Rule for Confusion {
    fn name(&self) -> &'static str {
        "confusion"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let shape = &inputs[0].shape;
        let &[n, _, _] = shape.as_slice() else {
            return Err(format!("expected predictions [N, H, W], got {shape:?}"));
        };
        same("truths", &inputs[1].shape, shape)?;
        if inputs.iter().any(|spec| spec.dtype != DType::U32) {
            return Err("predictions and truths are U32".into());
        }
        if !(1..=Self::MOST_CLASSES).contains(&self.classes) {
            return Err(format!("takes 1 to {} classes, got {}", Self::MOST_CLASSES, self.classes));
        }
        Ok(vec![Spec::plain([n, self.classes, self.classes], DType::U32)])
    }
}
