//! The join of a residual block: channel gates, dropped branches, the addition.

use super::View;
use super::activation::{activate, derivative};
use super::random::random_bits;
use crate::graph::op::{Dropout, DropoutScope, Fill, ScaleAdd, ScaleAddGrad};

/// The inputs of a join: `x * gate + shortcut`, element by element.
struct Join<'a> {
    x: View<'a>,
    gate: Option<&'a [f64]>,
    shortcut: Option<&'a [f64]>,
}

impl<'a> Join<'a> {
    fn new(inputs: &[View<'a>], gate: bool, shortcut: bool) -> Self {
        let mut parts = inputs[1..].iter().map(|part| part.data);
        let mut part = |present: bool| if present { parts.next() } else { None };
        Self { x: inputs[0], gate: part(gate), shortcut: part(shortcut) }
    }

    /// The index in a gate `[N, C]` that belongs to an element of the map.
    fn gate_index(&self, i: usize) -> usize {
        let channels = self.x.channels();
        let image = self.x.data.len() / self.x.shape[0];
        i / image * channels + i % channels
    }

    fn gate(&self, i: usize) -> f64 {
        self.gate.map_or(1.0, |gate| gate[self.gate_index(i)])
    }

    fn value(&self, i: usize) -> f64 {
        self.x.data[i] * self.gate(i) + self.shortcut.map_or(0.0, |shortcut| shortcut[i])
    }
}

/// `y = activation(x * gate + shortcut)`.
pub(super) fn scale_add(op: &ScaleAdd, inputs: &[View<'_>]) -> Vec<f64> {
    let join = Join::new(inputs, op.gate, op.shortcut);
    (0..join.x.data.len()).map(|i| activate(op.activation, join.value(i))).collect()
}

/// With `d = dy * activation'`: `dx = d * gate`, `dgate = sum over H, W of d * x`, `dshortcut = d`. Returns dx; with a
/// gate also dgate; with both a gate and a shortcut also dshortcut.
pub(super) fn scale_add_grad(op: &ScaleAddGrad, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let (dy, result) = (inputs[0].data, op.reads_result().then(|| inputs[inputs.len() - 1].data));
    let join = Join::new(&inputs[1..], op.gate, op.shortcut && result.is_none());
    let argument = |i: usize| result.map_or_else(|| join.value(i), |y| y[i]);
    let d: Vec<f64> = dy.iter().enumerate().map(|(i, dy)| dy * derivative(op.activation, argument(i))).collect();
    let Some(gate) = join.gate else { return vec![d] };
    let dx = d.iter().enumerate().map(|(i, d)| d * join.gate(i)).collect();
    let mut dgate = vec![0.0; gate.len()];
    for (i, d) in d.iter().enumerate() {
        dgate[join.gate_index(i)] += d * join.x.data[i];
    }
    if op.shortcut { vec![dx, dgate, d] } else { vec![dx, dgate] }
}

/// `y = x * mask / (1 - rate)`: an element is kept where 24 random bits are at least `rate * 2^24`.
pub(super) fn dropout(op: &Dropout, x: View<'_>, clock: View<'_>) -> Vec<f64> {
    let (seed, step) = (clock.data[0] as u32, clock.data[1] as u32);
    let rate = f64::from(op.rate);
    let dropped_below = (rate * f64::from(1 << 24)).ceil() as u32;
    let of_picture = x.data.len() / x.shape[0];
    let keep = |i: usize| {
        let index = match op.scope {
            DropoutScope::Element => i,
            DropoutScope::Sample => i / of_picture,
        };
        random_bits(seed, step, op.stream, index as u32) >> 8 >= dropped_below
    };
    x.data.iter().enumerate().map(|(i, x)| if keep(i) { x / (1.0 - rate) } else { 0.0 }).collect()
}

/// One value everywhere.
pub(super) fn fill(op: &Fill) -> Vec<f64> {
    vec![f64::from(op.value); op.shape[0] * op.shape[1]]
}
