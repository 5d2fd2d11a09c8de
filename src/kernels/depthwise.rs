//! Depthwise convolution and its gradients.

use super::conv::{size, sum_partials};
use super::splits::Runs;
use super::{Kernel, Lowering, Setting, TooLarge, View, activation, with_window, words};
use crate::graph::op::{DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad, Epilogue, Window};

/// Height and width, in pixels, of the tile of one quad that an invocation computes. Twice the height and width would
/// halve the loads once more, but take registers for some 50 more numbers.
const TILE: [usize; 2] = [2, 4];

/// Most columns of the input that a tile of the output may span. A tile that would span more, as with 5x5 windows of
/// stride 2, is made half as wide, since AMD's compiler would spill registers (docs/isa.md).
const PATCH_COLUMNS: usize = 9;

fn forward_tile(window: &Window) -> [usize; 2] {
    let [down, across] = TILE;
    if (across - 1) * window.stride[1] + window.extent()[1] <= PATCH_COLUMNS { TILE } else { [down, across / 2] }
}

fn shaped(kernel: Kernel, window: &Window, [tile_h, tile_w]: [usize; 2]) -> Kernel {
    with_window(kernel, window).with("tile_h", Setting::Number(tile_h)).with("tile_w", Setting::Number(tile_w))
}

pub(super) fn forward(l: &mut Lowering<'_>, op: &DepthwiseConv2d) -> Result<(), TooLarge> {
    let (x, w, y) = (l.input(0), l.input(1), l.output(0));
    let (window, quads) = (&op.window, x.spec.quads());
    let ([in_h, in_w], [out_h, out_w]) = (size(&x), size(&y));
    let [top, left] = window.before([in_h, in_w]).map(|zeros| zeros as i32);
    let tile = forward_tile(window);
    let [tiles_h, tiles_w] = [out_h.div_ceil(tile[0]), out_w.div_ceil(tile[1])];
    let kernel = shaped(l.kernel("depthwise/forward"), window, tile)
        .with("bias", Setting::Flag(op.bias))
        .with("activation", activation(op.activation));
    for run in l.image_slices(&[x, y])? {
        let mut views = vec![x.images(&run), w.whole(), y.images(&run)];
        views.extend(op.bias.then(|| l.input(2).whole()));
        let params = words! { quads, in_h, in_w, out_h, out_w, top, left, tiles_h, tiles_w };
        l.each(kernel.clone(), views, run.len() * tiles_h * tiles_w * quads, params);
    }
    Ok(())
}

pub(super) fn input_grad(l: &mut Lowering<'_>, op: &DepthwiseInputGrad) -> Result<(), TooLarge> {
    let (dy, w, dx) = (l.input(0), l.input(1), l.output(0));
    let (window, quads) = (&op.window, dx.spec.quads());
    let ([in_h, in_w], [out_h, out_w]) = (op.size, size(&dy));
    let [top, left] = window.before(op.size);
    // Whole multiples of the strides.
    let tile = [0, 1].map(|d| TILE[d].next_multiple_of(window.stride[d]));
    let [tiles_h, tiles_w] = [(top + in_h).div_ceil(tile[0]), (left + in_w).div_ceil(tile[1])];
    let addend = op.addend.then(|| l.input(2));
    let kernel = shaped(l.kernel("depthwise/input_grad"), window, tile).with("addend", Setting::Flag(op.addend));
    let maps: Vec<_> = [dy, dx].into_iter().chain(addend).collect();
    for run in l.image_slices(&maps)? {
        let mut views = vec![dy.images(&run), w.whole(), dx.images(&run)];
        views.extend(addend.map(|a| a.images(&run)));
        let params = words! { quads, in_h, in_w, out_h, out_w, top, left, tiles_h, tiles_w };
        l.each(kernel.clone(), views, run.len() * tiles_h * tiles_w * quads, params);
    }
    Ok(())
}

pub(super) fn weight_grad(l: &mut Lowering<'_>, op: &DepthwiseWeightGrad) -> Result<(), TooLarge> {
    let (x, dy, dw) = (l.input(0), l.input(1), l.output(0));
    let ([in_h, in_w], [out_h, out_w], quads) = (size(&x), size(&dy), x.spec.quads());
    let [top, left] = op.window.before([in_h, in_w]);
    let runs = Runs::of_depthwise(op, x.spec, dy.spec, l.target);
    let partial: View = if runs.count > 1 { l.workspace() } else { dw.whole() };
    let kernel = shaped(l.kernel("depthwise/weight_grad"), &op.window, TILE);
    for slice in l.image_slices_by(&[x, dy], runs.images)? {
        let first_run = slice.start / runs.images * runs.per_image;
        let slice_runs = slice.len().div_ceil(runs.images) * runs.per_image;
        let params = words! {
            quads,
            in_h,
            in_w,
            out_h,
            out_w,
            top,
            left,
            images: slice.len(),
            run_images: runs.images,
            runs_per_image: runs.per_image,
            run_lines: runs.lines,
            first_run,
        };
        let views = vec![x.images(&slice), dy.images(&slice), partial];
        l.each(kernel.clone(), views, slice_runs * op.window.kernel[0] * quads, params);
    }
    if runs.count > 1 {
        sum_partials(l, runs.count, &Epilogue::NONE, [partial, dw.whole()], &[]);
    }
    Ok(())
}
