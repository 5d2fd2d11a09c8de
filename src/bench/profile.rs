//! The time of a network, operation by operation, beside the least time possible.

use std::collections::HashMap;
use std::time::Instant;

use serde::Serialize;

use super::{BatchNormTraffic, Meter, Patience, Peaks, Prepared, Subject, median, repeat};
use crate::gpu::{Family, Gpu};
use crate::graph::NodeId;
use crate::{Error, exec};

/// A node, or all nodes of a kind; [`super`] defines the terms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// The node's place in the network, or the name of the kind.
    pub name: String,
    /// Kind of operation.
    pub op: &'static str,
    /// Number of nodes in the sum.
    pub nodes: usize,
    /// Time of the kernels in milliseconds; `None` if the adapter has no timestamps.
    pub ms: Option<f64>,
    /// FLOPs.
    pub flops: u64,
    /// Bytes that the kernels move.
    pub moved_bytes: u64,
    /// Bytes that must be moved.
    pub least_bytes: u64,
    /// The limit in milliseconds.
    pub limit_ms: f64,
    /// 10^9 FLOPs a second.
    pub gflops: Option<f64>,
    /// 10^9 bytes moved a second.
    pub gb_per_s: Option<f64>,
    /// Share of the limit.
    pub share: Option<f64>,
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.nodes += other.nodes;
        self.ms = self.ms.zip(other.ms).map(|(a, b)| a + b);
        self.flops += other.flops;
        self.moved_bytes += other.moved_bytes;
        self.least_bytes += other.least_bytes;
        self.limit_ms += other.limit_ms;
    }

    /// Fills in the rates that follow from time and work.
    fn rated(self) -> Self {
        let per_ms = |amount: f64| self.ms.filter(|&ms| ms > 0.0).map(|ms| amount / ms);
        Self {
            gflops: per_ms(self.flops as f64 / 1e6),
            gb_per_s: per_ms(self.moved_bytes as f64 / 1e6),
            share: per_ms(self.limit_ms),
            ..self
        }
    }
}

/// Time, work and limits of a workload on one adapter.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Kernels that ran.
    pub family: Family,
    /// The adapter's peaks.
    pub peaks: Peaks,
    /// Pipelines compiled before the first answer.
    pub pipelines: usize,
    /// Kernels that a run launches.
    pub launches: usize,
    /// Milliseconds to the first answer.
    pub first_ms: f64,
    /// Steady state: milliseconds a run, from submission to the result in the program's memory.
    pub run_ms: f64,
    /// Share of the limit for the whole network, by the kernels' times, or by the time of a run if there are no
    /// timestamps.
    pub share: f64,
    /// Sum over the nodes. Its time is missing where the adapter has no timestamps.
    pub total: Line,
    /// Sums by kind of operation, longest time first; without timestamps, largest limit first.
    pub kinds: Vec<Line>,
    /// Nodes, in the same order.
    pub nodes: Vec<Line>,
    /// Bytes that batch norm moves; in training only.
    pub batch_norm: Option<BatchNormTraffic>,
}

impl Profile {
    /// Measures a workload, and the adapter's peaks if they are not given. `since` is the time at which the device was
    /// asked for; `progress` is called with the number of compiled pipelines and the total.
    ///
    /// # Errors
    /// If it does not fit the device, or the device fails.
    pub fn measure(
        gpu: &Gpu,
        since: Instant,
        prepared: &Prepared,
        peaks: Option<Peaks>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, Error> {
        let mut running = prepared.start(gpu, since, progress)?;
        running.run_ms()?;
        let run_ms = median(&repeat(Patience::default(), || running.run_ms())?);
        let times_ms = node_times_ms(&mut running.session)?;
        let peaks = peaks.map_or_else(|| Peaks::measure(gpu), Ok)?;

        let graph = running.session.graph();
        let mut meter = Meter::new(gpu.target());
        let mut nodes = Vec::new();
        for &i in &running.session.plan().steps {
            let (node, traffic) = (&graph.nodes()[i], meter.node(graph, i).map_err(exec::Error::from)?);
            let (flops, least_bytes) = (2 * node.cost(graph).macs, node.cost(graph).bytes);
            let line = Line {
                name: node.name.clone(),
                op: node.op.rule().name(),
                nodes: 1,
                ms: times_ms.as_ref().map(|times| times.get(&i).copied().unwrap_or(0.0)),
                flops,
                moved_bytes: traffic.bytes(),
                least_bytes,
                limit_ms: peaks.limit_ms(flops, least_bytes),
                ..Line::default()
            };
            nodes.push(line.rated());
        }
        let batch_norm = BatchNormTraffic::of(graph, &mut meter).map_err(exec::Error::from)?;
        let zero = Line { ms: times_ms.as_ref().map(|_| 0.0), ..Line::default() };
        let mut total = Line { name: "total".into(), ..zero.clone() };
        let mut kinds: Vec<Line> = Vec::new();
        for node in &nodes {
            total.add(node);
            let known = kinds.iter().position(|kind| kind.op == node.op).unwrap_or_else(|| {
                kinds.push(Line { name: node.op.into(), op: node.op, ..zero.clone() });
                kinds.len() - 1
            });
            kinds[known].add(node);
        }
        let total = total.rated();
        let mut kinds: Vec<Line> = kinds.into_iter().map(Line::rated).collect();
        for lines in [&mut nodes, &mut kinds] {
            lines.sort_by(|a, b| b.ms.unwrap_or(b.limit_ms).total_cmp(&a.ms.unwrap_or(a.limit_ms)));
        }
        Ok(Self {
            subject: prepared.workload.on(gpu),
            family: gpu.family(),
            peaks,
            pipelines: running.pipelines,
            launches: running.session.launches(),
            first_ms: running.first_ms,
            run_ms,
            share: total.limit_ms / total.ms.unwrap_or(run_ms),
            total,
            kinds,
            nodes,
            batch_norm,
        })
    }
}

/// Median time of each node in milliseconds; `None` if the adapter has no timestamps.
fn node_times_ms(session: &mut exec::Session) -> Result<Option<HashMap<NodeId, f64>>, exec::Error> {
    if session.run_timed()?.is_none() {
        return Ok(None);
    }
    let mut times_ms: HashMap<NodeId, Vec<f64>> = HashMap::new();
    repeat(Patience::default(), || {
        let nodes = session.run_timed()?.unwrap_or_default();
        for node in &nodes {
            times_ms.entry(node.node).or_default().push(node.milliseconds);
        }
        Ok::<_, exec::Error>(nodes.iter().map(|node| node.milliseconds).sum())
    })?;
    Ok(Some(times_ms.into_iter().map(|(node, times)| (node, median(&times))).collect()))
}
