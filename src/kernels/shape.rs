//! What the choice of a convolution's kernel depends on.

use std::fmt;

use super::dense;
use super::splits::{self, Runs};
use super::variants::Tile;
use crate::gpu::Target;
use crate::graph::op::Window;
use crate::graph::{Graph, Node, Op};

/// What a convolution's kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The output map.
    Forward,
    /// The gradient of the input map.
    InputGrad,
    /// The gradient of the weights.
    WeightGrad,
    /// The matrix products of Winograd's algorithm. There is one split for each position, and tiles take the place of
    /// pixels. Each position reads its own row of the map.
    Products,
}

/// What the choice of a kernel depends on. Its name, as [`fmt::Display`] gives it, stands in tuning files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    pub(super) direction: Direction,
    /// `[N, H, W, Ci]` of the forward pass.
    pub(super) input: [usize; 4],
    pub(super) window: Window,
    pub(super) out_channels: usize,
    /// Splits that each sum is cut into.
    pub(super) splits: usize,
}

impl ConvShape {
    /// Shape of a node's convolution, or of the one that a linear layer runs as; `None` if the node is neither.
    pub fn of(graph: &Graph, node: &Node, target: Target) -> Option<Self> {
        let input = |i: usize| graph.spec(node.inputs[i]);
        let output = || graph.spec(node.outputs[0]);
        let linear;
        let op = match &node.op {
            Op::Linear(op) => {
                linear = dense::as_convolution(op, input(0), input(1))?.into();
                &linear
            }
            Op::LinearInputGrad(_) => &Op::Conv2dInputGrad(dense::INPUT_GRAD),
            Op::LinearWeightGrad(_) => &Op::Conv2dWeightGrad(dense::WEIGHT_GRAD),
            op => op,
        };
        let (direction, window, map, weights, splits) = match op {
            Op::Conv2d(op) => {
                let splits = splits::of_forward(input(1), output(), target);
                (Direction::Forward, op.window, input(0), input(1), splits)
            }
            Op::Conv2dInputGrad(op) => {
                let splits = splits::of_input_grad(op, input(1), output(), target);
                (Direction::InputGrad, op.window, output(), input(1), splits)
            }
            Op::Conv2dWeightGrad(op) => {
                let runs = Runs::of_weight_grad(op, input(0), input(1), target).count;
                (Direction::WeightGrad, op.window, input(0), output(), runs)
            }
            Op::WinogradProduct(_) => {
                let positions = input(0).shape[1];
                let window = Window { kernel: [positions, 1], ..Window::POINTWISE };
                (Direction::Products, window, input(0), input(1), positions)
            }
            _ => return None,
        };
        let [_, _, _, out_channels] = weights.as_map();
        Some(Self { direction, input: map.as_map(), window, out_channels, splits })
    }

    /// Height and width of the map that a dispatch computes: the output map, or for an input gradient one of its
    /// phases. The number of phases is the product of both strides.
    pub(super) fn result(&self) -> [usize; 2] {
        let [_, h, w, _] = self.input;
        match self.direction {
            Direction::InputGrad => [h.div_ceil(self.window.stride[0]), w.div_ceil(self.window.stride[1])],
            _ => self.window.windows([h, w]).unwrap_or_default(),
        }
    }

    /// Pixels of the map that a dispatch computes, in all images.
    pub(super) fn pixels(&self) -> usize {
        self.result().iter().product::<usize>() * self.input[0]
    }

    /// Quads along the rows of the product: the quads that are summed over, or for a weight gradient the input's quads.
    pub(super) fn in_quads(&self) -> usize {
        let [_, _, _, ci] = self.input;
        if self.direction == Direction::InputGrad { self.out_channels } else { ci }.div_ceil(4)
    }

    /// Rows of the product for GPUs: pixels, or for a weight gradient taps times input channels.
    pub(super) fn rows(&self) -> usize {
        match self.direction {
            Direction::WeightGrad => self.window.taps() * self.in_quads() * 4,
            _ => self.pixels(),
        }
    }

    /// Workgroups that compute the product by a tile.
    pub(super) fn workgroups(&self, tile: Tile) -> usize {
        self.rows().div_ceil(tile.rows) * self.out_quads().div_ceil(tile.quads) * self.splits
    }

    /// Share of the lanes that hold channels, if the lanes lie along the channels of the input and of the output.
    pub(super) fn filled(&self, lanes: usize) -> f64 {
        let share = |quads: usize| quads as f64 / quads.next_multiple_of(lanes) as f64;
        share(self.in_quads()) * share(self.out_quads())
    }

    /// Quads along the columns of the product: the quads of the result.
    pub(super) fn out_quads(&self) -> usize {
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
            Direction::Products => "products",
        };
        let Self { window, input: [n, h, w, ci], out_channels, .. } = self;
        write!(f, "{direction} {window}, {n}x{h}x{w}x{ci} to {out_channels}")
    }
}
