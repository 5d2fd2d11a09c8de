//! Single nodes of a network as separate graphs, so that each can be measured alone.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};

use crate::exec::{self, Session};
use crate::gpu::{Gpu, Target};
use crate::graph::{Cost, DType, Graph, Init, Node, Op, Role, StateKind, Tensor, TensorId};
use crate::kernels::{Choices, ConvShape};
use crate::selftest::Case;

/// One node with its shapes, out of a network.
#[derive(Clone, Debug)]
pub struct NodeBench {
    /// Name of its first occurrence in the network, and its shapes.
    pub name: String,
    /// Kind of operation.
    pub op: &'static str,
    /// Number of occurrences in the network.
    pub count: usize,
    /// Its work.
    pub cost: Cost,
    graph: Graph,
    outputs: Vec<TensorId>,
}

/// The nodes of a graph that `wanted` picks, in the graph's order; nodes with the same operation and shapes count once.
pub fn distinct(graph: &Graph, wanted: impl Fn(&Op) -> bool) -> Vec<NodeBench> {
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut nodes: Vec<NodeBench> = Vec::new();
    let key = |node: &Node| {
        let shapes: Vec<_> = node.inputs.iter().map(|&id| graph.spec(id)).collect();
        format!("{:?} {shapes:?}", node.op)
    };
    for node in graph.nodes().iter().filter(|node| wanted(&node.op)) {
        let at = *known.entry(key(node)).or_insert_with(|| {
            nodes.push(NodeBench::of(graph, node));
            nodes.len() - 1
        });
        nodes[at].count += 1;
    }
    nodes
}

impl NodeBench {
    fn of(from: &Graph, node: &Node) -> Self {
        let fits = "a node fits as it did in its network";
        let mut graph = Graph::new();
        let mut add = |&id: &TensorId, role| {
            // A tensor may be an input twice.
            let tensor = from.tensor(id);
            graph.find(&tensor.name).unwrap_or_else(|| {
                graph
                    .add_tensor(tensor.name.clone(), tensor.spec.clone(), role)
                    .unwrap_or_else(|e| unreachable!("{fits}: {e}"))
            })
        };
        // Weights that the network never updates stay constant here, so that setup nodes are not measured.
        let constant = |id: &TensorId| {
            from.tensor(*id).role.is_persistent() && !from.nodes().iter().any(|other| other.updates.contains(id))
        };
        let role = |id| if constant(id) { Role::Parameter(Init::Constant(0.0)) } else { Role::Input };
        let inputs: Vec<_> = node.inputs.iter().map(|id| add(id, role(id))).collect();
        let updates: Vec<_> =
            node.updates.iter().map(|id| add(id, Role::State(StateKind::Momentum, Init::Constant(0.0)))).collect();
        let outputs =
            graph.apply(&node.name, node.op.clone(), &inputs, &updates).unwrap_or_else(|e| unreachable!("{fits}: {e}"));
        let shape = |&id: &TensorId| graph.spec(id).shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let shapes: Vec<String> = inputs.iter().take(2).map(shape).collect();
        // An optimiser updates the parameter in place and has no other output.
        let results: Vec<String> = outputs.iter().chain(&updates).take(1).map(shape).collect();
        let name = format!("{} {} to {}", node.name, shapes.join(" "), results.join(" "));
        let (op, cost) = (node.op.rule().name(), graph.nodes()[0].cost(&graph));
        Self { name, op, count: 0, cost, graph, outputs }
    }

    /// Shape of a convolution as a target runs it; `None` if the node is not a convolution.
    pub fn conv_shape(&self, target: Target) -> Option<ConvShape> {
        ConvShape::of(&self.graph, &self.graph.nodes()[0], target)
    }

    /// A session that runs the node with the kernel that `choices` name. Inputs are random numbers from 0.5 to 1.5, so
    /// that standard deviations are positive. Zeros would run faster than real data on some GPUs, since no bits flip.
    ///
    /// # Errors
    /// If it does not fit the device, or the device fails.
    pub fn session(&self, gpu: &Gpu, choices: Option<&Choices>) -> Result<Session, exec::Error> {
        let (_, session) = self.case().session(gpu, choices)?;
        Ok(session)
    }

    fn case(&self) -> Case {
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        let is_fed = |&id: &TensorId| {
            let Tensor { spec, role, .. } = self.graph.tensor(id);
            spec.dtype == DType::F32 && matches!(role, Role::Input | Role::Parameter(_))
        };
        let mut random = |elements| (0..elements).map(|_| f64::from(0.5 + rng.random::<f32>())).collect();
        let fed = self.graph.ids().filter(is_fed);
        let feeds = fed.map(|id| (id, random(self.graph.spec(id).elements()))).collect();
        let (name, graph) = (self.name.clone(), self.graph.clone());
        let compare = self.outputs.iter().map(|&output| (output, 1.0)).collect();
        Case { name, graph, feeds, compare, differentiable: Vec::new() }
    }
}
