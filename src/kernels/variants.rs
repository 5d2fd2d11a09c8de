//! Which kernel serves which convolution: one table, which holds for every adapter of a family, and on the user's word the
//! measurements of `resnet-rs tune`.
//!
//! A variant decides in which order products are added up, nothing else: all of them are right, and on one adapter each of them
//! gives the same bits every time.

use std::collections::BTreeMap;
use std::fmt;

use super::{Kernel, Setting};
use crate::gpu::{Family, Target, Tuning};
use crate::graph::op::{ENOUGH_WORKGROUPS, LinearInputGrad, LinearWeightGrad};
use crate::graph::{Graph, Node, Op};

/// What a convolution's kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The map that comes out.
    Forward,
    /// The gradient of the map that goes in.
    InputGrad,
    /// The gradient of the weights.
    WeightGrad,
}

/// What the choice of a kernel depends on. Its name, as [`fmt::Display`] gives it, stands in tuning files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    direction: Direction,
    /// `[N, H, W, Ci]` of the forward pass.
    input: [usize; 4],
    kernel: [usize; 2],
    stride: usize,
    padding: usize,
    out_channels: usize,
    /// Partial sums that the operation cuts each sum into where GPUs would be idle otherwise.
    parts: usize,
}

impl ConvShape {
    /// Shape of a node's convolution, or of the one that a linear layer runs as; `None` if the node is neither.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let input = |i: usize| graph.spec(node.inputs[i]);
        let output = || graph.spec(node.outputs[0]);
        let linear;
        let op = match &node.op {
            Op::Linear(op) => {
                linear = op.as_convolution(input(0), input(1))?.into();
                &linear
            }
            Op::LinearInputGrad(_) => &Op::Conv2dInputGrad(LinearInputGrad::AS_CONVOLUTION),
            Op::LinearWeightGrad(_) => &Op::Conv2dWeightGrad(LinearWeightGrad::AS_CONVOLUTION),
            op => op,
        };
        let (direction, stride, padding, map, weights, parts) = match op {
            Op::Conv2d(op) => {
                let parts = op.parts(input(1), output());
                (Direction::Forward, op.stride, op.padding, input(0), input(1), parts)
            }
            Op::Conv2dInputGrad(op) => (Direction::InputGrad, op.stride, op.padding, output(), input(1), 1),
            Op::Conv2dWeightGrad(op) => {
                let runs = op.runs(input(0), input(1)).count;
                (Direction::WeightGrad, op.stride, op.padding, input(0), output(), runs)
            }
            _ => return None,
        };
        let [kh, kw, _, out_channels] = weights.as_map();
        Some(Self { direction, input: map.as_map(), kernel: [kh, kw], stride, padding, out_channels, parts })
    }

    /// Pixels of a dispatch: those of the map that comes out; for an input gradient, those of one of its stride x stride phases.
    fn pixels(&self) -> usize {
        let along = |d: usize| match self.direction {
            Direction::InputGrad => self.input[1 + d].div_ceil(self.stride),
            _ => (self.input[1 + d] + 2 * self.padding - self.kernel[d]) / self.stride + 1,
        };
        self.input[0] * along(0) * along(1)
    }

    /// Groups of four channels along the rows of the product: those that are summed over, or for a weight gradient the input's.
    fn in_groups(&self) -> usize {
        let [_, _, _, ci] = self.input;
        if self.direction == Direction::InputGrad { self.out_channels } else { ci }.div_ceil(4)
    }

    /// Rows of the product for GPUs: pixels, or for a weight gradient taps times input channels.
    fn rows(&self) -> usize {
        match self.direction {
            Direction::WeightGrad => self.kernel[0] * self.kernel[1] * self.in_groups() * 4,
            _ => self.pixels(),
        }
    }

    /// Workgroups that compute the product by a tile.
    fn workgroups(&self, tile: Tile) -> usize {
        self.rows().div_ceil(tile.rows) * self.out_groups().div_ceil(tile.groups) * self.parts
    }

    /// Share of the lanes that hold channels where they lie along the input's and the output's.
    fn filled(&self, lanes: usize) -> f64 {
        let share = |groups: usize| groups as f64 / groups.next_multiple_of(lanes) as f64;
        share(self.in_groups()) * share(self.out_groups())
    }

    /// Groups of four channels along the columns of the product, those of the result.
    fn out_groups(&self) -> usize {
        let [_, _, _, ci] = self.input;
        if self.direction == Direction::InputGrad { ci } else { self.out_channels }.div_ceil(4)
    }
}

impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Forward => "forward",
            Direction::InputGrad => "input gradient",
            Direction::WeightGrad => "weight gradient",
        };
        let ([kh, kw], [n, h, w, ci]) = (self.kernel, self.input);
        let Self { stride, padding, out_channels, .. } = self;
        write!(f, "{direction} {kh}x{kw} stride {stride} padding {padding}, {n}x{h}x{w}x{ci} to {out_channels}")
    }
}

/// One way to compute a convolution. Its name, as [`fmt::Display`] gives it, stands in tuning files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvVariant {
    /// For GPUs: `conv/tiles`, `conv/weight_grad_tiles`.
    Tiles(Tile),
    /// For CPU adapters: `conv/registers`, `conv/weight_grad_registers`.
    Registers(RegisterTile),
}

/// What a workgroup on a GPU computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the product: pixels, or taps times input channels.
    rows: usize,
    /// Groups of 4 output channels.
    groups: usize,
    threads: usize,
}

/// What a lane on a CPU adapter computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterTile {
    /// What the lanes of a workgroup lie along: `pixels`, `channels`, or the `lines` of a weight gradient's run.
    lanes_along: &'static str,
    /// Pixels, or groups of input channels, that it loads.
    own: usize,
    /// Groups of output channels that it keeps sums of.
    cols: usize,
}

/// 8 x 8 results a thread: 91 % of the instructions are multiply-adds.
const LARGE: Tile = Tile { rows: 128, groups: 16, threads: 128 };
/// 8 x 4 a thread, 87 %.
const NARROW: Tile = Tile { rows: 128, groups: 8, threads: 128 };
/// 4 x 8 a thread, 85 %, and twice the workgroups.
const MEDIUM: Tile = Tile { rows: 64, groups: 16, threads: 128 };
/// The same for a map of 5 x 5.
const FLAT: Tile = Tile { rows: 32, groups: 16, threads: 64 };

/// A line of a table. The predicates are given the shape and the lanes of a register kernel's workgroup.
struct Line {
    variant: ConvVariant,
    /// What it can serve. All such lines of the adapter's family are candidates for `tune`.
    fits: fn(&ConvShape, usize) -> bool,
    /// Whether it is what a convolution gets that it fits, unless a line above is. Otherwise only a tuning chooses it.
    preferred: fn(&ConvShape, usize) -> bool,
}

/// Maps and their gradients. To add a variant, add a line; nobody gets it by default before its `preferred` says so.
///
/// Of the register kernels, larger ones load less for a multiply-add, and llvmpipe translates them one after another, each as long
/// as a hundred runs of it take: 3 x 2 is 6 % faster than 4 x 1, and takes twice as long to translate.
const MAPS: &[Line] = &[
    tiles(NARROW, |s, _| s.out_groups() <= NARROW.groups),
    tiles(FLAT, |s, _| s.rows() <= FLAT.rows),
    tiles(MEDIUM, |s, _| s.workgroups(LARGE) < ENOUGH_WORKGROUPS),
    tiles(LARGE, |_, _| true),
    lanes(registers("channels", 4, 1), |s, n| s.out_groups() >= n, |_, _| true),
    lanes(registers("pixels", 4, 4), |s, _| s.out_groups() >= 4, |_, _| true),
    lanes(registers("pixels", 4, 2), |s, _| s.out_groups() >= 2, |_, _| true),
    lanes(registers("pixels", 8, 1), |s, _| s.out_groups() == 1, |_, _| true),
    lanes(registers("channels", 3, 2), |s, n| s.out_groups() >= n, |_, _| false),
    lanes(registers("channels", 3, 1), |s, n| s.out_groups() >= n, |_, _| false),
    lanes(registers("channels", 2, 2), |s, n| s.out_groups() >= n, |_, _| false),
    lanes(registers("pixels", 8, 4), |s, _| s.out_groups() >= 4, |_, _| false),
    lanes(registers("pixels", 8, 2), |s, _| s.out_groups() >= 2, |_, _| false),
];

/// Gradients of weights.
const WEIGHTS: &[Line] = &[
    tiles(NARROW, |s, _| s.out_groups() <= NARROW.groups),
    tiles(FLAT, |s, _| s.rows() <= FLAT.rows),
    tiles(MEDIUM, |s, _| s.workgroups(LARGE) < ENOUGH_WORKGROUPS),
    tiles(LARGE, |_, _| true),
    lanes(registers("channels", 1, 1), |s, n| s.out_groups() >= n, |s, n| s.filled(n) > 0.7),
    lanes(registers("lines", 2, 4), |s, _| s.in_groups() >= 2 && s.out_groups() >= 4, |_, _| true),
    lanes(registers("lines", 2, 2), |s, _| s.in_groups() >= 2 && s.out_groups() >= 2, |_, _| true),
    lanes(registers("lines", 1, 1), |_, _| true, |_, _| true),
    lanes(registers("channels", 1, 2), |s, n| s.out_groups() > n, |_, _| false),
    lanes(registers("lines", 4, 4), |s, _| s.in_groups() >= 4 && s.out_groups() >= 4, |_, _| false),
    lanes(registers("lines", 1, 4), |s, _| s.out_groups() >= 4, |_, _| false),
];

const fn tiles(tile: Tile, preferred: fn(&ConvShape, usize) -> bool) -> Line {
    Line { variant: ConvVariant::Tiles(tile), fits: |_, _| true, preferred }
}

const fn lanes(
    tile: RegisterTile,
    fits: fn(&ConvShape, usize) -> bool,
    preferred: fn(&ConvShape, usize) -> bool,
) -> Line {
    Line { variant: ConvVariant::Registers(tile), fits, preferred }
}

const fn registers(lanes_along: &'static str, own: usize, cols: usize) -> RegisterTile {
    RegisterTile { lanes_along, own, cols }
}

/// Lines that can serve a convolution.
fn lines(target: Target, shape: &ConvShape) -> impl Iterator<Item = &'static Line> {
    let table = if shape.direction == Direction::WeightGrad { WEIGHTS } else { MAPS };
    table.iter().filter(move |line| line.variant.family() == target.family && (line.fits)(shape, target.lanes))
}

/// Every variant that can serve a convolution; the first is the one that it gets by default.
pub fn candidates(target: Target, shape: &ConvShape) -> Vec<ConvVariant> {
    let mut variants: Vec<ConvVariant> = lines(target, shape).map(|line| line.variant).collect();
    if let Some(default) = lines(target, shape).position(|line| (line.preferred)(shape, target.lanes)) {
        variants[..=default].rotate_right(1);
    }
    variants
}

impl ConvVariant {
    fn family(&self) -> Family {
        match self {
            Self::Tiles(_) => Family::Tiles,
            Self::Registers(_) => Family::Registers,
        }
    }

    /// Pixels and groups of output channels that a workgroup computes of a map.
    pub(super) fn map_block(&self, lanes: usize) -> [usize; 2] {
        match self {
            Self::Tiles(tile) => [tile.rows, tile.groups],
            Self::Registers(tile) => tile.map_block(lanes),
        }
    }

    /// Groups of input channels (of all taps, for GPUs) and of output channels that a workgroup computes of a weight gradient.
    pub(super) fn weight_block(&self, lanes: usize) -> [usize; 2] {
        match *self {
            Self::Tiles(tile) => [tile.rows / 4, tile.groups],
            Self::Registers(RegisterTile { lanes_along: "lines", own, cols }) => [own, cols],
            Self::Registers(tile) => [tile.own * lanes, tile.cols * lanes],
        }
    }
}

impl Tile {
    /// Settings of a kernel that includes `conv/product.wgsl`.
    pub(super) fn set(&self, kernel: Kernel) -> Kernel {
        kernel
            .with("rows", Setting::Number(self.rows))
            .with("groups", Setting::Number(self.groups))
            .with("threads", Setting::Number(self.threads))
    }
}

impl RegisterTile {
    fn map_block(&self, lanes: usize) -> [usize; 2] {
        let groups = if self.lanes_along == "pixels" { self.cols } else { self.cols * lanes };
        [self.own * lanes, groups]
    }

    /// Settings of a register kernel.
    pub(super) fn set(&self, kernel: Kernel, lanes: usize) -> Kernel {
        kernel
            .with("lanes", Setting::Number(lanes))
            .with("lanes_along", Setting::Text(self.lanes_along))
            .with("own", Setting::Number(self.own))
            .with("cols", Setting::Number(self.cols))
    }
}

impl fmt::Display for ConvVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiles(Tile { rows, groups, threads }) => write!(f, "tiles {rows}x{}, {threads} threads", 4 * groups),
            Self::Registers(RegisterTile { lanes_along, own, cols }) => {
                write!(f, "registers along {lanes_along} {own}x{cols}")
            }
        }
    }
}

/// Which variant serves which convolution: the table's, except where a tuning names another.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    tuned: BTreeMap<String, String>,
}

impl Choices {
    /// The table's alone.
    pub const TABLE: &'static Self = &Self { tuned: BTreeMap::new() };

    /// Those of a tuning.
    pub fn of(tuning: Option<&Tuning>) -> Self {
        Self { tuned: tuning.map(|t| t.choices.clone()).unwrap_or_default() }
    }

    /// This variant for this shape, and the table's for all others.
    pub fn only(shape: &ConvShape, variant: ConvVariant) -> Self {
        Self { tuned: [(shape.to_string(), variant.to_string())].into() }
    }

    /// The variant for a convolution.
    pub fn get(&self, target: Target, shape: &ConvShape) -> ConvVariant {
        let candidates = candidates(target, shape);
        let wanted = self.tuned.get(&shape.to_string());
        let tuned = wanted.and_then(|name| {
            let found = candidates.iter().find(|variant| variant.to_string() == *name);
            if found.is_none() {
                log::warn!(
                    "the tuning names {name:?} for {shape}, which cannot serve it: make a new one with resnet-rs tune"
                );
            }
            found
        });
        *tuned.or(candidates.first()).unwrap_or_else(|| unreachable!("a test finds a line for every shape"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::models::{Input, Mode, Network, PRESETS};
    use crate::selftest::cases;
    use crate::train::{Step, StepOptions};

    const LLVMPIPE: Target = Target { family: Family::Registers, lanes: 8, ..Target::TILES };
    const TARGETS: [Target; 3] = [Target::TILES, LLVMPIPE, Target { lanes: 4, ..LLVMPIPE }];

    fn shapes(graph: &Graph) -> Vec<ConvShape> {
        graph.nodes().iter().filter_map(|node| ConvShape::of(graph, node)).collect()
    }

    #[test]
    fn every_convolution_has_a_variant_of_its_own_family() {
        let mut all: HashSet<ConvShape> = cases::standard()
            .iter()
            .chain(&(0..20).flat_map(cases::random).collect::<Vec<_>>())
            .flat_map(|case| shapes(&case.graph))
            .collect();
        for preset in &PRESETS {
            let config = preset.config(10);
            let inference = Network::build(&config, 1, [96; 2], Input::Tensor, Mode::Inference).unwrap();
            let training = Step::build(&config, 3, [64; 2], Input::Tensor, &StepOptions::default()).unwrap();
            all.extend(shapes(&inference.graph).into_iter().chain(shapes(&training.graph)));
        }
        for shape in &all {
            for target in TARGETS {
                let candidates = candidates(target, shape);
                assert!(candidates.iter().all(|v| v.family() == target.family), "{shape}");
                let names: HashSet<String> = candidates.iter().map(ToString::to_string).collect();
                assert!(!names.is_empty() && names.len() == candidates.len(), "{shape}: {names:?}");
                assert!(lines(target, shape).any(|l| (l.preferred)(shape, target.lanes)), "{shape} has no default");
                assert_eq!(Choices::TABLE.get(target, shape), candidates[0]);
                for variant in candidates {
                    assert_eq!(Choices::only(shape, variant).get(target, shape), variant, "{shape}");
                }
            }
        }
        assert!(all.iter().any(|s| candidates(LLVMPIPE, s).len() > 4), "some convolution leaves a choice");
    }

    #[test]
    fn names_tell_shapes_apart_and_unknown_ones_change_nothing() {
        let shape = ConvShape {
            direction: Direction::InputGrad,
            input: [2, 40, 30, 64],
            kernel: [3, 1],
            stride: 2,
            padding: 1,
            out_channels: 100,
            parts: 1,
        };
        assert_eq!(shape.to_string(), "input gradient 3x1 stride 2 padding 1, 2x40x30x64 to 100");
        assert_eq!((shape.pixels(), shape.in_groups(), shape.out_groups()), (2 * 20 * 15, 25, 16));
        let forward = ConvShape { direction: Direction::Forward, ..shape };
        assert_eq!((forward.pixels(), forward.in_groups(), forward.out_groups()), (2 * 20 * 16, 16, 25));

        let default = Choices::TABLE.get(LLVMPIPE, &shape);
        let other = ConvVariant::Registers(registers("channels", 2, 2));
        assert_ne!(default, other);
        let choices = Choices::only(&shape, other);
        assert_eq!(choices.get(LLVMPIPE, &shape), other);
        assert_eq!(choices.get(LLVMPIPE, &forward), Choices::TABLE.get(LLVMPIPE, &forward));
        assert_eq!(choices.get(Target::TILES, &shape).family(), Family::Tiles, "no variant of another family");
        let unknown = Choices { tuned: [(shape.to_string(), "a kernel of tomorrow".to_owned())].into() };
        assert_eq!(unknown.get(LLVMPIPE, &shape), default);
    }
}
