//! Fusion for inference: fewer passes over memory, same result up to rounding.
//!
//! Three rewrites, in this order:
//! 1. *Fold*: a batch norm after a convolution becomes part of its weights and a bias; its activation moves into the epilogue.
//! 2. *Pool early*: a global average pool of a 1x1 convolution without activation equals that convolution, as a linear
//!    layer, of the pooled input. Squeeze-and-excitation then knows its gate before the wide map exists.
//! 3. *Join*: scaling by the gate, the residual addition and the activation move into the convolution's epilogue.
//!
//! A ResNet-RS block ends up as three convolutions, a pool and three small linear layers.

use std::collections::{HashMap, HashSet};

use super::op::{Conv2d, DepthwiseConv2d, Epilogue, FoldBatchNorm, Linear, Padding};
use super::{Activation, Error, Graph, Node, NodeId, Op, Role, TensorId};

/// Rewrites an inference graph. `outputs` are the tensors that must survive; all others may disappear.
pub fn for_inference(graph: &mut Graph, outputs: &[TensorId]) -> Result<(), Error> {
    fold_batch_norm(graph, outputs)?;
    pool_early(graph, outputs)?;
    join(graph, outputs);
    sort(graph);
    Ok(())
}

/// Readers of each tensor; an output counts as one more.
struct Uses(HashMap<TensorId, Vec<NodeId>>, HashSet<TensorId>);

impl Uses {
    fn of(graph: &Graph, outputs: &[TensorId]) -> Self {
        Self(graph.consumers(), outputs.iter().copied().collect())
    }

    /// The readers of a tensor that nothing outside the graph reads.
    fn private(&self, tensor: TensorId) -> &[NodeId] {
        match self.0.get(&tensor) {
            Some(readers) if !self.1.contains(&tensor) => readers,
            _ => &[],
        }
    }
}

fn fold_batch_norm(graph: &mut Graph, outputs: &[TensorId]) -> Result<(), Error> {
    let uses = Uses::of(graph, outputs);
    let mut removed = HashSet::new();
    for i in 0..graph.nodes().len() {
        let node = graph.nodes()[i].clone();
        let [reader] = node.outputs.first().map_or(&[][..], |&output| uses.private(output))[..] else { continue };
        let norm = graph.nodes()[reader].clone();
        let Op::BatchNormInference(batch_norm) = norm.op else { continue };
        let Some(op) = with_bias(&node.op, batch_norm.activation) else { continue };
        let mut fold_inputs = vec![node.inputs[1]];
        fold_inputs.extend(&norm.inputs[1..]);
        let fold = FoldBatchNorm { eps: batch_norm.eps };
        let folded = graph.push(&norm.name, fold.into(), &fold_inputs, &[], Role::Activation)?;
        let fused = Node { op, inputs: vec![node.inputs[0], folded[0], folded[1]], outputs: norm.outputs, ..node };
        replace(graph, i, fused);
        removed.insert(reader);
    }
    remove(graph, &removed);
    sort(graph);
    Ok(())
}

/// A bare convolution with a bias and an activation.
fn with_bias(op: &Op, activation: Activation) -> Option<Op> {
    match *op {
        Op::Conv2d(conv) if conv.epilogue == Epilogue::NONE => {
            Some(Conv2d { epilogue: Epilogue { bias: true, activation, ..Epilogue::NONE }, ..conv }.into())
        }
        Op::DepthwiseConv2d(conv) if conv == DepthwiseConv2d::new(conv.stride, conv.padding) => {
            Some(DepthwiseConv2d { bias: true, activation, ..conv }.into())
        }
        _ => None,
    }
}

fn pool_early(graph: &mut Graph, outputs: &[TensorId]) -> Result<(), Error> {
    let producers = graph.producers();
    let mut removed = HashSet::new();
    for i in 0..graph.nodes().len() {
        let pool = graph.nodes()[i].clone();
        if !matches!(pool.op, Op::GlobalAvgPool(_)) || outputs.contains(&pool.inputs[0]) {
            continue;
        }
        let Some(conv) = producers.get(&pool.inputs[0]).map(|&p| graph.nodes()[p].clone()) else { continue };
        let pointwise = graph.spec(conv.inputs[1]).shape.starts_with(&[1, 1]);
        let biased = Epilogue { bias: true, ..Epilogue::NONE };
        let commutes = |op: &Op| matches!(op, Op::Conv2d(c) if c.stride == 1 && c.padding == Padding::NONE && c.epilogue == biased);
        if !pointwise || !commutes(&conv.op) {
            continue;
        }
        let pooled = graph.push(&pool.name, pool.op, &conv.inputs[..1], &[], Role::Activation)?[0];
        let linear = Linear { activation: Activation::Identity };
        graph.push(&pool.name, linear.into(), &[pooled, conv.inputs[1], conv.inputs[2]], &[], Role::Activation)?;
        let mut nodes = graph.nodes().to_vec();
        if let Some(last) = nodes.last_mut() {
            last.outputs = pool.outputs;
        }
        graph.set_nodes(nodes);
        removed.insert(i);
    }
    remove(graph, &removed);
    sort(graph);
    Ok(())
}

fn join(graph: &mut Graph, outputs: &[TensorId]) {
    let uses = Uses::of(graph, outputs);
    let mut removed = HashSet::new();
    for i in 0..graph.nodes().len() {
        let node = graph.nodes()[i].clone();
        let Op::Conv2d(conv) = node.op else { continue };
        let [reader] = *uses.private(node.outputs[0]) else { continue };
        let next = graph.nodes()[reader].clone();
        let Op::ScaleAdd(scale_add) = next.op else { continue };
        let free = Epilogue { gate: false, shortcut: false, activation: Activation::Identity, ..conv.epilogue };
        if conv.epilogue != free || next.inputs[0] != node.outputs[0] || removed.contains(&reader) {
            continue;
        }
        let epilogue = Epilogue {
            bias: conv.epilogue.bias,
            gate: scale_add.gate,
            shortcut: scale_add.shortcut,
            activation: scale_add.activation,
        };
        let mut inputs = node.inputs.clone();
        inputs.extend(&next.inputs[1..]);
        let fused = Node { op: Conv2d { epilogue, ..conv }.into(), inputs, outputs: next.outputs, ..node };
        replace(graph, i, fused);
        removed.insert(reader);
    }
    remove(graph, &removed);
}

fn replace(graph: &mut Graph, at: NodeId, node: Node) {
    let mut nodes = graph.nodes().to_vec();
    nodes[at] = node;
    graph.set_nodes(nodes);
}

fn remove(graph: &mut Graph, removed: &HashSet<NodeId>) {
    let kept = graph.nodes().iter().enumerate().filter(|(i, _)| !removed.contains(i)).map(|(_, n)| n.clone());
    graph.set_nodes(kept.collect());
}

/// Restores an execution order: repeatedly takes the first node whose inputs are all written.
fn sort(graph: &mut Graph) {
    let written_by_nodes: HashSet<TensorId> = graph.nodes().iter().flat_map(|n| n.outputs.iter().copied()).collect();
    let mut waiting: Vec<Node> = graph.nodes().to_vec();
    let mut written: HashSet<TensorId> = HashSet::new();
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = |n: &Node| n.inputs.iter().all(|t| !written_by_nodes.contains(t) || written.contains(t));
        let Some(next) = waiting.iter().position(ready) else {
            unreachable!("rewrites keep the graph free of cycles");
        };
        let node = waiting.remove(next);
        written.extend(&node.outputs);
        sorted.push(node);
    }
    graph.set_nodes(sorted);
}
