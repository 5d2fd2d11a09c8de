//! A case under construction: tensors with values derived from their names.

use super::Case;
use crate::graph::{DType, Error, Graph, Init, Op, Role, Spec, StateKind, TensorId};
use crate::reference::random::hash;

/// Random bits for one element of one named tensor.
pub(super) fn bits(seed: u32, name: &str, index: usize) -> u32 {
    let name = name.bytes().fold(0, |h, byte| hash(h ^ u32::from(byte).wrapping_add(1)));
    hash(index as u32 ^ hash(name ^ hash(seed)))
}

/// Bits as a number in [-1, 1), exact in f32.
fn unit(bits: u32) -> f64 {
    f64::from(bits >> 8) / f64::from(1 << 23) - 1.0
}

/// Unwraps a graph's result; the suite itself chose the shapes, so an error is a bug.
pub(super) fn fitting<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| unreachable!("the suite's own shapes fit: {error}"))
}

/// A case under construction.
pub(super) struct Draft {
    seed: u32,
    pub(super) graph: Graph,
    feeds: Vec<(TensorId, Vec<f64>)>,
    compare: Vec<(TensorId, f64)>,
    differentiable: Vec<TensorId>,
}

impl Draft {
    pub(super) fn new(seed: u32) -> Self {
        Self { seed, graph: Graph::new(), feeds: Vec::new(), compare: Vec::new(), differentiable: Vec::new() }
    }

    fn tensor(&mut self, name: &str, spec: Spec, role: Role, value: impl Fn(usize, u32) -> f64) -> TensorId {
        let elements = (0..spec.elements()).map(|i| value(i, bits(self.seed, name, i))).collect();
        let id = fitting(self.graph.add_tensor(name, spec, role));
        self.feeds.push((id, elements));
        id
    }

    /// An f32 tensor whose element `i` is `make(i, v)` rounded to f32, `v` random in [-1, 1).
    fn floats(&mut self, name: &str, spec: Spec, role: Role, make: impl Fn(usize, f64) -> f64) -> TensorId {
        self.tensor(name, spec, role, |i, bits| f64::from(make(i, unit(bits)) as f32))
    }

    /// An input with values in [-1, 1).
    pub(super) fn input(&mut self, name: &str, spec: Spec) -> TensorId {
        self.floats(name, spec, Role::Input, |_, v| v)
    }

    /// An input with element `i` made from `i` and a number in [-1, 1).
    pub(super) fn input_with(&mut self, name: &str, spec: Spec, make: impl Fn(usize, f64) -> f64) -> TensorId {
        self.floats(name, spec, Role::Input, make)
    }

    /// A parameter, made like [`Self::input_with`].
    pub(super) fn parameter(&mut self, name: &str, spec: Spec, make: impl Fn(usize, f64) -> f64) -> TensorId {
        self.floats(name, spec, Role::Parameter(Init::Constant(0.0)), make)
    }

    /// A state, made like [`Self::input_with`].
    pub(super) fn state(&mut self, name: &str, spec: Spec, make: impl Fn(usize, f64) -> f64) -> TensorId {
        self.floats(name, spec, Role::State(StateKind::Statistic, Init::Constant(0.0)), make)
    }

    /// A u32 input with element `i` made from `i` and random bits.
    pub(super) fn integers(&mut self, name: &str, shape: Vec<usize>, make: impl Fn(usize, u32) -> u32) -> TensorId {
        self.tensor(name, Spec::plain(shape, DType::U32), Role::Input, |i, bits| f64::from(make(i, bits)))
    }

    /// Appends a node that is not compared.
    pub(super) fn apply(&mut self, op: impl Into<Op>, inputs: &[TensorId], updates: &[TensorId]) -> Vec<TensorId> {
        let op = op.into();
        let name = op.rule().name();
        fitting(self.graph.apply(name, op, inputs, updates))
    }

    /// Appends a node whose outputs, then updates, are compared with accumulation lengths `k`.
    pub(super) fn node(&mut self, op: impl Into<Op>, inputs: &[TensorId], updates: &[TensorId], k: &[usize]) {
        let outputs = self.apply(op, inputs, updates);
        for (&id, &k) in outputs.iter().chain(updates).zip(k) {
            self.compare(id, k);
        }
    }

    /// Compares a tensor after the run.
    pub(super) fn compare(&mut self, id: TensorId, k: usize) {
        self.compare.push((id, k as f64));
    }

    /// Declares that the first compared tensor has a gradient with respect to these inputs.
    pub(super) fn differentiable(&mut self, inputs: &[TensorId]) {
        self.differentiable.extend(inputs);
    }

    /// Rewrites the graph.
    pub(super) fn rewrite(&mut self, rewrite: impl FnOnce(&mut Graph) -> Result<(), Error>) {
        fitting(rewrite(&mut self.graph));
    }

    /// The finished case.
    pub(super) fn case(self, name: String) -> Case {
        let Self { graph, feeds, compare, differentiable, .. } = self;
        Case { name, graph, feeds, compare, differentiable }
    }
}
