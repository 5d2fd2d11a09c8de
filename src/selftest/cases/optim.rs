//! Functions that make the optimiser's cases.

use super::Case;
use super::draft::Draft;
use crate::graph::op::{
    Accumulate, AdamW, AdaptLossScale, BiasCorrection, GradientScale, MovingAverage, ParameterRates, SgdMomentum,
    SquaredNorm, Unscale,
};
use crate::graph::{DType, Op, Spec, TensorId};

/// Every branch of every kernel.
pub(super) fn cases() -> Vec<Case> {
    // More tensors than a launch can bind, some of which are cut into chunks.
    let many: Vec<Spec> =
        (0..30).map(|i| if i % 9 == 4 { Spec::weights([3, 3, 40, 70]) } else { Spec::channels([1 + 3 * i]) }).collect();
    let [few, kernel] = [vec![Spec::channels([7])], vec![Spec::weights([3, 3, 6, 10])]];
    let mut cases = Vec::new();
    for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 4e-5), (0.9, true, 0.1)] {
        let sgd = SgdMomentum::new(momentum, nesterov, weight_decay);
        cases.push(sgd_momentum(&few, sgd.clone(), 0));
        cases.push(sgd_momentum(&kernel, sgd.clone(), 0));
        cases.push(sgd_momentum(&many, SgdMomentum { scaled: true, ..sgd }, 0));
    }
    for (decays, weight_decay) in [([0.0, 0.0], 0.0), ([0.9, 0.999], 0.05)] {
        let parameters = vec![ParameterRates { weight_decay, lr_scale: 1.0 }];
        let op = AdamW { decays, eps: 1e-3, scaled: false, parameters };
        cases.push(adamw(&few, op.clone(), 0));
        cases.push(adamw(&kernel, op.clone(), 0));
        cases.push(adamw(&many, AdamW { scaled: true, ..op }, 0));
        cases.push(bias_correction(BiasCorrection { decays, scaled: false }, true, 0));
    }
    let correction = BiasCorrection { decays: [0.9, 0.999], scaled: true };
    cases.extend([true, false].map(|finite| bias_correction(correction, finite, 0)));
    for (i, specs) in [few, vec![Spec::weights([2, 6, 10]), Spec::channels([5])], many].iter().enumerate() {
        cases.push(accumulate(specs, (i % 2) as f32, 0));
        cases.push(moving_average(specs, 0));
        cases.push(squared_norm(specs, 0));
    }
    // Below the limit, above it, and without one.
    for (total, max_norm) in [(0.25, 1.0), (25.0, 1.0), (25.0, f32::INFINITY)] {
        cases.push(gradient_scale(total, max_norm, 0));
    }
    cases.extend([1.0, 65_536.0].map(|loss_scale| unscale(loss_scale, 0)));
    // Loss scales in between, about to grow, and overflowing; at both ends of the range.
    for (state, finite) in [
        ([1024.0, 0.0], true),
        ([1024.0, 2.0], true),
        ([1024.0, 1.0], false),
        ([16_777_216.0, 2.0], true),
        ([1.0, 0.0], false),
    ] {
        cases.push(adapt_loss_scale(state, finite, 0));
    }
    cases
}

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

/// The step of parameters, of which every second has other rates than `op` names. K: the handful of operations of an
/// element. The squares' means are not near 0, where quotients would magnify the rounding.
pub(super) fn adamw(specs: &[Spec], op: AdamW, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let label = format!("adamw of {}, {op:?}", describe(specs));
    let pair = || Spec::plain([2], DType::F32);
    let mut inputs = vec![draft.input("lr", Spec::plain([1], DType::F32))];
    inputs.push(draft.input_with("corrections", pair(), |i, _| [0.75, 0.5][i]));
    if op.scaled {
        inputs.push(draft.input_with("scale", pair(), |i, _| [0.5, 1.0][i]));
    }
    let mut updates = Vec::new();
    for (i, spec) in specs.iter().enumerate() {
        inputs.push(draft.input_with(&format!("grad {i}"), spec.clone(), |_, v| v + 0.5f64.copysign(v)));
        updates.push(draft.parameter(&format!("p {i}"), spec.clone(), |_, v| v));
        updates.push(draft.state(&format!("m {i}"), spec.clone(), |_, v| v));
        updates.push(draft.state(&format!("v {i}"), spec.clone(), |_, v| v.abs() + 0.25));
    }
    let rates = [op.parameters[0], ParameterRates { weight_decay: 0.25, lr_scale: 0.5 }];
    let parameters = (0..specs.len()).map(|i| rates[i % 2]).collect();
    let k = vec![10; updates.len()];
    draft.node(AdamW { parameters, ..op }, &inputs, &updates, &k);
    draft.case(label)
}

/// K: the few operations of a number.
pub(super) fn bias_correction(op: BiasCorrection, finite: bool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let pair = || Spec::plain([2], DType::F32);
    let scale = [0.5, f64::from(u8::from(finite))];
    let inputs: Vec<TensorId> =
        op.scaled.then(|| draft.input_with("scale", pair(), |i, _| scale[i])).into_iter().collect();
    let corrections = draft.state("corrections", pair(), |_, v| v.abs());
    draft.node(op, &inputs, &[corrections], &[4]);
    draft.case(format!("{op:?}, gradients {}", if finite { "finite" } else { "overflowing" }))
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
