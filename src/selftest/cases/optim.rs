//! Functions that make the optimiser's cases.

use super::Case;
use super::draft::Draft;
use crate::graph::op::{
    Accumulate, AdaptLossScale, GradientScale, MovingAverage, ParameterRates, SgdMomentum, SquaredNorm, Unscale,
};
use crate::graph::{DType, Op, Spec, TensorId};

fn number(draft: &mut Draft, name: &str, value: f64) -> TensorId {
    draft.input_with(name, Spec::plain([1], DType::F32), |_, _| value)
}

/// Describes tensors by their shapes, or by their number and two of the shapes.
fn describe(specs: &[Spec]) -> String {
    let shapes: Vec<String> = specs.iter().map(|spec| format!("{:?}", spec.shape)).collect();
    match &shapes[..] {
        [first, .., last] => format!("{} tensors from {first} to {last}", shapes.len()),
        _ => shapes.concat(),
    }
}

/// The step of parameters, of which every second has other rates than `sgd` names. K: the handful of operations of an
/// element.
pub(super) fn sgd_momentum(specs: &[Spec], sgd: SgdMomentum, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("sgd_momentum of {}, {sgd:?}", describe(specs));
    let mut inputs = vec![draft.input("lr", Spec::plain([1], DType::F32))];
    if sgd.scaled {
        inputs.push(draft.input_with("scale", Spec::plain([2], DType::F32), |i, _| [0.5, 1.0][i]));
    }
    let mut updates = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        inputs.push(draft.input(&format!("grad {i}"), spec.clone()));
        updates.push(draft.parameter(&format!("p {i}"), spec.clone(), |_, v| v));
        updates.push(draft.state(&format!("v {i}"), spec.clone(), |_, v| v));
    }
    let rates = [sgd.parameters[0], ParameterRates { weight_decay: 0.25, lr_scale: 0.5 }];
    let parameters = (0..specs.len()).map(|i| rates[i % 2]).collect();
    let k = vec![6; updates.len()];
    draft.node(SgdMomentum { parameters, ..sgd }, &inputs, &updates, &k);
    draft.case(label)
}

/// K: one addition.
pub(super) fn accumulate(specs: &[Spec], keep: f32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let keeps = number(&mut draft, "keep", keep.into());
    in_place(draft, Accumulate, keeps, specs, 2, format!("accumulate, keep {keep}, of {}", describe(specs)))
}

/// K: the handful of operations of an element.
pub(super) fn moving_average(specs: &[Spec], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let rate = number(&mut draft, "rate", 0.25);
    in_place(draft, MovingAverage, rate, specs, 4, format!("moving_average of {}", describe(specs)))
}

/// An operation that updates a tensor for each input after the first.
fn in_place(mut draft: Draft, op: impl Into<Op>, leading: TensorId, specs: &[Spec], k: usize, label: String) -> Case {
    let (mut inputs, mut updates) = (vec![leading], Vec::new());
    for (i, spec) in specs.iter().enumerate() {
        inputs.push(draft.input(&format!("x {i}"), spec.clone()));
        updates.push(draft.state(&format!("updated {i}"), spec.clone(), |_, v| v));
    }
    draft.node(op, &inputs, &updates, &vec![k; specs.len()]);
    draft.case(label)
}

/// The norm of tensors, whose partial sums are stored one after the other. K: elements.
pub(super) fn squared_norm(specs: &[Spec], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let count: usize = specs.iter().map(SquaredNorm::sums).sum();
    let factor = number(&mut draft, "factor", 0.5);
    let sums = draft.state("sums", Spec::plain([count], DType::F32), |_, _| f64::from(1e30f32));
    let mut inputs = vec![factor];
    inputs.extend((0..).zip(specs).map(|(i, spec): (usize, _)| draft.input(&format!("x {i}"), spec.clone())));
    draft.apply(SquaredNorm, &inputs, &[sums]);
    let elements: usize = specs.iter().map(Spec::elements).sum();
    draft.node(GradientScale { max_norm: 1.0 }, &[sums, factor], &[], &[elements + 7; 2]);
    draft.case(format!("squared_norm of {}", describe(specs)))
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
