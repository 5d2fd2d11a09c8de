//! Fusion for inference: fewer passes over memory, and the same result up to rounding.
//!
//! Three rewrites, in this order:
//! 1. *Fold*: a batch norm after a convolution becomes part of its weights and a bias; its activation moves into the
//!    epilogue.
//! 2. *Pool early*: a global average pool of a 1x1 convolution without activation equals that convolution, as a linear
//!    layer, of the pooled input. The gate of squeeze-and-excitation is then computed before the wide map exists.
//! 3. *Join*: scaling by the gate, the residual addition and the activation move into the convolution's epilogue.
//!
//! A ResNet-RS block ends up as three convolutions, a pool and three small linear layers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::op::{FoldBatchNorm, GlobalAvgPool};
use super::{Error, Graph, Node, NodeId, Op, Role, TensorId};

/// Rewrites an inference graph. `outputs` are the tensors that must survive; all others may disappear.
pub fn for_inference(graph: &mut Graph, outputs: &[TensorId]) -> Result<(), Error> {
    let outputs: HashSet<TensorId> = outputs.iter().copied().collect();
    fold_batch_norm(graph, &outputs)?;
    pool_early(graph, &outputs)?;
    join(graph, &outputs);
    Ok(())
}

/// Readers of each tensor; an output counts as one more.
struct Uses<'o> {
    readers: HashMap<TensorId, Vec<NodeId>>,
    outputs: &'o HashSet<TensorId>,
}

impl<'o> Uses<'o> {
    fn of(graph: &Graph, outputs: &'o HashSet<TensorId>) -> Self {
        Self { readers: graph.consumers(), outputs }
    }

    /// The node that reads a tensor, if it is the only one and nothing outside the graph reads the tensor.
    fn only_reader(&self, tensor: TensorId) -> Option<NodeId> {
        match self.readers.get(&tensor)?[..] {
            [reader] if !self.outputs.contains(&tensor) => Some(reader),
            _ => None,
        }
    }
}

/// Changes to a graph's nodes. They are applied together, so that each pass copies the list of nodes only once.
#[derive(Default)]
struct Patch {
    replaced: HashMap<NodeId, Node>,
    removed: HashSet<NodeId>,
}

impl Patch {
    /// Applies the changes and restores an execution order.
    fn apply(mut self, graph: &mut Graph) {
        let changed = |(i, node): (NodeId, &Node)| {
            let kept = !self.removed.contains(&i);
            kept.then(|| self.replaced.remove(&i).unwrap_or_else(|| node.clone()))
        };
        let nodes = graph.nodes().iter().enumerate().filter_map(changed).collect();
        graph.set_nodes(sorted(nodes));
    }
}

fn fold_batch_norm(graph: &mut Graph, outputs: &HashSet<TensorId>) -> Result<(), Error> {
    let uses = Uses::of(graph, outputs);
    let mut patch = Patch::default();
    for i in 0..graph.nodes().len() {
        let node = &graph.nodes()[i];
        let Some(reader) = node.outputs.first().and_then(|&output| uses.only_reader(output)) else { continue };
        let norm = &graph.nodes()[reader];
        let Op::BatchNormInference(batch_norm) = norm.op else { continue };
        let Some(op) = node.op.rule().with_bias(batch_norm.activation) else { continue };
        let (node, norm) = (node.clone(), norm.clone());
        let fold_inputs = [&node.inputs[1..2], &norm.inputs[1..]].concat();
        let fold = FoldBatchNorm { eps: batch_norm.eps };
        let folded = graph.push(&norm.name, fold.into(), &fold_inputs, &[], Role::Activation)?;
        let inputs = vec![node.inputs[0], folded[0], folded[1]];
        patch.replaced.insert(i, Node { op, inputs, outputs: norm.outputs, ..node });
        patch.removed.insert(reader);
    }
    patch.apply(graph);
    Ok(())
}

fn pool_early(graph: &mut Graph, outputs: &HashSet<TensorId>) -> Result<(), Error> {
    let producers = graph.producers();
    let mut patch = Patch::default();
    for i in 0..graph.nodes().len() {
        let pool = &graph.nodes()[i];
        if pool.op != Op::GlobalAvgPool(GlobalAvgPool::TO_FEATURES) || outputs.contains(&pool.inputs[0]) {
            continue;
        }
        let Some(pooled) = producers.get(&pool.inputs[0]).map(|&p| &graph.nodes()[p]) else { continue };
        let Some(op) = pooled.op.rule().of_means() else { continue };
        let (pool, inputs) = (pool.clone(), pooled.inputs.clone());
        let means = graph.push(&pool.name, pool.op, &inputs[..1], &[], Role::Activation)?;
        let inputs = [&means, &inputs[1..]].concat();
        let last = graph.nodes().len();
        graph.push(&pool.name, op, &inputs, &[], Role::Activation)?;
        patch.replaced.insert(last, Node { outputs: pool.outputs, ..graph.nodes()[last].clone() });
        patch.removed.insert(i);
    }
    patch.apply(graph);
    Ok(())
}

fn join(graph: &mut Graph, outputs: &HashSet<TensorId>) {
    let uses = Uses::of(graph, outputs);
    let mut patch = Patch::default();
    for (i, node) in graph.nodes().iter().enumerate() {
        let Some(reader) = node.outputs.first().and_then(|&output| uses.only_reader(output)) else { continue };
        let next = &graph.nodes()[reader];
        let Op::ScaleAdd(scale_add) = &next.op else { continue };
        let Some(op) = node.op.rule().with_join(scale_add) else { continue };
        if next.inputs[0] != node.outputs[0] || patch.removed.contains(&reader) {
            continue;
        }
        let inputs = [&node.inputs[..], &next.inputs[1..]].concat();
        let fused = Node { op, inputs, outputs: next.outputs.clone(), name: node.name.clone(), updates: Vec::new() };
        patch.replaced.insert(i, fused);
        patch.removed.insert(reader);
    }
    patch.apply(graph);
}

/// Sorts nodes into an execution order. The next node is always the first one whose inputs are all written.
fn sorted(nodes: Vec<Node>) -> Vec<Node> {
    let producers: HashMap<TensorId, NodeId> =
        nodes.iter().enumerate().flat_map(|(i, node)| node.outputs.iter().map(move |&output| (output, i))).collect();
    let mut readers = vec![Vec::new(); nodes.len()];
    // How many of a node's inputs are not written yet.
    let mut missing = vec![0; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for producer in node.inputs.iter().filter_map(|input| producers.get(input)) {
            readers[*producer].push(i);
            missing[i] += 1;
        }
    }
    let ready = (0..nodes.len()).filter(|&i| missing[i] == 0).map(Reverse);
    let mut ready: BinaryHeap<Reverse<NodeId>> = ready.collect();
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(Reverse(next)) = ready.pop() {
        sorted.extend(nodes[next].take());
        for &reader in &readers[next] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    assert!(nodes.iter().all(Option::is_none), "rewrites keep the graph free of cycles");
    sorted
}
