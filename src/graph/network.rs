//! The graph itself: a list of tensors, and a list of nodes in execution order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::{DType, Init, Op, Role, Spec, StateKind, Tensor, TensorId};

/// Why a graph cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation does not accept its inputs.
    #[error("{node}: {op} of {inputs}: {problem}")]
    Shape {
        /// Name of the node.
        node: String,
        /// Kind of operation.
        op: &'static str,
        /// Shapes of the inputs.
        inputs: String,
        /// What is wrong with them.
        problem: String,
    },
    /// Differentiation was asked to start from a tensor that is not a loss.
    #[error("cannot differentiate {tensor}: {problem}")]
    NoLoss {
        /// Name of the tensor.
        tensor: String,
        /// Why the tensor is not a loss.
        problem: String,
    },
    /// Differentiation met an operation that has no gradient.
    #[error("{node}: {op} has no gradient{hint}")]
    NoGradient {
        /// Name of the node.
        node: String,
        /// Kind of operation.
        op: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// An operation has no kernel for a graph stored in f16.
    #[error("{node}: {op} has no kernel for f16{hint}")]
    NoHalf {
        /// Name of the node.
        node: String,
        /// Kind of operation.
        op: &'static str,
        /// Which tensors the kernel is missing for, and what to do instead.
        hint: &'static str,
    },
    /// A tensor name is used twice.
    #[error("two tensors of the graph are named {0}")]
    DuplicateName(String),
}

/// Identifies a node: its position in [`Graph::nodes`].
pub type NodeId = usize;

/// One operation applied to tensors.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's place in the network, for messages and profiles: `layer1.0.conv2`.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Tensors read.
    pub inputs: Vec<TensorId>,
    /// Persistent tensors read and written in place: running statistics, weights under the optimiser.
    pub updates: Vec<TensorId>,
    /// Tensors written, each by this node alone.
    pub outputs: Vec<TensorId>,
}

/// A network, or a whole training step: tensors and nodes in execution order.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    tensors: Vec<Tensor>,
    nodes: Vec<Node>,
    by_name: HashMap<String, TensorId>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// All tensors; a [`TensorId`] is a position in this list.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// All nodes, in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One tensor.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// Shape, layout and element type of one tensor.
    pub fn spec(&self, id: TensorId) -> &Spec {
        &self.tensor(id).spec
    }

    /// The tensor with this name, if there is one.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        self.by_name.get(name).copied()
    }

    /// Ids of all tensors, in order of creation.
    pub fn ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        (0..self.tensors.len() as u32).map(TensorId)
    }

    /// Ids of all parameters and states that nodes use, in order of creation.
    pub fn persistent(&self) -> impl Iterator<Item = TensorId> + '_ {
        let used: HashSet<TensorId> =
            self.nodes.iter().flat_map(|n| n.inputs.iter().chain(&n.updates)).copied().collect();
        self.ids().filter(move |id| used.contains(id) && self.tensor(*id).role.is_persistent())
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// [`Error::DuplicateName`] if another tensor has the name; the graph stays as it was.
    pub fn add_tensor(&mut self, name: impl Into<String>, spec: Spec, role: Role) -> Result<TensorId, Error> {
        let name = name.into();
        let id = TensorId(self.tensors.len() as u32);
        self.claim(&name, id)?;
        self.tensors.push(Tensor { name, spec, role });
        Ok(id)
    }

    /// Registers a name that no tensor has yet.
    fn claim(&mut self, name: &str, id: TensorId) -> Result<(), Error> {
        match self.by_name.entry(name.to_owned()) {
            Entry::Vacant(free) => drop(free.insert(id)),
            Entry::Occupied(_) => return Err(Error::DuplicateName(name.to_owned())),
        }
        Ok(())
    }

    /// Adds an input, fed before each run.
    pub fn input(&mut self, name: &str, spec: Spec) -> Result<TensorId, Error> {
        self.add_tensor(name, spec, Role::Input)
    }

    /// Adds a learned parameter.
    pub fn parameter(&mut self, name: String, spec: Spec, init: Init) -> Result<TensorId, Error> {
        self.add_tensor(name, spec, Role::Parameter(init))
    }

    /// Adds a persistent f32 tensor that is not learned.
    pub fn state(&mut self, name: String, spec: Spec, kind: StateKind, init: f32) -> Result<TensorId, Error> {
        debug_assert_eq!(spec.dtype, DType::F32);
        self.add_tensor(name, spec, Role::State(kind, Init::Constant(init)))
    }

    /// Appends a forward node and returns its outputs.
    pub fn apply(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[TensorId],
        updates: &[TensorId],
    ) -> Result<Vec<TensorId>, Error> {
        self.push(name, op.into(), inputs, updates, Role::Activation)
    }

    /// Appends a node with one output and returns that output.
    pub fn apply1(&mut self, name: &str, op: impl Into<Op>, inputs: &[TensorId]) -> Result<TensorId, Error> {
        Ok(self.apply(name, op, inputs, &[])?[0])
    }

    /// Appends a node whose outputs play `role`.
    pub(super) fn push(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[TensorId],
        updates: &[TensorId],
        role: Role,
    ) -> Result<Vec<TensorId>, Error> {
        let specs: Vec<&Spec> = inputs.iter().chain(updates).map(|&id| self.spec(id)).collect();
        let inferred = op.rule().infer(&specs).map_err(|problem| Error::Shape {
            node: name.to_owned(),
            op: op.rule().name(),
            inputs: specs.iter().map(|s| format!("{:?}", s.shape)).collect::<Vec<_>>().join(", "),
            problem,
        })?;
        let kind = op.rule().name();
        let outputs = inferred
            .into_iter()
            .enumerate()
            .map(|(i, spec)| self.add_tensor(format!("{name}/{kind}:{i}#{}", self.nodes.len()), spec, role))
            .collect::<Result<Vec<_>, _>>()?;
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.to_vec(),
            updates: updates.to_vec(),
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }

    /// The node that writes each tensor, if one does.
    pub fn producers(&self) -> HashMap<TensorId, NodeId> {
        self.nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().map(move |&t| (t, i))).collect()
    }

    /// The nodes that read each tensor, in order.
    pub fn consumers(&self) -> HashMap<TensorId, Vec<NodeId>> {
        let mut readers: HashMap<TensorId, Vec<NodeId>> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for &t in node.inputs.iter().chain(&node.updates) {
                readers.entry(t).or_default().push(i);
            }
        }
        readers
    }

    /// Removes the nodes that none of `outputs` depends on.
    pub fn retain_ancestors(&mut self, outputs: &[TensorId]) {
        let mut needed: HashSet<TensorId> = outputs.iter().copied().collect();
        let mut kept: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.drain(..).rev() {
            if node.outputs.iter().any(|output| needed.contains(output)) {
                needed.extend(&node.inputs);
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
    }

    /// Renames a tensor.
    pub(super) fn rename(&mut self, id: TensorId, name: String) -> Result<(), Error> {
        self.claim(&name, id)?;
        let before = std::mem::replace(&mut self.tensors[id.index()].name, name);
        self.by_name.remove(&before);
        Ok(())
    }

    /// One tensor, for rewrites of its role and element type.
    pub(super) fn tensor_mut(&mut self, id: TensorId) -> &mut Tensor {
        &mut self.tensors[id.index()]
    }

    /// Replaces the nodes, for rewrites. They must be in an order in which every tensor is written before it is read.
    pub(super) fn set_nodes(&mut self, nodes: Vec<Node>) {
        self.nodes = nodes;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_changes_nothing() {
        let mut graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.input(name, Spec::channels([1, 4])).unwrap());
        let twice = graph.input("a", Spec::channels([2, 4])).unwrap_err();
        let renamed = graph.rename(b, "a".into()).unwrap_err();
        for refused in [twice, renamed] {
            assert!(matches!(&refused, Error::DuplicateName(name) if name == "a"), "{refused}");
        }
        for (name, id) in [("a", a), ("b", b)] {
            assert_eq!((graph.find(name), graph.tensor(id).name.as_str()), (Some(id), name));
        }
        assert_eq!(graph.tensors().len(), 2);
        graph.rename(b, "c".into()).unwrap();
        assert_eq!((graph.find("b"), graph.find("c")), (None, Some(b)));
    }
}
