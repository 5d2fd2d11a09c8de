//! How long sums are cut so that a device is busy: into splits that run in parallel. Their results are added in order
//! afterwards.
//!
//! Each split leaves a partial result in scratch memory ([`super::scratch_bytes`]).

use crate::gpu::{Family, Target};
use crate::graph::Spec;
use crate::graph::op::{
    Conv2dInputGrad, Conv2dWeightGrad, DepthwiseWeightGrad, MAX_BINDING_BYTES, MAX_LOOP_ITERATIONS,
};

use super::EACH_WORKGROUP;

/// Workgroups of matrix products that keep a device busy. A product with fewer workgroups is cut into splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Workgroups {
    /// Workgroups for a map or its gradient.
    pub(super) map: usize,
    /// Workgroups for a gradient of weights.
    pub(super) weights: usize,
}

/// Most compute units that are counted. With more, the splits of a gradient of weights could exceed a binding.
const MOST_UNITS: usize = 512;

/// Workgroups of matrix products that keep a target busy.
///
/// On a GPU, these are four for each compute unit, whose registers have room for that many workgroups of 128
/// invocations. On a CPU adapter a workgroup occupies a whole core, so a map always has enough workgroups; but a
/// gradient of weights may be a single block, whose sum is worth cutting.
pub(super) fn busy(target: Target) -> Workgroups {
    match target.family {
        Family::Tiles => {
            let workgroups = 4 * target.compute_units.clamp(1, MOST_UNITS);
            Workgroups { map: workgroups, weights: workgroups }
        }
        Family::Registers => Workgroups { map: 1, weights: 128 },
    }
}

/// Side of the tile for small products, half the side of the largest tile.
const UNIT: usize = 64;

/// Least length of a split, in taps times quads of input channels. A workgroup takes some 0.4 us for four elements
/// where few workgroups share a compute unit, so the shortest split takes a third of the time of the pass that adds up
/// the splits (measured on an H200 with 512 workgroups: RS-50's answer at 160 px takes 8 % less with 12 than with 24).
const SHORTEST_SPLIT: usize = 12;

/// Splits of a convolution's sum over taps and input channels, where `y` is so small that its tiles would leave most of
/// a GPU idle.
pub(super) fn of_forward(w: &Spec, y: &Spec, target: Target) -> usize {
    let [kh, kw, ci, _] = w.as_map();
    of_map(y, [y.rows(), y.last()], kh * kw * ci.div_ceil(4), target)
}

/// Splits of an input gradient's sum over taps and output channels. The phases of a strided convolution run one after
/// another, each over a share of the map and of the taps.
pub(super) fn of_input_grad(op: &Conv2dInputGrad, w: &Spec, dx: &Spec, target: Target) -> usize {
    let [kh, kw, ci, co] = w.as_map();
    let [down, across] = op.window.stride;
    let taps = kh.div_ceil(down) * kw.div_ceil(across);
    let phase = [dx.rows().div_ceil(down * across), ci];
    of_map(dx, phase, taps * co.div_ceil(4), target)
}

/// Splits of the sums of a map over a sequence of taps and quads. `[rows, columns]` of the map are computed at once.
fn of_map(map: &Spec, [rows, columns]: [usize; 2], sequence: usize, target: Target) -> usize {
    let tiles = rows.div_ceil(UNIT) * columns.div_ceil(UNIT);
    let for_binding = (MAX_BINDING_BYTES / split_bytes(map).max(1)) as usize;
    (busy(target).map / tiles.max(1)).min(sequence / SHORTEST_SPLIT).min(for_binding).max(1)
}

/// Bytes of a split's partial result, which is f32 whatever the type of the result.
fn split_bytes(whole: &Spec) -> u64 {
    whole.bytes() / whole.quad_bytes() * 16
}

/// Bytes of the partial results of all splits; 0 where the sum is not cut.
pub(super) fn partial_bytes(splits: usize, whole: &Spec) -> u64 {
    if splits > 1 { splits as u64 * split_bytes(whole) } else { 0 }
}

/// How the sum of a weight gradient is cut into runs of consecutive output lines: its splits. They are added in order,
/// so the outcome does not depend on which finishes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    /// Images in a run.
    pub(super) images: usize,
    /// Runs that an image is cut into; more than 1 only where `images` is 1.
    pub(super) per_image: usize,
    /// Lines of an image in a run.
    pub(super) lines: usize,
    /// Runs in all.
    pub(super) count: usize,
}

/// Least number of pixels in a run: 16 tiles of 16 pixels. With these, adding up the runs costs little in comparison.
const SHORTEST_RUN: usize = 256;

impl Runs {
    /// Enough runs to keep the device busy with workgroups of the largest tile.
    pub(super) fn of_weight_grad(op: &Conv2dWeightGrad, x: &Spec, dy: &Spec, target: Target) -> Self {
        let rows = op.window.taps() * x.last().next_multiple_of(4);
        let tiles = rows.div_ceil(UNIT) * dy.last().div_ceil(UNIT);
        Self::cut(x, dy, (2 * busy(target).weights).div_ceil(tiles))
    }

    /// Enough runs to keep the device busy, where an invocation computes one line of the kernel for one quad.
    pub(super) fn of_depthwise(op: &DepthwiseWeightGrad, x: &Spec, dy: &Spec, target: Target) -> Self {
        Self::cut(x, dy, (EACH_WORKGROUP * busy(target).weights).div_ceil(op.window.kernel[0] * dy.quads()))
    }

    /// About `for_occupancy` runs. There are more if a run's maps would exceed the binding limit, or if an invocation
    /// that walks over a run's pixels would exceed [`MAX_LOOP_ITERATIONS`].
    fn cut(x: &Spec, dy: &Spec, for_occupancy: usize) -> Self {
        let [images, height, width, _] = dy.as_map().map(|d| d.max(1));
        let image_bytes = (x.bytes().max(dy.bytes()) / images as u64).max(1);
        let for_binding = (MAX_BINDING_BYTES / image_bytes) as usize;
        // A line costs one iteration in addition to those of its pixels.
        let line_iterations = width + 1;
        let for_loop = MAX_LOOP_ITERATIONS / (height * line_iterations + 1);
        let shortest = (SHORTEST_RUN / (height * width)).min(images);
        let per_run = images.div_ceil(for_occupancy).max(shortest).min(for_binding).min(for_loop).max(1);
        let lines_for_occupancy = (height * images).div_ceil(for_occupancy).max(SHORTEST_RUN.div_ceil(width));
        let lines_for_loop = MAX_LOOP_ITERATIONS / line_iterations;
        let lines = lines_for_occupancy.min(lines_for_loop).clamp(1, height);
        let per_image = if per_run > 1 { 1 } else { height.div_ceil(lines) };
        Self {
            images: per_run,
            per_image,
            lines: height.div_ceil(per_image),
            count: images.div_ceil(per_run) * per_image,
        }
    }
}

/// How a sum over the rows of a batch is cut into chunks, so that no invocation runs more than [`MAX_LOOP_ITERATIONS`].
/// A sum that is short enough is one chunk. A longer sum has about as many chunks as a chunk has rows, since the
/// chunks' sums are added up in a loop as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowChunks {
    /// Rows of the batch.
    pub(super) rows: usize,
    /// Rows of every chunk but perhaps the last.
    pub(super) chunk_rows: usize,
    /// Number of chunks.
    pub(super) chunks: usize,
}

impl RowChunks {
    /// The chunks of a batch of `rows` rows.
    pub(super) fn over(rows: usize) -> Self {
        let chunk_rows = if rows <= MAX_LOOP_ITERATIONS { rows.max(1) } else { rows.isqrt() + 1 };
        Self { rows, chunk_rows, chunks: rows.div_ceil(chunk_rows) }
    }

    /// Bytes of the chunks' sums, of `sum_bytes` bytes each; 0 where there is one chunk.
    pub(super) fn scratch_bytes(self, sum_bytes: u64) -> u64 {
        if self.chunks > 1 { self.chunks as u64 * sum_bytes } else { 0 }
    }
}
