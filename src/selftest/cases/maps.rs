//! Functions that make cases of operations on maps that resize and join them, and of losses of every pixel.

use super::Case;
use super::draft::Draft;
use super::ops::label;
use crate::graph::TensorId;
use crate::graph::op::{
    Argmax, Axis, Concat, PixelCrossEntropy, PixelCrossEntropyGrad, Resize, ResizeGrad, SliceChannels,
};
use crate::graph::{DType, Spec};

/// K: the weights of two axes.
pub(super) fn resize(shape: [usize; 4], op: Resize, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(op, &[x], &[], &[6]);
    draft.differentiable(&[x]);
    draft.case(format!("resize {} to {:?}, {:?}", label(shape), op.size, op.filter))
}

/// K: the pixels that were made from one, and the addend. `out`: pixels of the axis afterwards.
pub(super) fn resize_grad(shape: [usize; 4], out: usize, op: ResizeGrad, seed: u32) -> Case {
    let (mut draft, mut resized) = (Draft::new(seed), shape);
    resized[1 + usize::from(op.axis == Axis::Width)] = out;
    let mut inputs = vec![draft.input("dy", Spec::channels(resized))];
    if op.addend {
        inputs.push(draft.input("addend", Spec::channels(shape)));
    }
    draft.node(op, &inputs, &[], &[2 * out.div_ceil(op.pixels) + 4]);
    draft.case(format!("resize_grad of {} from {out}, {op:?}", label(shape)))
}

/// `shape` is that of the last map; `before` are the channels of the maps before it. K: numbers are copied.
pub(super) fn concat(shape: [usize; 4], before: &[usize], seed: u32) -> Case {
    let (mut draft, [n, h, w, last]) = (Draft::new(seed), shape);
    let channels = before.iter().copied().chain([last]).enumerate();
    let maps: Vec<TensorId> =
        channels.map(|(i, c)| draft.input(&format!("x {i}"), Spec::channels([n, h, w, c]))).collect();
    draft.node(Concat, &maps, &[], &[1]);
    draft.differentiable(&maps);
    draft.case(format!("concat of {before:?} channels and {}", label(shape)))
}

/// K: numbers are copied.
pub(super) fn slice_channels(shape: [usize; 4], op: SliceChannels, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(op, &[x], &[], &[1]);
    draft.case(format!("{op:?} of {}", label(shape)))
}

/// The label of pixels that do not count.
const IGNORED: u32 = 255;

/// Logits within `[-magnitude, magnitude)` and labels, `ignored_share` of 8 of which do not count.
fn labelled(draft: &mut Draft, shape: [usize; 4], magnitude: f64, ignored_share: u32) -> [TensorId; 2] {
    let [n, h, w, classes] = shape;
    let label = |bits: u32| if bits >> 29 < ignored_share { IGNORED } else { bits % classes as u32 };
    [
        draft.input_with("logits", Spec::channels(shape), |_, v| magnitude * v),
        draft.integers("labels", vec![n, h, w], |_, bits| label(bits)),
    ]
}

/// K: classes, and the pixels that one invocation or one team adds up in a row.
pub(super) fn pixel_cross_entropy(shape: [usize; 4], magnitude: f64, ignored_share: u32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = labelled(&mut draft, shape, magnitude, ignored_share);
    let pixels: usize = shape[..3].iter().product();
    draft.node(PixelCrossEntropy { ignored: IGNORED }, &inputs, &[], &[shape[3] + 16 + pixels, pixels, 1]);
    draft.differentiable(&inputs[..1]);
    draft.case(format!("pixel_cross_entropy {} within {magnitude}, {ignored_share} of 8 ignored", label(shape)))
}

/// K: classes, and an exponential.
pub(super) fn pixel_cross_entropy_grad(shape: [usize; 4], op: PixelCrossEntropyGrad, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = labelled(&mut draft, shape, 4.0, 2).to_vec();
    let number = || Spec::plain([1], DType::F32);
    inputs.push(draft.input_with("count", number(), |_, _| 100.0));
    inputs.extend(op.scaled.then(|| draft.input_with("scale", number(), |_, _| 1024.0)));
    draft.node(op, &inputs, &[], &[shape[3] + 20]);
    draft.case(format!("pixel_cross_entropy_grad {}, weight {}, scaled {}", label(shape), op.weight, op.scaled))
}

/// K: exact. Most logits are 0, so that some pixels have equally likely classes.
pub(super) fn argmax(shape: [usize; 4], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let logits = draft.input_with("logits", Spec::channels(shape), |_, v| (v - 0.75).max(0.0));
    draft.node(Argmax, &[logits], &[], &[1]);
    draft.case(format!("argmax {}", label(shape)))
}
