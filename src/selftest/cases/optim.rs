//! Functions that make the optimiser's cases.

use super::Case;
use super::draft::Draft;
use crate::graph::op::{Accumulate, AdaptLossScale, GradientScale, MovingAverage, SgdMomentum, SquaredNorm, Unscale};
use crate::graph::{DType, Spec, TensorId};

fn number(draft: &mut Draft, name: &str, value: f64) -> TensorId {
    draft.input_with(name, Spec::plain([1], DType::F32), |_, _| value)
}

/// K: the handful of operations of an element.
pub(super) fn sgd_momentum(spec: Spec, op: SgdMomentum, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("sgd_momentum {:?}, {op:?}", spec.shape);
    let mut inputs = vec![draft.input("grad", spec.clone()), draft.input("lr", Spec::plain([1], DType::F32))];
    if op.scaled {
        inputs.push(draft.input_with("scale", Spec::plain([2], DType::F32), |i, _| [0.5, 1.0][i]));
    }
    let updates = [draft.parameter("p", spec.clone(), |_, v| v), draft.state("v", spec, |_, v| v)];
    draft.node(op, &inputs, &updates, &[6; 2]);
    draft.case(label)
}

/// K: one addition.
pub(super) fn accumulate(spec: Spec, keep: f32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("accumulate {:?}, keep {keep}", spec.shape);
    let inputs = [draft.input("grad", spec.clone()), number(&mut draft, "keep", keep.into())];
    let sum = draft.state("sum", spec, |_, v| v);
    draft.node(Accumulate, &inputs, &[sum], &[2]);
    draft.case(label)
}

/// K: the handful of operations of an element.
pub(super) fn moving_average(spec: Spec, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("moving_average {:?}", spec.shape);
    let inputs = [draft.input("x", spec.clone()), number(&mut draft, "rate", 0.25)];
    let average = draft.state("average", spec, |_, v| v);
    draft.node(MovingAverage, &inputs, &[average], &[4]);
    draft.case(label)
}

/// The norm of two tensors, whose partial sums are stored one after the other. K: elements.
pub(super) fn squared_norm(spec: Spec, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("squared_norm {:?} and [5]", spec.shape);
    let (elements, count) = (spec.elements(), SquaredNorm::sums(&spec));
    let factor = number(&mut draft, "factor", 0.5);
    let sums = draft.state("sums", Spec::plain([count + 1], DType::F32), |_, _| f64::from(1e30f32));
    let (x, other) = (draft.input("x", spec), draft.input("other", Spec::channels([5])));
    draft.apply(SquaredNorm { first: 1 }, &[x, factor], &[sums]);
    draft.apply(SquaredNorm { first: 0 }, &[other, factor], &[sums]);
    draft.node(GradientScale { max_norm: 1.0 }, &[sums, factor], &[], &[elements + 12; 2]);
    draft.case(label)
}

/// K: the few operations of a number.
pub(super) fn gradient_scale(total: f64, max_norm: f32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let sums = draft.input_with("sums", Spec::plain([1], DType::F32), |_, _| total);
    let inputs = [sums, number(&mut draft, "factor", 0.5)];
    draft.node(GradientScale { max_norm }, &inputs, &[], &[6, 6]);
    draft.case(format!("gradient_scale of {total}, at most {max_norm}"))
}

/// K: a quotient.
pub(super) fn unscale(loss_scale: f64, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = [number(&mut draft, "factor", 0.25), number(&mut draft, "loss scale", loss_scale)];
    draft.node(Unscale, &inputs, &[], &[1]);
    draft.case(format!("unscale by {loss_scale}"))
}

/// K: everything is exact. The count is a quarter of a step higher, so that rounding of the fed value does not change
/// it.
pub(super) fn adapt_loss_scale([loss_scale, steps]: [f64; 2], finite: bool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let clip = [[0.0, 0.0], [0.5, 1.0]][usize::from(finite)];
    let clip = draft.input_with("clip", Spec::plain([2], DType::F32), |i, _| clip[i]);
    let mut state = |name, value| draft.state(name, Spec::plain([1], DType::F32), |_, _| value);
    let updates = [state("loss scale", loss_scale), state("steps", steps + 0.25)];
    draft.node(AdaptLossScale { growth_steps: 3 }, &[clip], &updates, &[1; 2]);
    let gradients = if finite { "finite" } else { "overflowing" };
    draft.case(format!("adapt_loss_scale of {loss_scale} after {steps} steps, {gradients} gradients"))
}
