//! Counts the bytes that kernels move, from their launches. Needs no GPU.

use std::collections::HashMap;

use naga::valid::{Capabilities, GlobalUse, ValidationFlags, Validator};
use serde::Serialize;

use crate::gpu::Target;
use crate::graph::{Graph, NodeId};
use crate::kernels::{Choices, Kernel, Launch, Place, TooLarge, lower};

/// Bytes that a node's kernels move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Bytes of every range that a launch binds and its kernel reads; a range counts once per launch, however often it
    /// is bound. Caches may save some, and a kernel may use less than it binds.
    pub read_bytes: u64,
    /// Bytes of every range of a tensor or of scratch memory that a kernel writes. The launches of a node share its
    /// result, so a range that several of them bind counts once.
    pub written_bytes: u64,
}

impl Traffic {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.read_bytes + self.written_bytes
    }
}

/// Counts the bytes that nodes move. A kernel's use of a binding (read, write) is taken from its shader.
pub struct Meter {
    target: Target,
    uses: HashMap<Kernel, Vec<GlobalUse>>,
}

impl Meter {
    /// A meter for a target's kernels, without a tuning.
    pub fn new(target: Target) -> Self {
        Self { target, uses: HashMap::new() }
    }

    /// The bytes that one node moves.
    ///
    /// # Errors
    /// If the node does not fit the limits, so that it has no kernels.
    pub fn node(&mut self, graph: &Graph, node: NodeId) -> Result<Traffic, TooLarge> {
        let launches = lower(graph, node, self.target, Choices::TABLE)?;
        Ok(self.launches(&launches))
    }

    fn launches(&mut self, launches: &[Launch]) -> Traffic {
        let mut read_bytes = 0;
        let mut written = Ranges::new();
        for launch in launches {
            let mut read = Ranges::new();
            let uses = self.uses.entry(launch.kernel.clone()).or_insert_with(|| uses(&launch.kernel));
            for (view, used) in launch.views.iter().zip(uses) {
                let range = [view.offset, view.offset + view.bytes];
                if used.contains(GlobalUse::READ) {
                    read.entry(view.place).or_default().push(range);
                }
                if used.contains(GlobalUse::WRITE) {
                    written.entry(view.place).or_default().push(range);
                }
            }
            read_bytes += read.into_values().map(covered).sum::<u64>();
        }
        Traffic { read_bytes, written_bytes: written.into_values().map(covered).sum() }
    }
}

/// A kernel's use of its bindings 1, 2, ...
///
/// # Panics
/// If the shader is invalid. No input can cause that: a test compiles all shaders.
fn uses(kernel: &Kernel) -> Vec<GlobalUse> {
    let wrong = |e: &dyn std::fmt::Display| -> ! { panic!("{}: {e}", kernel.name()) };
    let module = naga::front::wgsl::parse_str(&kernel.wgsl()).unwrap_or_else(|e| wrong(&e));
    let mut validator = Validator::new(ValidationFlags::empty(), Capabilities::all());
    let info = validator.validate(&module).unwrap_or_else(|e| wrong(&e));
    let main = info.get_entry_point(0);
    let mut bound: Vec<(u32, GlobalUse)> = module
        .global_variables
        .iter()
        .filter_map(|(handle, variable)| Some((variable.binding?.binding, main[handle])))
        .filter(|&(binding, _)| binding > 0)
        .collect();
    bound.sort_by_key(|&(binding, _)| binding);
    bound.into_iter().map(|(_, used)| used).collect()
}

/// Ranges of bytes by place.
type Ranges = HashMap<Place, Vec<[u64; 2]>>;

/// Bytes in the union of a place's ranges.
fn covered(mut ranges: Vec<[u64; 2]>) -> u64 {
    ranges.sort();
    let mut end = 0;
    let new = |[first, last]: [u64; 2]| {
        let from = first.max(end);
        end = end.max(last);
        last.saturating_sub(from)
    };
    ranges.into_iter().map(new).sum()
}

/// Bytes that batch norm moves in training, forward and backward, beside the least possible. Batch norm must read a map
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchNormTraffic {
    /// Bytes, counted from the launches.
    pub moved_bytes: u64,
    /// Least bytes of separate kernels: three passes over the map forward (read for the statistics, read, write), five
    /// backward (read x and dy for the sums, read both again, write dx), and each vector once per node.
    pub least_bytes: u64,
    /// Least bytes without the first pass, if the preceding convolution computed the statistics while writing its
    /// result.
    pub least_fused_bytes: u64,
}

impl BatchNormTraffic {
    /// Sums over a training step; `None` where it has no batch norm.
    ///
    /// # Errors
    /// As [`Meter::node`].
    pub fn of(graph: &Graph, meter: &mut Meter) -> Result<Option<Self>, TooLarge> {
        let mut sum = Self::default();
        for (i, node) in graph.nodes().iter().enumerate() {
            let (rule, inputs) = (node.op.rule(), node.input_specs(graph));
            if rule.reread_bytes(&inputs) == 0 {
                continue;
            }
            let saved = rule.gatherable_bytes(&inputs);
            let least = node.cost(graph).bytes;
            sum.moved_bytes += meter.node(graph, i)?.bytes();
            sum.least_bytes += least;
            sum.least_fused_bytes += least - saved;
        }
        Ok((sum.least_bytes > 0).then_some(sum))
    }

    /// `moved_bytes` divided by `least_bytes`.
    pub fn ratio(&self) -> f64 {
        self.moved_bytes as f64 / self.least_bytes as f64
    }

    /// `moved_bytes` divided by `least_fused_bytes`.
    pub fn ratio_fused(&self) -> f64 {
        self.moved_bytes as f64 / self.least_fused_bytes as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::gpu::Family;
    use crate::graph::op::{BatchNorm, Conv2dInputGrad, SgdMomentum, Window};
    use crate::graph::{Activation, DType, Init, Spec, StateKind};
    use crate::models::Preset;
    use crate::summary::training_step;

    const TARGETS: [Target; 2] = [Target { family: Family::Registers, lanes: 8, ..Target::TILES }, Target::TILES];

    fn traffic(graph: &Graph, target: Target) -> Traffic {
        Meter::new(target).node(graph, 0).unwrap()
    }

    #[test]
    fn ranges_that_overlap_count_once() {
        assert_eq!(covered(vec![]), 0);
        assert_eq!(covered(vec![[8, 16], [0, 8]]), 16);
        assert_eq!(covered(vec![[0, 16], [4, 8], [12, 20], [30, 31]]), 21);
    }

    /// Weights and momentum are read and written, the gradient and the rate read.
    #[test]
    fn updates_count_twice() {
        let mut g = Graph::new();
        let spec = Spec::channels([100]);
        let gradient = g.input("gradient", spec.clone()).unwrap();
        let lr = g.input("lr", Spec::plain([1], DType::F32)).unwrap();
        let p = g.parameter("p".into(), spec.clone(), Init::Constant(0.0)).unwrap();
        let v = g.state("v".into(), spec, StateKind::Momentum, 0.0).unwrap();
        let sgd = SgdMomentum::new(0.9, true, 0.0);
        g.apply("sgd", sgd, &[lr, gradient], &[p, v]).unwrap();
        for target in TARGETS {
            assert_eq!(traffic(&g, target), Traffic { read_bytes: 3 * 400 + 4, written_bytes: 2 * 400 });
        }
        assert_eq!(g.nodes()[0].cost(&g).bytes, 5 * 400 + 4);
    }

    /// Stride 2 runs as four phases: each reads dy and its own weights, and together they write dx once.
    #[test]
    fn phases_share_a_result() {
        let mut g = Graph::new();
        let dy = g.input("dy", Spec::channels([1, 4, 4, 4])).unwrap();
        let w = g.input("w", Spec::weights([3, 3, 4, 4])).unwrap();
        let op = Conv2dInputGrad { window: Window::square(3, 2, 1), size: [8, 8], addend: false };
        g.apply1("conv", op, &[dy, w]).unwrap();
        let (dy_bytes, w_bytes, dx_bytes) = (16 * 16, 9 * 4 * 16, 64 * 16);
        for target in TARGETS {
            let exchanged = w_bytes;
            let expected =
                Traffic { read_bytes: w_bytes + 4 * (dy_bytes + w_bytes), written_bytes: dx_bytes + exchanged };
            assert_eq!(traffic(&g, target), expected, "{target:?}");
        }
    }

    /// 2 x 8 x 8 rows of 4 channels make 2 chunks of 64 rows.
    #[test]
    fn batch_norm_makes_three_passes() {
        let mut g = Graph::new();
        let (map, vector) = (Spec::channels([2, 8, 8, 4]), Spec::channels([4]));
        let x = g.input("x", map).unwrap();
        let [gamma, beta] = ["gamma", "beta"].map(|name| g.input(name, vector.clone()).unwrap());
        let mean = g.state("mean".into(), vector.clone(), StateKind::Statistic, 0.0).unwrap();
        let variance = g.state("variance".into(), vector, StateKind::Statistic, 1.0).unwrap();
        let op = BatchNorm { eps: 1e-5, momentum: 0.1, activation: Activation::Relu };
        g.apply("norm", op, &[x, gamma, beta], &[mean, variance]).unwrap();
        let (map, vector, chunks) = (128 * 16, 16, 2 * 2 * 16);
        // The running statistics, then the vectors that normalising needs.
        let read_bytes = 2 * map + chunks + 2 * vector + 4 * vector;
        let written_bytes = map + chunks + 4 * vector;
        assert_eq!(traffic(&g, Target::TILES), Traffic { read_bytes, written_bytes });
        assert_eq!(g.nodes()[0].cost(&g).bytes, 3 * map + 8 * vector);
    }

    #[test]
    fn batch_norm_of_training_moves_little_more_than_it_must() {
        let config = Preset::find("resnet-rs-50").unwrap().config(1000);
        let graph = training_step(&config, 32, [160; 2], Precision::F32, false).unwrap().graph;
        for target in TARGETS {
            let sum = BatchNormTraffic::of(&graph, &mut Meter::new(target)).unwrap().unwrap();
            let [moved, least, fused] =
                [sum.moved_bytes, sum.least_bytes, sum.least_fused_bytes].map(|bytes| bytes as f64 / 1e9);
            eprintln!(
                "{target:?}: {moved:.3} GB, {:.3} of the least {least:.3} GB (3 + 5 passes), {:.3} of {fused:.3} GB \
                 (2 + 5)",
                sum.ratio(),
                sum.ratio_fused()
            );
            // Within 1.15 even of the fused form, in which convolutions compute the statistics.
            assert!(sum.ratio() >= 1.0 && sum.ratio_fused() <= 1.15, "{target:?}: {sum:?}");
        }
    }
}
