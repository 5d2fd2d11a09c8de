//! Batch normalisation.

use super::{Kernel, Lowering, Operand, Setting, TooLarge, View, activation, fold, words};
use crate::graph::op::{
    BatchNorm, BatchNormGrad, BatchNormInference, FoldBatchNorm, MAX_BINDING_BYTES, MAX_LOOP_ITERATIONS, Normalize,
    OFFSET_ALIGNMENT_BYTES, Statistics,
};
use crate::graph::{Activation, Layout, Spec};

/// Rows that an invocation of an elementwise kernel takes, so that it loads the channel's statistics and parameters
/// once for all of these rows.
const RUN_ROWS: usize = 4;

/// How a reduction over the pixels of a map is cut into chunks of consecutive rows, so that its order is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reduction {
    /// Rows of the map: `N * H * W`.
    pub(super) rows: usize,
    /// Rows in every chunk but perhaps the last: a multiple of 16, or of 32 where a chunk must be that long to start
    /// aligned in memory. `norm/chunks.wgsl` needs a multiple of 8.
    pub(super) chunk_rows: usize,
    /// Number of chunks.
    pub(super) chunks: usize,
}

impl Reduction {
    /// Quads that a workgroup of `norm/chunks.wgsl` takes.
    const COLUMN_QUADS: usize = 8;

    /// Chunks of at least 64 rows that give 512 workgroups of 8 quads each: plenty of parallel work, with few partial
    /// results to merge.
    pub(super) fn over(map: &Spec) -> Self {
        let rows = map.rows();
        let chunks = (512 / Self::column_blocks(map)).max(1);
        // A row is a multiple of 16 bytes, except for an odd number of quads in f16, which have 8 bytes each.
        let row_bytes = map.quads() as u64 * map.quad_bytes();
        let factor_bytes = if row_bytes.is_multiple_of(16) { 16 } else { 8 };
        let aligned_rows = (OFFSET_ALIGNMENT_BYTES / factor_bytes) as usize;
        let chunk_rows = rows.div_ceil(chunks).next_multiple_of(aligned_rows).clamp(64, MAX_LOOP_ITERATIONS);
        Self { rows, chunk_rows, chunks: rows.div_ceil(chunk_rows) }
    }

    /// Workgroups side by side along a map's channels.
    fn column_blocks(map: &Spec) -> usize {
        map.quads().div_ceil(Self::COLUMN_QUADS)
    }

    /// Bytes of two partial results per chunk and channel.
    pub(super) fn scratch_bytes(map: &Spec) -> u64 {
        (Self::over(map).chunks * 2 * map.quads() * 16) as u64
    }
}

/// Runs of rows, each a whole number of chunks, that fit one binding.
fn row_slices(map: &Operand<'_>, reduction: &Reduction) -> Vec<std::ops::Range<usize>> {
    let row_bytes = map.spec.bytes() / reduction.rows as u64;
    let chunks = (MAX_BINDING_BYTES / (row_bytes * reduction.chunk_rows as u64)).max(1) as usize;
    let step = chunks * reduction.chunk_rows;
    (0..reduction.rows).step_by(step).map(|first| first..(first + step).min(reduction.rows)).collect()
}

/// Launches a kernel of `norm/chunks.wgsl`'s form, which leaves sums per chunk and channel in the workspace.
pub(super) fn partial(
    l: &mut Lowering<'_>,
    kernel: Kernel,
    maps: &[Operand<'_>],
    vectors: &[View],
    reduction: &Reduction,
    eps: f32,
) {
    let quads = maps[0].spec.quads();
    let column_blocks = Reduction::column_blocks(maps[0].spec);
    let kernel = kernel.with("column_quads", Setting::Number(Reduction::COLUMN_QUADS));
    for run in row_slices(&maps[0], reduction) {
        let chunks = run.len().div_ceil(reduction.chunk_rows);
        let first_chunk = run.start / reduction.chunk_rows;
        let mut views: Vec<View> = maps.iter().map(|m| m.rows(&run)).collect();
        views.extend(vectors);
        views.push(l.workspace());
        let params = words! {
            quads,
            column_blocks,
            rows: run.len(),
            chunk_rows: reduction.chunk_rows,
            first_chunk,
            eps,
        };
        l.launch(kernel.clone(), views, params, fold(chunks * column_blocks));
    }
}

pub(super) fn batch_norm(l: &mut Lowering<'_>, op: &BatchNorm) {
    let (x, mean, inverse_deviation) = (l.input(0), l.output(1).whole(), l.output(2).whole());
    let (quads, reduction) = (x.spec.quads(), Reduction::over(x.spec));
    partial(l, l.kernel("norm/partial_statistics"), &[x], &[], &reduction, op.eps);
    let views = vec![l.workspace(), mean, inverse_deviation, l.update(0).whole(), l.update(1).whole()];
    let params = words! {
        rows: reduction.rows,
        chunk_rows: reduction.chunk_rows,
        chunks: reduction.chunks,
        eps: op.eps,
        momentum: op.momentum,
    };
    l.team(Kernel::new("norm/merge_statistics"), views, quads, params);
    let vectors = [l.input(1).whole(), l.input(2).whole(), mean, inverse_deviation];
    normalize_rows(l, &vectors, op.activation);
}

pub(super) fn normalize(l: &mut Lowering<'_>, op: &Normalize) {
    let vectors = [1, 2, 3, 4].map(|i| l.input(i).whole());
    normalize_rows(l, &vectors, op.activation);
}

/// `vectors`: gamma, beta, mean, inverse deviation.
fn normalize_rows(l: &mut Lowering<'_>, vectors: &[View; 4], function: Activation) {
    let (x, y) = (l.input(0), l.output(0));
    let quads = x.spec.quads();
    for run in row_slices(&x, &Reduction::over(x.spec)) {
        let mut views = vec![x.rows(&run)];
        views.extend(vectors);
        views.push(y.rows(&run));
        let (kernel, rows) = (normalize_kernel(l, false, function), run.len());
        l.each(kernel, views, rows.div_ceil(RUN_ROWS) * quads, words! { quads, rows });
    }
}

fn normalize_kernel(l: &Lowering<'_>, from_variance: bool, function: Activation) -> Kernel {
    l.kernel("norm/normalize")
        .with("run", Setting::Number(RUN_ROWS))
        .with("from_variance", Setting::Flag(from_variance))
        .with("activation", activation(function))
}

pub(super) fn batch_norm_grad(l: &mut Lowering<'_>, op: &BatchNormGrad) {
    let (x, dy, dx) = (l.input(0), l.input(1), l.output(0));
    let (quads, reduction) = (x.spec.quads(), Reduction::over(x.spec));
    let vectors: Vec<View> = (2..6).map(|i| l.input(i).whole()).collect();
    let (running, eps) = match op.statistics {
        Statistics::Batch => (false, 0.0),
        Statistics::Running { eps, .. } => (true, eps),
    };
    let kernel = |l: &Lowering<'_>, name| {
        let kernel = l.kernel(name).with("activation", activation(op.activation));
        kernel.with("running", Setting::Flag(running))
    };
    if op.learns() {
        partial(l, kernel(l, "norm/partial_gradients"), &[x, dy], &vectors, &reduction, eps);
        let views = vec![l.workspace(), l.output(1).whole(), l.output(2).whole()];
        let params = words! { chunks: reduction.chunks, rows: reduction.rows as f32 };
        l.team(Kernel::new("norm/merge_gradients"), views, quads, params);
    }
    for run in row_slices(&x, &reduction) {
        let mut views = vec![x.rows(&run), dy.rows(&run)];
        views.extend(&vectors);
        if !running {
            views.push(l.workspace());
        }
        views.push(dx.rows(&run));
        let kernel = kernel(l, "norm/input_gradient").with("run", Setting::Number(RUN_ROWS));
        let rows = run.len();
        l.each(kernel, views, rows.div_ceil(RUN_ROWS) * quads, words! { quads, rows, eps });
    }
}

pub(super) fn batch_norm_inference(l: &mut Lowering<'_>, op: &BatchNormInference) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    for run in l.image_slices(&[x, y])? {
        let mut views = vec![x.images(&run)];
        views.extend((1..5).map(|i| l.input(i).whole()));
        views.push(y.images(&run));
        let kernel = normalize_kernel(l, true, op.activation);
        let (quads, rows) = (x.spec.quads(), run.len() * x.pixels());
        l.each(kernel, views, rows.div_ceil(RUN_ROWS) * quads, words! { quads, rows, eps: op.eps });
    }
    Ok(())
}

pub(super) fn fold_batch_norm(l: &mut Lowering<'_>, op: &FoldBatchNorm) {
    let w = l.input(0);
    let quads = w.spec.quads();
    let mut views: Vec<View> = (0..5).map(|i| l.input(i).whole()).collect();
    views.extend([l.output(0).whole(), l.output(1).whole()]);
    let kernel = Kernel::new("norm/fold").with("depthwise", Setting::Flag(w.spec.layout == Layout::Depthwise));
    l.each(kernel, views, w.vec4() + quads, words! { weights: w.vec4(), quads, eps: op.eps });
}
