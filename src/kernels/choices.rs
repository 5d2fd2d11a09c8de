//! How each convolution is computed: by the method in the tables, unless the user supplies what `resnet-rs tune` has
//! measured.

use std::collections::BTreeMap;
use std::fmt;

use super::shape::ConvShape;
use super::variants::{ConvVariant, variants};
use super::winograd;
use crate::gpu::{Target, Tuning};
use crate::graph::op::WinogradTile;
use crate::graph::plan::MemoryPlan;
use crate::graph::{Error, Graph, TensorId, winograd::rewrite};

/// A way to compute a convolution. Its name, as [`fmt::Display`] gives it, stands in tuning files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Directly, as a sum over taps and channels.
    Direct(ConvVariant),
    /// By Winograd's algorithm. The table chooses the variant for its matrix products.
    Winograd(WinogradTile),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(variant) => variant.fmt(f),
            Self::Winograd(tile) => write!(f, "winograd {0}x{0}", tile.results()),
        }
    }
}

/// Every way to compute a convolution in f32; the first is the one that it gets by default.
pub fn candidates(target: Target, shape: &ConvShape) -> Vec<Method> {
    let direct = variants(target, shape).into_iter().map(Method::Direct);
    let tiles = WinogradTile::ALL.into_iter().filter(|&tile| winograd::serves(tile, shape)).map(Method::Winograd);
    let mut methods: Vec<Method> = direct.chain(tiles).collect();
    let preferred = winograd::preferred(target, shape).map(Method::Winograd);
    if let Some(default) = methods.iter().position(|&method| Some(method) == preferred) {
        methods[..=default].rotate_right(1);
    }
    methods
}

/// Which method serves which convolution: the table's, except where a tuning names another.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    tuned: BTreeMap<String, String>,
}

impl Choices {
    /// The methods of the table, without a tuning.
    pub const TABLE: &'static Self = &Self { tuned: BTreeMap::new() };

    /// The methods of a tuning, and the table's for convolutions that it does not name.
    pub fn of(tuning: Option<&Tuning>) -> Self {
        Self { tuned: tuning.map(|t| t.choices.clone()).unwrap_or_default() }
    }

    /// The method `method` for convolutions of this shape, and the table's for all others.
    pub fn only(shape: &ConvShape, method: Method) -> Self {
        Self { tuned: [(shape.to_string(), method.to_string())].into() }
    }

    /// Rewrites a graph to the form that a target runs: with Winograd's algorithm where that is chosen. A second
    /// rewrite changes nothing.
    ///
    /// # Errors
    /// None if the graph is valid.
    pub fn rewrite(&self, graph: &mut Graph, target: Target) -> Result<(), Error> {
        rewrite(graph, |graph, node| match self.method(target, &ConvShape::of(graph, node, target)?) {
            Method::Winograd(tile) => Some(tile),
            Method::Direct(_) => None,
        })
    }

    /// The memory plan of a graph in the form that a target runs, see [`Self::rewrite`].
    ///
    /// # Errors
    /// As [`Self::rewrite`].
    pub fn plan(&self, mut graph: Graph, outputs: &[TensorId], target: Target) -> Result<MemoryPlan, Error> {
        self.rewrite(&mut graph, target)?;
        Ok(super::plan(&graph, outputs, target))
    }

    /// How a convolution in f32 is computed.
    fn method(&self, target: Target, shape: &ConvShape) -> Method {
        let candidates = candidates(target, shape);
        let wanted = self.tuned.get(&shape.to_string());
        let tuned = wanted.and_then(|name| {
            let found = candidates.iter().find(|method| method.to_string() == *name);
            if found.is_none() {
                log::warn!(
                    "the tuning names {name:?} for {shape}, which cannot serve it: make a new one with resnet-rs tune"
                );
            }
            found
        });
        *tuned.unwrap_or(&candidates[0])
    }

    /// The kernel for a convolution that is computed directly: one in f16, for which the algorithms have no kernels, or
    /// one that [`Self::rewrite`] has not changed.
    pub(super) fn variant(&self, target: Target, shape: &ConvShape) -> ConvVariant {
        match self.method(target, shape) {
            Method::Direct(variant) => variant,
            Method::Winograd(_) => variants(target, shape)[0],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::gpu::Family;
    use crate::graph::Op;
    use crate::graph::op::{Padding, Window};
    use crate::kernels::{Direction, lower};
    use crate::models::{Input, Mode, Network, PRESETS, Preset};
    use crate::selftest::cases;
    use crate::train::task::Classify;
    use crate::train::{Step, StepOptions};

    const LLVMPIPE: Target = Target { family: Family::Registers, lanes: 8, ..Target::TILES };
    const TARGETS: [Target; 3] = [Target::TILES, LLVMPIPE, Target { lanes: 4, ..LLVMPIPE }];

    fn shapes(graph: &Graph) -> Vec<ConvShape> {
        graph.nodes().iter().filter_map(|node| ConvShape::of(graph, node, Target::TILES)).collect()
    }

    /// Neither a GPU that claims thousands of compute units nor one of a single unit may get splits beyond a binding.
    #[test]
    fn any_number_of_compute_units_is_served() {
        let config = Preset::find("resnet-rs-50").unwrap().config(1000);
        for batch in [1, 8, 64] {
            let step =
                Step::build(&config, batch, [64; 2], Input::Tensor, &Classify::default(), &StepOptions::default())
                    .unwrap();
            for compute_units in [0, 1, 16, 304, 100_000] {
                let target = Target { compute_units, ..Target::TILES };
                for node in 0..step.graph.nodes().len() {
                    lower(&step.graph, node, target, Choices::TABLE).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_convolution_has_methods_and_each_can_be_chosen() {
        let mut all: HashSet<ConvShape> = cases::standard()
            .iter()
            .chain(&(0..20).flat_map(cases::random).collect::<Vec<_>>())
            .flat_map(|case| shapes(&case.graph))
            .collect();
        for preset in &PRESETS {
            let config = preset.config(10);
            let inference = Network::build(&config, 1, [96; 2], Input::Tensor, Mode::Inference).unwrap();
            let training =
                Step::build(&config, 3, [64; 2], Input::Tensor, &Classify::default(), &StepOptions::default()).unwrap();
            all.extend(shapes(&inference.graph).into_iter().chain(shapes(&training.graph)));
        }
        for shape in &all {
            for target in TARGETS {
                let methods = candidates(target, shape);
                let of_family = |method: &Method| match method {
                    Method::Direct(variant) => variant.family() == target.family,
                    Method::Winograd(_) => true,
                };
                assert!(methods.iter().all(of_family), "{shape}");
                let names: HashSet<String> = methods.iter().map(ToString::to_string).collect();
                assert_eq!(names.len(), methods.len(), "{shape}: {names:?}");
                assert_eq!(Choices::TABLE.method(target, shape), methods[0]);
                for method in methods {
                    assert_eq!(Choices::only(shape, method).method(target, shape), method, "{shape}");
                }
            }
        }
        assert!(all.iter().any(|s| candidates(LLVMPIPE, s).len() > 6), "some convolution leaves a choice");
    }

    #[test]
    fn narrow_weight_gradients_take_the_kernel_with_the_fewest_loads() {
        for (channels, out_channels, kernel) in [
            (3, 8, "1x2"),
            (8, 8, "2x2"),
            (8, 16, "2x4"),
            (16, 9, "4x3"),
            (16, 16, "4x4"),
            (40, 16, "5x4"),
            (96, 24, "6x3"),
            // Two blocks of 2 x 4 would load as much.
            (8, 24, "2x2"),
        ] {
            let shape = ConvShape {
                direction: Direction::WeightGrad,
                input: [8, 64, 64, channels],
                window: Window::square(3, 1, 1),
                out_channels,
                splits: 1,
            };
            let method = Choices::TABLE.method(LLVMPIPE, &shape).to_string();
            assert_eq!(method, format!("registers along pixels {kernel}"), "{channels} to {out_channels}");
        }
    }

    #[test]
    fn names_tell_shapes_apart_and_unknown_ones_change_nothing() {
        let shape = ConvShape {
            direction: Direction::InputGrad,
            input: [2, 40, 30, 64],
            window: Window { kernel: [3, 1], ..Window::square(3, 2, 1) },
            out_channels: 100,
            splits: 1,
        };
        assert_eq!(shape.to_string(), "input gradient 3x1 stride 2 padding 1, 2x40x30x64 to 100");
        let window = Window { kernel: [3, 5], stride: [1, 2], dilation: [4, 1], padding: Padding::Zeros([4, 0]) };
        assert_eq!(
            ConvShape { window, ..shape }.to_string(),
            "input gradient 3x5 stride 1x2 padding 4x0 dilation 4x1, 2x40x30x64 to 100"
        );
        assert_eq!((shape.pixels(), shape.in_quads(), shape.out_quads()), (2 * 20 * 15, 25, 16));
        let forward = ConvShape { direction: Direction::Forward, ..shape };
        assert_eq!((forward.pixels(), forward.in_quads(), forward.out_quads()), (2 * 20 * 16, 16, 25));

        let [default, other] = [0, 1].map(|i| candidates(LLVMPIPE, &shape)[i]);
        let choices = Choices::only(&shape, other);
        assert_eq!(choices.method(LLVMPIPE, &shape), other);
        assert_eq!(choices.method(LLVMPIPE, &forward), Choices::TABLE.method(LLVMPIPE, &forward));
        assert_eq!(choices.variant(Target::TILES, &shape).family(), Family::Tiles, "no variant of another family");
        let unknown = Choices { tuned: [(shape.to_string(), "a kernel of tomorrow".to_owned())].into() };
        assert_eq!(unknown.method(LLVMPIPE, &shape), default);
    }

    /// A second rewrite changes nothing, and the first changes only the convolutions for which Winograd's algorithm
    /// pays.
    #[test]
    fn winograd_takes_the_wide_convolutions_of_stride_1() {
        let config = Preset::find("resnet-rs-50").unwrap().config(10);
        let graph = Network::build(&config, 1, [160; 2], Input::Tensor, Mode::Inference).unwrap().graph;
        let tiles = |graph: &Graph| -> Vec<WinogradTile> {
            let tile = |op: &Op| if let Op::WinogradOutput(op) = op { Some(op.tile) } else { None };
            graph.nodes().iter().filter_map(|node| tile(&node.op)).collect()
        };
        let rewritten = |target| {
            let mut once = graph.clone();
            Choices::TABLE.rewrite(&mut once, target).unwrap();
            let mut twice = once.clone();
            Choices::TABLE.rewrite(&mut twice, target).unwrap();
            assert_eq!(once.nodes().len(), twice.nodes().len());
            tiles(&once)
        };
        let on_cpu = rewritten(LLVMPIPE);
        assert_eq!(on_cpu, [WinogradTile::Four; 8], "two of the stem, three each of stages 1 and 2");
        assert!(rewritten(Target::TILES).is_empty(), "a single picture gives a GPU too little to save");
    }
}
