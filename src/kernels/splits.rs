//! How long sums are cut so that a device is busy: into splits that run side by side, whose results are added in order
//! afterwards.
//!
//! Each split leaves a partial result in scratch memory ([`super::scratch_bytes`]).

use crate::gpu::{Family, Target};
use crate::graph::Spec;
use crate::graph::op::{
    Conv2dInputGrad, Conv2dWeightGrad, DepthwiseWeightGrad, MAX_BINDING_BYTES, MAX_LOOP_ITERATIONS,
};

use super::EACH_WORKGROUP;

/// Workgroups of matrix products that keep a device busy. A product of fewer is cut into splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Workgroups {
    /// Of a map or its gradient.
    pub(super) map: usize,
    /// Of a gradient of weights.
    pub(super) weights: usize,
}

/// Compute units that are told apart: with more, the splits of a gradient of weights could exceed what a binding
/// covers.
const MOST_UNITS: usize = 512;

/// Workgroups of matrix products that keep a target busy.
///
/// On a GPU, four a compute unit: as many of 128 invocations as its registers leave room for. On a CPU adapter each
/// takes a core for itself, so a map always has enough of them; but a gradient of weights may be a single block, whose
/// sum is worth cutting.
pub(super) fn busy(target: Target) -> Workgroups {
    match target.family {
        Family::Tiles => {
            let workgroups = 4 * target.compute_units.clamp(1, MOST_UNITS);
            Workgroups { map: workgroups, weights: workgroups }
        }
        Family::Registers => Workgroups { map: 1, weights: 128 },
    }
}

/// Side of the tile that small products get, half of the largest.
const UNIT: usize = 64;

/// Taps times quads of input channels of a split, at least. A workgroup takes some 0.4 us for four of them where few
/// share a compute unit, so these take a third of the pass that adds up the splits (measured on an H200 with 512
/// workgroups: RS-50's answer at 160 px takes 8 % less with 12 than with 24).
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

/// Splits of the sums of a map, of which `[rows, columns]` are computed at once, over a sequence of taps and quads.
fn of_map(map: &Spec, [rows, columns]: [usize; 2], sequence: usize, target: Target) -> usize {
    let tiles = rows.div_ceil(UNIT) * columns.div_ceil(UNIT);
    let for_binding = (MAX_BINDING_BYTES / split_bytes(map).max(1)) as usize;
    (busy(target).map / tiles.max(1)).min(sequence / SHORTEST_SPLIT).min(for_binding).max(1)
}

/// Bytes of a split's partial result, which is f32 whatever the storage of the whole.
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

/// Pixels of a run, at least: 16 tiles of 16, enough for the sum of the runs to cost little beside.
const SHORTEST_RUN: usize = 256;

impl Runs {
    /// Runs enough to keep the device busy with workgroups of the largest tile.
    pub(super) fn of_weight_grad(op: &Conv2dWeightGrad, x: &Spec, dy: &Spec, target: Target) -> Self {
        let rows = op.window.taps() * x.last().next_multiple_of(4);
        let tiles = rows.div_ceil(UNIT) * dy.last().div_ceil(UNIT);
        Self::cut(x, dy, (2 * busy(target).weights).div_ceil(tiles))
    }

    /// Runs enough for the workgroups that keep the device busy, where an invocation has a quad's line of the kernel.
    pub(super) fn of_depthwise(op: &DepthwiseWeightGrad, x: &Spec, dy: &Spec, target: Target) -> Self {
        Self::cut(x, dy, (EACH_WORKGROUP * busy(target).weights).div_ceil(op.window.kernel[0] * dy.quads()))
    }

    /// About `for_occupancy` runs, or more: their maps stay below the binding limit, and an invocation that walks over
    /// a run's pixels below [`MAX_LOOP_ITERATIONS`].
    fn cut(x: &Spec, dy: &Spec, for_occupancy: usize) -> Self {
        let [images, height, width, _] = dy.as_map().map(|d| d.max(1));
        let image_bytes = (x.bytes().max(dy.bytes()) / images as u64).max(1);
        let for_binding = (MAX_BINDING_BYTES / image_bytes) as usize;
        // A line costs one iteration of its own besides its pixels'.
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
/// A sum that is short enough is one chunk; of others the chunks are as many as each has rows, since they are summed as
/// well.
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
    /// The chunks of so many rows.
    pub(super) fn over(rows: usize) -> Self {
        let chunk_rows = if rows <= MAX_LOOP_ITERATIONS { rows.max(1) } else { rows.isqrt() + 1 };
        Self { rows, chunk_rows, chunks: rows.div_ceil(chunk_rows) }
    }

    /// Bytes of the chunks' sums, each of so many bytes; none where there is one chunk.
    pub(super) fn scratch_bytes(self, sum_bytes: u64) -> u64 {
        if self.chunks > 1 { self.chunks as u64 * sum_bytes } else { 0 }
    }
}
