//! The memory plan: which tensors share a buffer, and how many bytes that takes, before anything is allocated.
//!
//! Persistent tensors, inputs and requested outputs have buffers of their own. The rest live in *slots*: each slot is
//! one buffer, used by one tensor after another. Tensors that live at the same time never share a slot, so within a
//! dispatch no buffer is both read-only and writable, which WebGPU forbids.

use std::collections::{HashMap, HashSet};

use super::{Graph, NodeId, Role, TensorId};

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A buffer of its own for the whole life of the plan.
    Own,
    /// Slot number, shared with tensors of other times.
    Slot(usize),
}

/// Planned bytes by kind. All counts include channel padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Bytes {
    /// Learned parameters.
    pub parameters: u64,
    /// Running statistics and optimiser momenta.
    pub state: u64,
    /// Inputs, requested outputs, and constants computed once (folded weights).
    pub own: u64,
    /// Slots: activations, gradients, scratch.
    pub slots: u64,
    /// Largest sum of simultaneously live activations, gradients and scratch: what the slots would take if they packed perfectly.
    pub live_peak: u64,
}

impl Bytes {
    /// Everything that is allocated.
    pub fn total(&self) -> u64 {
        self.parameters + self.state + self.total_without_parameters()
    }

    /// What one more session over the same parameters and states takes.
    pub fn total_without_parameters(&self) -> u64 {
        self.own + self.slots
    }
}

/// A graph's memory plan.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    /// Nodes that depend on parameters alone: they run once after loading. In execution order.
    pub setup: Vec<NodeId>,
    /// The other nodes, which run every time. In execution order.
    pub steps: Vec<NodeId>,
    homes: HashMap<TensorId, Home>,
    /// Slot of each node's scratch memory, for those that need any.
    pub workspaces: HashMap<NodeId, usize>,
    /// Size of each slot in bytes.
    pub slots: Vec<u64>,
    /// Totals.
    pub bytes: Bytes,
}

/// A span of the order during which some bytes are in use.
struct Span {
    first: usize,
    last: usize,
    bytes: u64,
    user: User,
}

enum User {
    Tensor(TensorId),
    Workspace(NodeId),
}

impl MemoryPlan {
    /// Plans a graph whose `outputs` are to be read after a run.
    pub fn new(graph: &Graph, outputs: &[TensorId]) -> Self {
        let setup = constant_nodes(graph);
        let in_setup: HashSet<NodeId> = setup.iter().copied().collect();
        let steps = (0..graph.nodes().len()).filter(|i| !in_setup.contains(i)).collect::<Vec<_>>();

        let mut own: HashSet<TensorId> = outputs.iter().copied().collect();
        own.extend(setup.iter().flat_map(|&i| &graph.nodes()[i].outputs));
        let referenced = graph.nodes().iter().flat_map(|n| n.inputs.iter().chain(&n.updates).chain(&n.outputs));
        let mut bytes = Bytes::default();
        let mut homes = HashMap::new();
        // Inputs have a home even where no node reads them, so that feeding them is no special case.
        let inputs: Vec<TensorId> = graph.ids().filter(|&id| graph.tensor(id).role == Role::Input).collect();
        for &id in referenced.chain(outputs).chain(&inputs).collect::<HashSet<_>>() {
            let size = graph.spec(id).bytes();
            match graph.tensor(id).role {
                Role::Parameter(_) => bytes.parameters += size,
                Role::State(_) => bytes.state += size,
                Role::Input => bytes.own += size,
                _ if own.contains(&id) => bytes.own += size,
                _ => continue,
            }
            homes.insert(id, Home::Own);
        }

        // Scratch memory of setup nodes lives before the first step; giving it the whole order costs little and needs no second plan.
        let mut spans = spans(graph, &steps, &homes);
        let whole = |i: &NodeId| Span {
            first: 0,
            last: steps.len(),
            bytes: graph.nodes()[*i].workspace_bytes(graph),
            user: User::Workspace(*i),
        };
        spans.extend(setup.iter().map(whole).filter(|s| s.bytes > 0));
        bytes.live_peak = live_peak(&spans, steps.len());
        let (slots, assigned) = assign(&spans);
        bytes.slots = slots.iter().sum();
        let mut workspaces = HashMap::new();
        for (span, slot) in spans.iter().zip(assigned) {
            match span.user {
                User::Tensor(t) => drop(homes.insert(t, Home::Slot(slot))),
                User::Workspace(n) => drop(workspaces.insert(n, slot)),
            }
        }
        Self { setup, steps, homes, workspaces, slots, bytes }
    }

    /// Where a tensor lives; `None` if no node touches it.
    pub fn home(&self, tensor: TensorId) -> Option<Home> {
        self.homes.get(&tensor).copied()
    }

    /// All tensors that the plan places, with their homes.
    pub fn homes(&self) -> impl Iterator<Item = (TensorId, Home)> + '_ {
        self.homes.iter().map(|(&t, &h)| (t, h))
    }
}

/// Nodes all of whose inputs are parameters, states or results of such nodes, in graphs that never update those.
fn constant_nodes(graph: &Graph) -> Vec<NodeId> {
    let updated: HashSet<TensorId> = graph.nodes().iter().flat_map(|n| n.updates.iter().copied()).collect();
    let mut constant: HashSet<TensorId> = graph.persistent().filter(|t| !updated.contains(t)).collect();
    let mut nodes = Vec::new();
    for (i, node) in graph.nodes().iter().enumerate() {
        if node.updates.is_empty() && node.inputs.iter().all(|t| constant.contains(t)) {
            constant.extend(&node.outputs);
            nodes.push(i);
        }
    }
    nodes
}

/// Lifetimes of everything that goes into slots, by position in `steps`.
fn spans(graph: &Graph, steps: &[NodeId], homes: &HashMap<TensorId, Home>) -> Vec<Span> {
    let mut last_use: HashMap<TensorId, usize> = HashMap::new();
    for (at, &i) in steps.iter().enumerate() {
        last_use.extend(graph.nodes()[i].inputs.iter().map(|&t| (t, at)));
    }
    let mut spans = Vec::new();
    for (at, &i) in steps.iter().enumerate() {
        let node = &graph.nodes()[i];
        for &t in node.outputs.iter().filter(|t| !homes.contains_key(t)) {
            let last = last_use.get(&t).copied().unwrap_or(at);
            spans.push(Span { first: at, last, bytes: graph.spec(t).bytes(), user: User::Tensor(t) });
        }
        let scratch = node.workspace_bytes(graph);
        if scratch > 0 {
            spans.push(Span { first: at, last: at, bytes: scratch, user: User::Workspace(i) });
        }
    }
    spans
}

fn live_peak(spans: &[Span], steps: usize) -> u64 {
    let mut change = vec![0i64; steps + 2];
    for span in spans {
        change[span.first] += span.bytes as i64;
        change[span.last + 1] -= span.bytes as i64;
    }
    let mut live = 0;
    change
        .iter()
        .map(|c| {
            live += c;
            live
        })
        .max()
        .unwrap_or(0) as u64
}

/// Gives each span a slot: largest first, each into the fullest-fitting slot that is free during its whole life.
///
/// Largest first means that a slot never grows, so its size is that of its first tenant.
fn assign(spans: &[Span]) -> (Vec<u64>, Vec<usize>) {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(spans[i].bytes), spans[i].first));
    let mut slots: Vec<(u64, Vec<usize>)> = Vec::new();
    let mut assigned = vec![0; spans.len()];
    for i in order {
        let span = &spans[i];
        let free =
            |tenants: &Vec<usize>| tenants.iter().all(|&j| spans[j].last < span.first || span.last < spans[j].first);
        let best =
            slots.iter().enumerate().filter(|(_, (_, tenants))| free(tenants)).min_by_key(|(_, (size, _))| *size);
        let slot = match best {
            Some((slot, _)) => slot,
            None => {
                slots.push((span.bytes, Vec::new()));
                slots.len() - 1
            }
        };
        slots[slot].1.push(i);
        assigned[i] = slot;
    }
    (slots.into_iter().map(|(size, _)| size).collect(), assigned)
}
