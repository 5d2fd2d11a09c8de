//! Pools.

use std::ops::Range;

use super::{Kernel, Lowering, Operand, Params, Setting, TooLarge, conv::size, with_window, words};
use crate::graph::Spec;
use crate::graph::op::{AvgPool, AvgPoolGrad, GlobalAvgPoolGrad, MaxPool, MaxPoolGrad, Window};

/// How a sum over the pixels of each image is cut into chunks, for parallel work and a fixed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PixelChunks {
    /// Height times width.
    pub(super) pixels: usize,
    /// Pixels in every chunk but perhaps the last.
    pub(super) chunk_pixels: usize,
    /// Chunks in an image.
    pub(super) chunks: usize,
}

impl PixelChunks {
    /// Chunks of 256 pixels, or longer ones where an image would have more than 256 chunks.
    pub(super) fn over(map: &Spec) -> Self {
        let pixels = map.shape[1..map.shape.len() - 1].iter().product::<usize>().max(1);
        let chunk_pixels = pixels.div_ceil(256).max(256);
        Self { pixels, chunk_pixels, chunks: pixels.div_ceil(chunk_pixels) }
    }

    /// Bytes of one partial sum per image, chunk and channel; 0 where each image is a single chunk.
    pub(super) fn scratch_bytes(map: &Spec) -> u64 {
        let chunks = Self::over(map).chunks;
        if chunks > 1 { (map.shape[0] * chunks * map.quads() * 16) as u64 } else { 0 }
    }
}

pub(super) fn global_avg(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    let cut = PixelChunks::over(x.spec);
    let quads = x.spec.quads();
    let mean = 1.0 / cut.pixels as f32;
    for run in l.image_slices(&[x, y])? {
        let (sums, scale) = if cut.chunks == 1 { (y.images(&run), mean) } else { (l.workspace(), 1.0) };
        let PixelChunks { pixels, chunk_pixels, chunks } = cut;
        let params = words! { quads, pixels, chunk_pixels, chunks, scale };
        let count = run.len() * cut.chunks * quads;
        let kernel = l.kernel("pool/global_avg").with("to_map", Setting::Flag(cut.chunks == 1 && y.spec.is_map()));
        l.team(kernel, vec![x.images(&run), sums], count, params);
        sum_chunks(l, &cut, y, &run, mean);
    }
    Ok(())
}

/// If there is more than one chunk, adds the chunks' sums of a run of images, which lie in the workspace.
pub(super) fn sum_chunks(l: &mut Lowering<'_>, cut: &PixelChunks, y: Operand<'_>, run: &Range<usize>, scale: f32) {
    if cut.chunks > 1 {
        let params = words! { quads: y.spec.quads(), chunks: cut.chunks, scale };
        let kernel = l.kernel_storing(y.spec.dtype, "pool/sum_chunks");
        l.each(kernel, vec![l.workspace(), y.images(run)], y.vec4_in(run), params);
    }
}

pub(super) fn global_avg_grad(l: &mut Lowering<'_>, op: &GlobalAvgPoolGrad) -> Result<(), TooLarge> {
    let params = words! { quads: l.output(0).spec.quads(), pixels: op.size[0] * op.size[1] };
    let kernel = l.kernel("pool/global_avg_grad").with("of_map", Setting::Flag(l.input(0).spec.is_map()));
    gradient(l, kernel, op.addend, &params)
}

pub(super) fn avg(l: &mut Lowering<'_>, op: &AvgPool) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    let kernel = l.kernel("pool/avg").with("zeros_count", Setting::Flag(op.zeros_count));
    windows(l, kernel, &op.window, &[x, y], [x, y])
}

pub(super) fn max(l: &mut Lowering<'_>, op: &MaxPool) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    windows(l, l.kernel("pool/max"), &op.window, &[x, y], [x, y])
}

pub(super) fn avg_grad(l: &mut Lowering<'_>, op: &AvgPoolGrad) -> Result<(), TooLarge> {
    let AvgPool { window, zeros_count } = op.pool;
    let params = window_params(&window, l.output(0), l.input(0));
    let kernel = with_window(l.kernel("pool/avg_grad"), &window).with("zeros_count", Setting::Flag(zeros_count));
    gradient(l, kernel, op.addend, &params)
}

fn gradient(l: &mut Lowering<'_>, kernel: Kernel, addend: bool, params: &Params) -> Result<(), TooLarge> {
    let addend = addend.then(|| l.input(1));
    let maps: Vec<Operand<'_>> = [l.input(0), l.output(0)].into_iter().chain(addend).collect();
    let kernel = kernel.with("addend", Setting::Flag(addend.is_some()));
    for run in l.image_slices(&maps)? {
        let views = maps.iter().map(|m| m.images(&run)).collect();
        l.each(kernel.clone(), views, maps[1].vec4_in(&run), params.clone());
    }
    Ok(())
}

pub(super) fn max_grad(l: &mut Lowering<'_>, op: &MaxPoolGrad) -> Result<(), TooLarge> {
    let (x, dy, dx) = (l.input(0), l.input(1), l.output(0));
    windows(l, l.kernel("pool/max_grad"), &op.window, &[x, dy, dx], [x, dy])
}

/// Launches a kernel that reads or writes a map and a map of windows over it. It writes the last of `maps`.
fn windows(
    l: &mut Lowering<'_>,
    kernel: Kernel,
    window: &Window,
    maps: &[Operand<'_>],
    [map, windows]: [Operand<'_>; 2],
) -> Result<(), TooLarge> {
    let params = window_params(window, map, windows);
    let kernel = with_window(kernel, window);
    for run in l.image_slices(maps)? {
        let views = maps.iter().map(|m| m.images(&run)).collect();
        let count = maps[maps.len() - 1].vec4_in(&run);
        l.each(kernel.clone(), views, count, params.clone());
    }
    Ok(())
}

/// The parameters of a kernel that reads or writes a map and a map of windows over it.
fn window_params(window: &Window, map: Operand<'_>, windows: Operand<'_>) -> Params {
    let ([in_h, in_w], [out_h, out_w]) = (size(&map), size(&windows));
    let [top, left] = window.before([in_h, in_w]).map(|zeros| zeros as i32);
    words! { quads: map.spec.quads(), in_h, in_w, out_h, out_w, top, left }
}
