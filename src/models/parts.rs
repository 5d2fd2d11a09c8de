//! The parts of a network, which can be frozen or learn more slowly one by one.

use std::collections::HashMap;

use crate::graph::{Graph, TensorId};

/// The parts of a network in order, from the stem to the classifier, and what belongs to each.
#[derive(Clone, Debug)]
pub struct Parts {
    names: &'static [&'static str],
    ends: Vec<TensorId>,
    /// The part of each tensor and each node of the forward graph, by name.
    of: HashMap<String, usize>,
    /// Tensors and nodes of the graph that are noted.
    noted: [usize; 2],
}

impl Parts {
    pub(super) fn new(names: &'static [&'static str]) -> Self {
        Self { names, ends: Vec::new(), of: HashMap::new(), noted: [0; 2] }
    }

    /// Notes that what was appended to the graph since the last part ended belongs to this one.
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

    /// Belongs to no part by itself: what the graph holds by now. Nodes that fusion has made have the names of others.
    pub(super) fn pass_over(&mut self, graph: &Graph) {
        self.noted = [graph.tensors().len(), graph.nodes().len()];
    }

    /// How many have ended, which is the index of the one under construction.
    pub(super) fn built(&self) -> usize {
        self.ends.len()
    }

    /// Their names ([`super::Layers::parts`]).
    pub fn names(&self) -> &'static [&'static str] {
        self.names
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
