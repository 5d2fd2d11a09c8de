//! Which kernel computes a convolution's products: one table, which holds for every adapter of a family.
//!
//! A variant decides only in which order products are added up. All variants are correct, and on one adapter each
//! variant gives the same bits every time.

use std::fmt;

use super::shape::{ConvShape, Direction};
use super::splits::busy;
use super::{Kernel, Setting};
use crate::gpu::{Family, Target};

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
    pub(super) rows: usize,
    /// Quads of output channels.
    pub(super) quads: usize,
    threads: usize,
}

/// What a lane on a CPU adapter computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterTile {
    /// The dimension that the lanes of a workgroup lie along: `pixels` or `channels`.
    lanes_along: &'static str,
    /// Pixels, or quads of input channels, that a lane loads.
    own: usize,
    /// Quads of output channels for which a lane keeps sums.
    cols: usize,
}

/// 8 x 8 results a thread: 91 % of the instructions are multiply-adds.
const LARGE: Tile = Tile { rows: 128, quads: 16, threads: 128 };
/// 8 x 4 results a thread: 87 % are multiply-adds.
const NARROW: Tile = Tile { rows: 128, quads: 8, threads: 128 };
/// 4 x 8 results a thread: 85 % are multiply-adds. It gives twice as many workgroups.
const MEDIUM: Tile = Tile { rows: 64, quads: 16, threads: 128 };
/// 4 x 8 results a thread, for a map of 5 x 5 pixels.
const FLAT: Tile = Tile { rows: 32, quads: 16, threads: 64 };

/// A line of a table. The predicates take the shape and the target.
struct Line {
    variant: ConvVariant,
    /// Whether the variant can serve a convolution. If so, it is a candidate for `tune` on adapters of its family.
    fits: fn(&ConvShape, Target) -> bool,
    /// Whether a convolution that fits gets the variant by default, unless a line above is preferred. If not, only a
    /// tuning chooses the variant.
    preferred: fn(&ConvShape, Target) -> bool,
}

/// Maps and their gradients. To add a variant, add a line; no convolution gets it by default until its `preferred`
/// returns true.
///
/// Larger register kernels need fewer loads for a multiply-add, but llvmpipe compiles kernels one after another, and
/// takes as long to compile a kernel as for a hundred runs of it: 3 x 2 is 6 % faster than 4 x 1, but takes twice as
/// long to compile.
const MAPS: &[Line] = &[
    tiles(NARROW, |s, _| s.out_quads() <= NARROW.quads),
    tiles(FLAT, |s, _| s.rows() <= FLAT.rows),
    tiles(MEDIUM, |s, t| s.workgroups(LARGE) < busy(t).map),
    tiles(LARGE, |_, _| true),
    lanes(registers("channels", 4, 1), |s, t| s.out_quads() >= t.lanes, |_, _| true),
    lanes(registers("pixels", 4, 4), |s, _| s.out_quads() >= 4, |_, _| true),
    lanes(registers("pixels", 4, 2), |s, _| s.out_quads() >= 2, |_, _| true),
    lanes(registers("pixels", 8, 1), |s, _| s.out_quads() == 1, |_, _| true),
    lanes(registers("channels", 3, 2), |s, t| s.out_quads() >= t.lanes, |_, _| false),
    lanes(registers("channels", 3, 1), |s, t| s.out_quads() >= t.lanes, |_, _| false),
    lanes(registers("channels", 2, 2), |s, t| s.out_quads() >= t.lanes, |_, _| false),
    lanes(registers("pixels", 8, 4), |s, _| s.out_quads() >= 4, |_, _| false),
    lanes(registers("pixels", 8, 2), |s, _| s.out_quads() >= 2, |_, _| false),
];

/// Gradients of weights. Kernels along pixels wait for their loads on llvmpipe: the one that needs the fewest was the
/// fastest for every shape measured.
const WEIGHTS: &[Line] = &[
    tiles(NARROW, |s, _| s.out_quads() <= NARROW.quads),
    tiles(FLAT, |s, _| s.rows() <= FLAT.rows),
    tiles(MEDIUM, |s, t| s.workgroups(LARGE) < busy(t).weights),
    tiles(LARGE, |_, _| true),
    lanes(registers("channels", 1, 2), |s, t| s.out_quads() > t.lanes, |s, t| s.filled(t.lanes) > 0.7),
    lanes(registers("channels", 1, 1), |s, t| s.out_quads() >= t.lanes, |s, t| s.filled(t.lanes) > 0.7),
    pixels::<1, 1>(),
    pixels::<1, 2>(),
    pixels::<2, 2>(),
    pixels::<2, 4>(),
    pixels::<4, 3>(),
    pixels::<4, 4>(),
    pixels::<5, 4>(),
    pixels::<6, 3>(),
];

const fn tiles(tile: Tile, preferred: fn(&ConvShape, Target) -> bool) -> Line {
    Line { variant: ConvVariant::Tiles(tile), fits: |_, _| true, preferred }
}

const fn lanes(
    tile: RegisterTile,
    fits: fn(&ConvShape, Target) -> bool,
    preferred: fn(&ConvShape, Target) -> bool,
) -> Line {
    Line { variant: ConvVariant::Registers(tile), fits, preferred }
}

/// A weight gradient's kernel along pixels, for the shapes where no other such kernel needs fewer loads. Of several,
/// the first line is the smallest kernel, which compiles the fastest.
const fn pixels<const OWN: usize, const COLS: usize>() -> Line {
    lanes(
        registers("pixels", OWN, COLS),
        |s, _| s.in_quads() >= OWN && s.out_quads() >= COLS,
        |s, t| lines(t, s).filter_map(|line| line.loads(s)).all(|loads| pixel_loads(s, OWN, COLS) <= loads),
    )
}

/// Quads that a weight gradient's kernel along pixels loads for each pixel and tap.
fn pixel_loads(shape: &ConvShape, own: usize, cols: usize) -> usize {
    shape.in_quads().div_ceil(own) * shape.out_quads().div_ceil(cols) * (own + cols)
}

impl Line {
    /// Of a weight gradient's kernel along pixels; `None` for others.
    fn loads(&self, shape: &ConvShape) -> Option<usize> {
        match self.variant {
            ConvVariant::Registers(RegisterTile { lanes_along: "pixels", own, cols }) => {
                Some(pixel_loads(shape, own, cols))
            }
            _ => None,
        }
    }
}

const fn registers(lanes_along: &'static str, own: usize, cols: usize) -> RegisterTile {
    RegisterTile { lanes_along, own, cols }
}

/// Lines that can serve a convolution.
fn lines(target: Target, shape: &ConvShape) -> impl Iterator<Item = &'static Line> {
    let table = if shape.direction == Direction::WeightGrad { WEIGHTS } else { MAPS };
    table.iter().filter(move |line| line.variant.family() == target.family && (line.fits)(shape, target))
}

/// Every variant that can serve a convolution; the first is the one that it gets by default.
pub(super) fn variants(target: Target, shape: &ConvShape) -> Vec<ConvVariant> {
    let mut variants: Vec<ConvVariant> = lines(target, shape).map(|line| line.variant).collect();
    let default = lines(target, shape).position(|line| (line.preferred)(shape, target));
    let default = default.unwrap_or_else(|| unreachable!("a test finds a line for every shape"));
    variants[..=default].rotate_right(1);
    variants
}

impl ConvVariant {
    pub(super) fn family(&self) -> Family {
        match self {
            Self::Tiles(_) => Family::Tiles,
            Self::Registers(_) => Family::Registers,
        }
    }

    /// Pixels and quads of output channels that a workgroup computes of a map.
    pub(super) fn map_block(&self, lanes: usize) -> [usize; 2] {
        match self {
            Self::Tiles(tile) => [tile.rows, tile.quads],
            Self::Registers(tile) => tile.map_block(lanes),
        }
    }

    /// Quads of input channels (of all taps, for GPUs) and of output channels that a workgroup computes of a weight
    /// gradient.
    pub(super) fn weight_block(&self, lanes: usize) -> [usize; 2] {
        match *self {
            Self::Tiles(tile) => [tile.rows / 4, tile.quads],
            Self::Registers(RegisterTile { lanes_along: "pixels", own, cols }) => [own, cols],
            Self::Registers(tile) => [tile.own * lanes, tile.cols * lanes],
        }
    }
}

impl Tile {
    /// Settings of a kernel that includes `conv/product.wgsl`.
    pub(super) fn set(&self, kernel: Kernel) -> Kernel {
        kernel
            .with("rows", Setting::Number(self.rows))
            .with("quads", Setting::Number(self.quads))
            .with("threads", Setting::Number(self.threads))
    }
}

impl RegisterTile {
    fn map_block(&self, lanes: usize) -> [usize; 2] {
        let quads = if self.lanes_along == "pixels" { self.cols } else { self.cols * lanes };
        [self.own * lanes, quads]
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
            Self::Tiles(Tile { rows, quads, threads }) => write!(f, "tiles {rows}x{}, {threads} threads", 4 * quads),
            Self::Registers(RegisterTile { lanes_along, own, cols }) => {
                write!(f, "registers along {lanes_along} {own}x{cols}")
            }
        }
    }
}
