//! The parts of a network. Each can be frozen or have its own learning rate.

use std::collections::HashMap;

use crate::graph::{Graph, TensorId};

/// The parts of a network in order, from the stem to the head, with the tensors and nodes of each.
#[derive(Clone, Debug)]
pub struct Parts {
    names: Vec<&'static str>,
    ends: Vec<TensorId>,
    /// The part of each tensor and each node of the forward graph, by name.
    of: HashMap<String, usize>,
    /// Numbers of tensors and nodes of the graph that are assigned so far.
    noted: [usize; 2],
}

impl Parts {
    pub(super) fn new(names: Vec<&'static str>) -> Self {
        Self { names, ends: Vec::new(), of: HashMap::new(), noted: [0; 2] }
    }

    /// Assigns all tensors and nodes that were appended since the last part ended to this one.
    pub(super) fn end(&mut self, graph: &Graph, end: TensorId) {
        let (part, [tensors, nodes]) = (self.built(), self.noted);
        let tensors = graph.tensors()[tensors..].iter().map(|tensor| &tensor.name);
        let nodes = graph.nodes()[nodes..].iter().map(|node| &node.name);
        for name in tensors.chain(nodes) {
            self.of.entry(name.clone()).or_insert(part);
        }
        self.ends.push(end);
        self.pass_over(graph);
    }

    /// Skips everything in the graph so far: it belongs to no part of its own. Nodes made by fusion have the names of
    /// the nodes that they replace.
    pub(super) fn pass_over(&mut self, graph: &Graph) {
        self.noted = [graph.tensors().len(), graph.nodes().len()];
    }

    /// Number of finished parts, which is the index of the one under construction.
    pub(super) fn built(&self) -> usize {
        self.ends.len()
    }

    /// Their names ([`super::Config::parts`]).
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The result of each part.
    pub fn ends(&self) -> &[TensorId] {
        &self.ends
    }

    /// The part that a tensor or a node of the forward graph belongs to, as an index into [`Self::names`]. Nodes of the
    /// backward pass have their forward nodes' names.
    pub fn of(&self, name: &str) -> Option<usize> {
        self.of.get(name).copied()
    }
}
