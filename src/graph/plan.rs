//! The memory plan: which tensors share a buffer, and how many bytes that takes, before anything is allocated.
//!
//! Persistent tensors, inputs and requested outputs have buffers of their own. The others live in *slots*: each slot is
//! one buffer, as large as its largest tensor, and several tensors share it at different times or in different places.
//! A tensor that a node writes never shares a slot with another tensor of that node. So no dispatch binds one buffer
//! both read-only and writable, which WebGPU forbids.

use std::collections::{HashMap, HashSet};

pub use super::pack::Address;
use super::pack::{Packing, Span, live_peak, pack};
use super::{Graph, NodeId, Role, TensorId};

/// A range of a node's scratch memory. There are two ranges, since a kernel cannot write to one part of a buffer while
/// it reads another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scratch {
    /// The range that most nodes with scratch memory use.
    Workspace,
    /// Partial results of a node whose kernels read the workspace at the same time.
    Partials,
}

impl Scratch {
    /// Both ranges.
    pub const ALL: [Self; 2] = [Self::Workspace, Self::Partials];
}

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A buffer of its own for the whole life of the plan.
    Own,
    /// A part of a slot.
    Slot(Address),
}

/// Planned bytes by kind. All counts include channel padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Bytes {
    /// Learned parameters.
    pub parameters: u64,
    /// All states ([`super::StateKind`]), such as running statistics and momenta.
    pub state: u64,
    /// Inputs, requested outputs, and constants computed once (folded weights).
    pub own: u64,
    /// Slots: activations, gradients, scratch.
    pub slots: u64,
    /// Largest sum of simultaneously live activations, gradients and scratch: the size of the slots if the packing were
    /// perfect.
    pub live_peak: u64,
}

impl Bytes {
    /// Everything that is allocated.
    pub fn total(&self) -> u64 {
        self.parameters + self.state + self.total_without_parameters()
    }

    /// The bytes of one more session that shares the parameters and states.
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
    /// Address of each node's scratch memory, for the nodes that need it.
    pub scratch: HashMap<(NodeId, Scratch), Address>,
    /// Size of each slot in bytes.
    pub slots: Vec<u64>,
    /// Totals.
    pub bytes: Bytes,
}

impl MemoryPlan {
    /// Plans a graph whose `outputs` are to be read after a run. `scratch_bytes` returns the size of a range of scratch
    /// memory that a node's kernels need while it runs, 0 for none; `kernels::plan` passes those of a target.
    pub fn new(graph: &Graph, outputs: &[TensorId], scratch_bytes: impl Fn(NodeId, Scratch) -> u64) -> Self {
        let setup = constant_nodes(graph);
        let in_setup: HashSet<NodeId> = setup.iter().copied().collect();
        let steps = (0..graph.nodes().len()).filter(|i| !in_setup.contains(i)).collect::<Vec<_>>();

        let mut own: HashSet<TensorId> = outputs.iter().copied().collect();
        own.extend(setup.iter().flat_map(|&i| &graph.nodes()[i].outputs));
        let referenced = graph.nodes().iter().flat_map(|n| n.inputs.iter().chain(&n.updates).chain(&n.outputs));
        let mut bytes = Bytes::default();
        let mut homes = HashMap::new();
        // Inputs have a home even if no node reads them, so that feeding them is no special case.
        let inputs: Vec<TensorId> = graph.ids().filter(|&id| graph.tensor(id).role == Role::Input).collect();
        for &id in referenced.chain(outputs).chain(&inputs).collect::<HashSet<_>>() {
            let size = graph.spec(id).bytes();
            match graph.tensor(id).role {
                Role::Parameter(_) => bytes.parameters += size,
                Role::State(..) => bytes.state += size,
                Role::Input => bytes.own += size,
                _ if own.contains(&id) => bytes.own += size,
                _ => continue,
            }
            homes.insert(id, Home::Own);
        }

        let order: Vec<NodeId> = setup.iter().chain(&steps).copied().collect();
        let (users, spans) = lifetimes(graph, &order, &homes, scratch_bytes);
        let Packing { slots, addresses, .. } = pack(&spans, &apart(graph, &users));
        bytes.live_peak = live_peak(&spans);
        bytes.slots = slots.iter().sum();
        let mut scratch = HashMap::new();
        for (user, address) in users.into_iter().zip(addresses) {
            match user {
                User::Tensor(t) => drop(homes.insert(t, Home::Slot(address))),
                User::Scratch(n, which) => drop(scratch.insert((n, which), address)),
            }
        }
        Self { setup, steps, homes, scratch, slots, bytes }
    }

    /// Where a tensor lives; `None` if no node touches it.
    pub fn home(&self, tensor: TensorId) -> Option<Home> {
        self.homes.get(&tensor).copied()
    }

    /// Where a tensor starts in its buffer, in bytes.
    pub fn offset(&self, tensor: TensorId) -> u64 {
        if let Some(Home::Slot(address)) = self.home(tensor) { address.offset } else { 0 }
    }

    /// All tensors that the plan places, with their homes.
    pub fn homes(&self) -> impl Iterator<Item = (TensorId, Home)> + '_ {
        self.homes.iter().map(|(&t, &h)| (t, h))
    }
}

/// The constant nodes, in execution order. Each input of a constant node is a result of another constant node, or a
/// parameter or state that no node of the graph updates.
pub(super) fn constant_nodes(graph: &Graph) -> Vec<NodeId> {
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

/// A user of memory in the slots.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum User {
    Tensor(TensorId),
    Scratch(NodeId, Scratch),
}

/// Everything that goes into slots, with its lifetime by position in `order`.
fn lifetimes(
    graph: &Graph,
    order: &[NodeId],
    homes: &HashMap<TensorId, Home>,
    scratch_bytes: impl Fn(NodeId, Scratch) -> u64,
) -> (Vec<User>, Vec<Span>) {
    let mut last_use: HashMap<TensorId, usize> = HashMap::new();
    for (at, &i) in order.iter().enumerate() {
        last_use.extend(graph.nodes()[i].inputs.iter().map(|&t| (t, at)));
    }
    let mut users = Vec::new();
    for (first, &i) in order.iter().enumerate() {
        let node = &graph.nodes()[i];
        for &t in node.outputs.iter().filter(|t| !homes.contains_key(t)) {
            let last = last_use.get(&t).copied().unwrap_or(first);
            users.push((User::Tensor(t), Span { first, last, bytes: graph.spec(t).bytes() }));
        }
        for which in Scratch::ALL {
            let bytes = scratch_bytes(i, which);
            if bytes > 0 {
                users.push((User::Scratch(i, which), Span { first, last: first, bytes }));
            }
        }
    }
    users.into_iter().unzip()
}

/// For each user, the users that must not share a slot with it. Everything that a node writes lies apart from
/// everything else that the node touches, since one of its dispatches may read what another has written.
fn apart(graph: &Graph, users: &[User]) -> Vec<Vec<usize>> {
    let index: HashMap<User, usize> = users.iter().copied().zip(0..).collect();
    let mut apart = vec![Vec::new(); users.len()];
    for (i, node) in graph.nodes().iter().enumerate() {
        let find = |user: User| index.get(&user).copied();
        let tensors = |ids: &[TensorId]| ids.iter().filter_map(|&t| find(User::Tensor(t))).collect::<Vec<_>>();
        let scratch = Scratch::ALL.into_iter().filter_map(|which| find(User::Scratch(i, which)));
        let written: Vec<usize> = tensors(&node.outputs).into_iter().chain(scratch).collect();
        for other in tensors(&node.inputs).into_iter().chain(written.iter().copied()) {
            for &w in written.iter().filter(|&&w| w != other) {
                apart[w].push(other);
                apart[other].push(w);
            }
        }
    }
    apart
}
