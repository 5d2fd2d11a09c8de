//! Recomputation: a training step that keeps few activations and rebuilds the others when the backward pass asks for
//! them (gradient checkpointing; Chen, Xu, Zhang, Guestrin 2016).
//!
//! The step keeps everything that is not a map, the sums that end residual blocks, and the results of expensive
//! convolutions ([`Rule::kept_by_recomputation`](super::op::Rule::kept_by_recomputation)). To rebuild a block therefore
//! costs its cheaper convolutions, most of its memory, and a few passes over that memory.
//!
//! A rebuilt tensor has the same bits as the first time, since the same kernels read the same values: parameters are
//! updated only after the last node that needs their old values, dropout masks are functions of seed, step and
//! position, and a batch norm is repeated with the statistics that it has already computed
//! ([`Rule::repeated`](super::op::Rule::repeated)).

use std::collections::HashMap;

use super::{Error, Graph, Node, NodeId, Role, TensorId};

/// Rewrites a differentiated graph so that its backward nodes read rebuilt activations instead of kept ones. Each
/// activation is rebuilt just before the first backward node that needs it.
///
/// # Errors
/// A valid graph causes no error.
pub fn rebuild_activations(graph: &mut Graph) -> Result<(), Error> {
    let nodes = graph.nodes().to_vec();
    let mut rewrite = Rewrite {
        producers: graph.producers(),
        graph,
        order: Vec::with_capacity(2 * nodes.len()),
        rebuilt: HashMap::new(),
    };
    for node in nodes {
        let forward = node.outputs.iter().any(|&t| rewrite.graph.tensor(t).role == Role::Activation);
        let inputs = if forward { node.inputs.clone() } else { rewrite.rebuild_all(&node.inputs)? };
        rewrite.order.push(Node { inputs, ..node });
    }
    let order = rewrite.order;
    graph.set_nodes(order);
    Ok(())
}

struct Rewrite<'g> {
    graph: &'g mut Graph,
    producers: HashMap<TensorId, NodeId>,
    /// The nodes of the new graph.
    order: Vec<Node>,
    /// The second copies of tensors that are not kept.
    rebuilt: HashMap<TensorId, TensorId>,
}

impl Rewrite<'_> {
    fn rebuild_all(&mut self, tensors: &[TensorId]) -> Result<Vec<TensorId>, Error> {
        tensors.iter().map(|&t| self.rebuild(t)).collect()
    }

    /// Appends the nodes that rebuild a tensor and returns the copy. Returns the tensor itself if it is kept.
    fn rebuild(&mut self, tensor: TensorId) -> Result<TensorId, Error> {
        let Some(node) = self.producers.get(&tensor).map(|&n| self.graph.nodes()[n].clone()) else { return Ok(tensor) };
        if self.is_kept(tensor, &node) {
            return Ok(tensor);
        }
        if let Some(&copy) = self.rebuilt.get(&tensor) {
            return Ok(copy);
        }
        let mut inputs = self.rebuild_all(&node.inputs)?;
        let op = match node.op.rule().repeated() {
            Some(op) => {
                inputs.extend(&node.outputs[1..]);
                op
            }
            None => node.op.clone(),
        };
        let copy = self.graph.push(&node.name, op, &inputs, &[], Role::Activation)?[0];
        self.graph.tensor_mut(copy).spec.dtype = self.graph.spec(tensor).dtype;
        self.order.extend(self.graph.nodes().last().cloned());
        self.rebuilt.insert(tensor, copy);
        Ok(copy)
    }

    fn is_kept(&self, tensor: TensorId, producer: &Node) -> bool {
        let tensor = self.graph.tensor(tensor);
        let kept = || producer.op.rule().kept_by_recomputation(&producer.input_specs(self.graph));
        tensor.role != Role::Activation || !tensor.spec.is_map() || kept()
    }
}
