//! Functions that make cases of operations on maps that resize and join them, and of losses of every pixel.

use super::Case;
use super::draft::Draft;
use super::ops::label;
use crate::graph::TensorId;
use crate::graph::op::{
    Argmax, Axis, Concat, Confusion, PixelCrossEntropy, PixelCrossEntropyGrad, Resize, ResizeGrad, SliceChannels,
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
    draft.case(format!("pixel_cross_entropy {} within {magnitude}, {}", label(shape), ignored(ignored_share)))
}

fn ignored(share: u32) -> String {
    format!("{share} of 8 ignored{}", if share == 8 { ", all zero" } else { "" })
}

/// K: classes, and an exponential.
pub(super) fn pixel_cross_entropy_grad(
    shape: [usize; 4],
    op: PixelCrossEntropyGrad,
    ignored_share: u32,
    seed: u32,
) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = labelled(&mut draft, shape, 4.0, ignored_share).to_vec();
    let number = || Spec::plain([1], DType::F32);
    inputs.push(draft.input_with("count", number(), |_, _| 100.0));
    inputs.extend(op.scaled.then(|| draft.input_with("scale", number(), |_, _| 1024.0)));
    draft.node(op, &inputs, &[], &[shape[3] + 20]);
    let (of, share) = (label(shape), ignored(ignored_share));
    draft.case(format!("pixel_cross_entropy_grad {of}, weight {}, scaled {}, {share}", op.weight, op.scaled))
}

/// K: exact. Most logits are 0, so that some pixels have equally likely classes.
pub(super) fn argmax(shape: [usize; 4], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let logits = draft.input_with("logits", Spec::channels(shape), |_, v| (v - 0.75).max(0.0));
    draft.node(Argmax, &[logits], &[], &[1]);
    draft.case(format!("argmax {}", label(shape)))
}

/// K: exact. One of 8 truths is ignored, and every 13th truth and 17th prediction is no class.
pub(super) fn confusion([n, h, w]: [usize; 3], classes: usize, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let class = |bits: u32| bits % classes as u32;
    let truth = |i: usize, bits: u32| match bits >> 29 {
        0 => 1,
        _ if i % 13 == 12 => classes as u32,
        _ => class(bits),
    };
    let prediction = |i: usize, bits: u32| if i % 17 == 16 { u32::MAX } else { class(bits) };
    let inputs =
        [draft.integers("predictions", vec![n, h, w], prediction), draft.integers("truths", vec![n, h, w], truth)];
    draft.node(Confusion { classes, ignored: 1 }, &inputs, &[], &[1]);
    draft.case(format!("confusion {n}x{h}x{w}, {classes} classes"))
}

/// Losses, classes and counts of pixels: one pixel, several chunks of pixels, nearly all and all pixels ignored;
/// channels that are no whole quads. Counts of few classes, of many, of more than a workgroup counts.
pub(super) fn pixels() -> Vec<Case> {
    let mut cases = [[2, 3, 5, 21], [1, 40, 61, 7], [1, 3, 4, 1000]].map(|shape| argmax(shape, 0)).to_vec();
    for (shape, magnitude, ignored) in [
        ([1, 1, 1, 2], 1.0, 0),
        ([2, 3, 5, 21], 4.0, 2),
        ([1, 4, 4, 6], 1.0, 7),
        ([1, 40, 61, 7], 4.0, 3),
        ([1, 3, 4, 1000], 1.0, 1),
        ([1, 2, 2, 5], 100.0, 1),
        ([2, 3, 3, 5], 4.0, 8),
    ] {
        cases.push(pixel_cross_entropy(shape, magnitude, ignored, 0));
        for (weight, scaled) in [(1.0, false), (0.5, true)] {
            let op = PixelCrossEntropyGrad { ignored: 255, weight, scaled };
            cases.push(pixel_cross_entropy_grad(shape, op, ignored, 0));
        }
    }
    for (size, classes) in [([1, 4, 5], 3), ([3, 70, 90], 5), ([2, 31, 7], 45), ([2, 31, 7], 46), ([1, 20, 20], 150)] {
        cases.push(confusion(size, classes, 0));
    }
    cases
}
