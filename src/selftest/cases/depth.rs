//! Cases of depth and its losses.

use super::Case;
use super::draft::Draft;
use super::ops::label;
use crate::graph::op::{DepthLoss, DepthLossGrad, DepthLossKind, ScaledSigmoid, ScaledSigmoidGrad};
use crate::graph::{DType, Spec, TensorId};

/// Predictions and truths. Of 8 truths `unknown` are 0, negative or infinite.
fn depths(draft: &mut Draft, shape: [usize; 4], unknown: u32) -> Vec<TensorId> {
    let [n, h, w, _] = shape;
    let share = f64::from(unknown) / 4.0 - 1.0;
    let truth = |i: usize, v: f64| if v < share { [0.0, -1.0, f64::INFINITY][i % 3] } else { 2.5 + v };
    vec![
        draft.input_with("predictions", Spec::channels(shape), |_, v| 2.0 + 1.5 * v),
        draft.input_with("truths", Spec::plain([n, h, w], DType::F32), truth),
    ]
}

fn zero(all: bool) -> &'static str {
    if all { ", all zero" } else { "" }
}

/// K: a logarithm, and the pixels that one invocation or one team adds up in a row.
pub(super) fn depth_loss([n, h, w]: [usize; 3], kind: DepthLossKind, unknown: u32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = depths(&mut draft, [n, h, w, 1], unknown);
    let k = 64 + n * h * w;
    draft.node(DepthLoss { kind }, &inputs, &[], &[k, k]);
    draft.differentiable(&inputs[..1]);
    draft.case(format!("depth_loss {n}x{h}x{w}, {kind:?}, {unknown} of 8 unknown{}", zero(unknown == 8)))
}

/// K: a logarithm, a root and the few operations of an element. `statistics`: number, mean and variance.
pub(super) fn depth_loss_grad([n, h, w]: [usize; 3], op: DepthLossGrad, statistics: [f64; 3], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = depths(&mut draft, [n, h, w, 1], 2);
    inputs.push(draft.input_with("statistics", Spec::plain([3], DType::F32), |i, _| statistics[i]));
    inputs.extend(op.scaled.then(|| draft.input_with("scale", Spec::plain([1], DType::F32), |_, _| 1024.0)));
    draft.node(op, &inputs, &[], &[64]);
    let forgiven = matches!(op.kind, DepthLossKind::SiLog { focus: 1.0 });
    draft.case(format!("{op:?} of {n}x{h}x{w}, {statistics:?}{}", zero(forgiven && statistics[2] == 0.0)))
}

/// K: an exponential.
pub(super) fn scaled_sigmoid(shape: [usize; 4], op: ScaledSigmoid, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input_with("x", Spec::channels(shape), |_, v| 4.0 * v);
    draft.node(op, &[x], &[], &[24]);
    draft.differentiable(&[x]);
    draft.case(format!("{op:?} of {}", label(shape)))
}

/// K: an exponential.
pub(super) fn scaled_sigmoid_grad(shape: [usize; 4], forward: ScaledSigmoid, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input_with("x", Spec::channels(shape), |_, v| 4.0 * v);
    let inputs = [x, draft.input("dy", Spec::channels(shape))];
    draft.node(ScaledSigmoidGrad { forward }, &inputs, &[], &[24]);
    draft.case(format!("scaled_sigmoid_grad {}, {forward:?}", label(shape)))
}

/// All kinds of losses.
pub(super) const KINDS: [DepthLossKind; 3] =
    [DepthLossKind::ScaleInvariant { lambda: 0.5 }, DepthLossKind::SiLog { focus: 0.85 }, DepthLossKind::SigLoss];

/// One pixel, a few, several chunks of them; most or all unknown; a root of 0.
pub(super) fn standard() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for (size, unknown) in [([1, 1, 1], 0), ([2, 5, 7], 3), ([1, 60, 71], 6), ([3, 4, 4], 8)] {
            cases.push(depth_loss(size, kind, unknown, 0));
        }
        for (weight, scaled, statistics) in [(1.0, false, [26.0, 0.25, 0.125]), (0.5, true, [1.0, -0.75, 0.0])] {
            let op = DepthLossGrad { kind, weight, scaled };
            cases.push(depth_loss_grad([2, 5, 7], op, statistics, 0));
        }
    }
    let forgiving = DepthLossGrad { kind: DepthLossKind::SiLog { focus: 1.0 }, weight: 1.0, scaled: false };
    cases.push(depth_loss_grad([1, 3, 4], forgiving, [9.0, 0.5, 0.0], 0));
    for (shape, scale, floor) in [([1, 1, 1, 1], 1.0, 0.0), ([2, 5, 3, 1], 10.0, 0.25), ([1, 9, 8, 7], 0.5, 1e-4)] {
        cases.push(scaled_sigmoid(shape, ScaledSigmoid { scale, floor }, 0));
        cases.push(scaled_sigmoid_grad(shape, ScaledSigmoid { scale, floor }, 0));
    }
    cases
}
