//! Convolution and its gradients.

use super::norm::{self, Reduction};
use super::shape::{ConvShape, Direction};
use super::splits::{self, Runs};
use super::{ConvVariant, Kernel, Launch, Lowering, Operand, Setting, TooLarge, View, activation, fold, words};
use crate::gpu::Family;
use crate::graph::op::{Activation, BiasGrad, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue, Window};
use crate::graph::plan::Scratch;
use crate::graph::{Graph, Node};

/// Index among a launch's views of the weights, and of the first of the epilogue's operands: bias, gate, shortcut.
const WEIGHTS: usize = 1;
const EPILOGUE: usize = 3;

/// One dispatch's way over the input; see `shaders/conv/walk.wgsl`.
struct Walk {
    images: usize,
    grid: [usize; 2],
    out: [usize; 2],
    out_step: [usize; 2],
    out_origin: [usize; 2],
    input: [usize; 2],
    in_step: [usize; 2],
    in_origin: [i32; 2],
    tap_step: [i32; 2],
    taps: [usize; 2],
    first_tap: usize,
    kernel_rows: usize,
    in_quads: usize,
    out_quads: usize,
}

impl Walk {
    /// With more than one split, the output receives each split's bare sums, one after another.
    fn launch(
        &self,
        l: &Lowering<'_>,
        variant: ConvVariant,
        splits: usize,
        epilogue: &Epilogue,
        mut views: Vec<View>,
    ) -> Launch {
        let pixels = self.images * self.grid[0] * self.grid[1];
        let [block_pixels, block_quads] = variant.map_block(l.target.lanes);
        let kernel = |template| l.kernel_with_weights(template, l.input(1).spec);
        let rectified = epilogue.activation == Activation::Relu;
        let kernel = match variant {
            ConvVariant::Tiles(tile) => {
                let kernel = tile.set(kernel("conv/tiles")).with("strided", Setting::Flag(self.out_step != [1; 2]));
                with_epilogue(kernel.with("split", Setting::Flag(splits > 1)), epilogue)
            }
            ConvVariant::Registers(tile) => {
                // This kernel chooses its epilogue at run time, except for activations other than ReLU. So some buffer
                // must be bound in place of an absent operand.
                for (i, present) in [epilogue.bias, epilogue.gate, epilogue.shortcut].into_iter().enumerate() {
                    if !present {
                        views.insert(EPILOGUE + i, views[WEIGHTS]);
                    }
                }
                let rest = if rectified { Activation::Identity } else { epilogue.activation };
                tile.set(kernel("conv/registers"), l.target.lanes).with("activation", activation(rest))
            }
        };
        let sequence = self.taps[0] * self.taps[1] * self.in_quads;
        // If there are as many splits as rows of taps, each split is one row. Otherwise a split may end anywhere, but
        // its length is a multiple of four, since tiles take four elements at a time.
        let split_length = match splits {
            _ if splits == self.taps[0] => self.taps[1] * self.in_quads,
            _ => sequence.div_ceil(splits).next_multiple_of(4),
        };
        let column_blocks = self.out_quads.div_ceil(block_quads);
        let params = words! {
            pixels,
            grid_h: self.grid[0],
            grid_w: self.grid[1],
            out_h: self.out[0],
            out_w: self.out[1],
            out_step_y: self.out_step[0],
            out_step_x: self.out_step[1],
            out_y0: self.out_origin[0],
            out_x0: self.out_origin[1],
            in_h: self.input[0],
            in_w: self.input[1],
            in_step_y: self.in_step[0] as i32,
            in_step_x: self.in_step[1] as i32,
            in_y0: self.in_origin[0],
            in_x0: self.in_origin[1],
            tap_step_y: self.tap_step[0],
            tap_step_x: self.tap_step[1],
            taps_h: self.taps[0],
            taps_w: self.taps[1],
            first_tap: self.first_tap,
            kernel_rows: self.kernel_rows,
            in_quads: self.in_quads,
            out_quads: self.out_quads,
            column_blocks,
            splits,
            split_length,
            split_size: self.images * self.out[0] * self.out[1] * self.out_quads,
            has_bias: u32::from(epilogue.bias),
            has_gate: u32::from(epilogue.gate),
            has_shortcut: u32::from(epilogue.shortcut),
            rectified: u32::from(rectified),
        };
        Launch { kernel, views, params, workgroups: fold(splits * pixels.div_ceil(block_pixels) * column_blocks) }
    }
}

pub(super) fn with_epilogue(kernel: Kernel, epilogue: &Epilogue) -> Kernel {
    kernel
        .with("bias", Setting::Flag(epilogue.bias))
        .with("gate", Setting::Flag(epilogue.gate))
        .with("shortcut", Setting::Flag(epilogue.shortcut))
        .with("activation", activation(epilogue.activation))
}

/// Adds the splits' partial results of `y`, which is a map, a run of a map's images, or weights. `rest` are the
/// epilogue's operands.
pub(super) fn sum_partials(
    l: &mut Lowering<'_>,
    splits: usize,
    epilogue: &Epilogue,
    [partial, y]: [View; 2],
    rest: &[View],
) {
    let output = l.output(0);
    let image = output.vec4() / output.spec.shape[0].max(1);
    let kernel = with_epilogue(l.kernel_storing(output.spec.dtype, "conv/sum_partials"), epilogue);
    let views = [&[partial, y], rest].concat();
    let count = (y.bytes / output.spec.quad_bytes()) as usize;
    l.each(kernel, views, count, words! { splits, image, out_quads: output.spec.quads() });
}

/// [`super::scratch_bytes`] for a node that runs as a convolution of this shape.
pub(super) fn scratch_bytes(graph: &Graph, node: &Node, shape: &ConvShape, which: Scratch) -> u64 {
    match (shape.direction, which) {
        (Direction::Forward | Direction::WeightGrad, Scratch::Workspace)
        | (Direction::InputGrad, Scratch::Partials) => splits::partial_bytes(shape.splits, graph.spec(node.outputs[0])),
        // The kernel with its channels exchanged.
        (Direction::InputGrad, Scratch::Workspace) => graph.spec(node.inputs[1]).bytes(),
        (Direction::Products, _) | (Direction::Forward | Direction::WeightGrad, Scratch::Partials) => 0,
    }
}

pub(super) fn size(map: &Operand<'_>) -> [usize; 2] {
    let [_, h, w, _] = map.spec.as_map();
    [h, w]
}

pub(super) fn forward(l: &mut Lowering<'_>, op: &Conv2d) -> Result<(), TooLarge> {
    let (x, w, y) = (l.input(0), l.input(1), l.output(0));
    let mut maps = vec![x, y];
    let (variant, window) = (l.variant(), op.window);
    let padding = window.before(size(&x));
    // The gate and the shortcut have a batch dimension, too.
    maps.extend((2 + usize::from(op.epilogue.bias)..l.node.inputs.len()).map(|i| l.input(i)));
    let splits = splits::of_forward(w.spec, y.spec, l.target);
    for run in l.image_slices(&maps)? {
        let walk = Walk {
            images: run.len(),
            grid: size(&y),
            out: size(&y),
            out_step: [1; 2],
            out_origin: [0; 2],
            input: size(&x),
            in_step: window.stride,
            in_origin: padding.map(|zeros| -(zeros as i32)),
            tap_step: window.dilation.map(|step| step as i32),
            taps: window.kernel,
            first_tap: 0,
            kernel_rows: w.vec4() / y.spec.quads(),
            in_quads: x.spec.quads(),
            out_quads: y.spec.quads(),
        };
        let bias = op.epilogue.bias.then(|| l.input(2).whole());
        let rest: Vec<View> = bias.into_iter().chain(maps[2..].iter().map(|m| m.images(&run))).collect();
        let mut views = vec![x.images(&run), w.whole(), y.images(&run)];
        if splits > 1 {
            views[2] = l.workspace();
            l.launches.push(walk.launch(l, variant, splits, &Epilogue::NONE, views));
            sum_partials(l, splits, &op.epilogue, [l.workspace(), y.images(&run)], &rest);
        } else {
            views.extend(rest);
            l.launches.push(walk.launch(l, variant, 1, &op.epilogue, views));
        }
    }
    Ok(())
}

/// The matrix products of Winograd's algorithm, computed as one convolution. Its kernel has a row for each product, and
/// each row is a split of the sum, so the splits' results are the products.
pub(super) fn products(l: &mut Lowering<'_>) {
    let (v, u, m) = (l.input(0), l.input(1), l.output(0));
    let [_, positions, tiles, _] = v.spec.as_map();
    let walk = Walk {
        images: 1,
        grid: [1, tiles],
        out: [1, tiles],
        out_step: [1; 2],
        out_origin: [0; 2],
        input: [positions, tiles],
        in_step: [1; 2],
        in_origin: [0; 2],
        tap_step: [1; 2],
        taps: [positions, 1],
        first_tap: 0,
        kernel_rows: u.vec4() / m.spec.quads(),
        in_quads: v.spec.quads(),
        out_quads: m.spec.quads(),
    };
    let views = vec![v.whole(), u.whole(), m.whole()];
    l.launches.push(walk.launch(l, l.variant(), positions, &Epilogue::NONE, views));
}

pub(super) fn input_grad(l: &mut Lowering<'_>, op: &Conv2dInputGrad) -> Result<(), TooLarge> {
    let (dy, w, dx) = (l.input(0), l.input(1), l.output(0));
    let Window { kernel, stride, dilation, .. } = op.window;
    let padding = op.window.before(op.size);
    let exchanged = l.workspace();
    let splits = splits::of_input_grad(op, w.spec, dx.spec, l.target);
    let params = words! {
        in_quads: dx.spec.quads(),
        out_quads: dy.spec.quads(),
        kernel_h: kernel[0],
        kernel_w: kernel[1],
        stride_h: stride[0],
        stride_w: stride[1],
    };
    l.each(l.kernel_in_full("conv/exchange_channels"), vec![w.whole(), exchanged], w.vec4() / 4, params);

    let addend = op.addend.then(|| l.input(2));
    let maps: Vec<_> = [dy, dx].into_iter().chain(addend).collect();
    let epilogue = Epilogue { shortcut: op.addend, ..Epilogue::NONE };
    let variant = l.variant();
    for run in l.image_slices(&maps)? {
        let mut first_tap = 0;
        for first in (0..stride[0] * stride[1]).map(|i| [i / stride[1], i % stride[1]]) {
            // Along each axis: which pixels see kernel row `first`, how many rows they see, and where the first one
            // reads. An axis with dilation has no stride and so a single phase.
            let phase = [0, 1].map(|d| (first[d] + stride[d] - padding[d] % stride[d]) % stride[d]);
            let taps = [0, 1].map(|d| kernel[d].saturating_sub(first[d]).div_ceil(stride[d]));
            first_tap += taps[0] * taps[1];
            let grid = [0, 1].map(|d| op.size[d].saturating_sub(phase[d]).div_ceil(stride[d]));
            if grid.contains(&0) {
                continue;
            }
            let walk = Walk {
                images: run.len(),
                grid,
                out: op.size,
                out_step: stride,
                out_origin: phase,
                input: size(&dy),
                in_step: [1; 2],
                in_origin: [0, 1].map(|d| ((phase[d] + padding[d] - first[d]) / stride[d]) as i32),
                tap_step: dilation.map(|step| -(step as i32)),
                taps,
                first_tap: first_tap - taps[0] * taps[1],
                kernel_rows: w.vec4() / dx.spec.quads(),
                in_quads: dy.spec.quads(),
                out_quads: dx.spec.quads(),
            };
            let mut views = vec![dy.images(&run), exchanged, dx.images(&run)];
            if splits > 1 {
                views[2] = l.scratch(Scratch::Partials);
                l.launches.push(walk.launch(l, variant, splits, &Epilogue::NONE, views));
            } else {
                views.extend(addend.map(|a| a.images(&run)));
                l.launches.push(walk.launch(l, variant, 1, &epilogue, views));
            }
        }
        if splits > 1 {
            let rest: Vec<View> = addend.map(|a| a.images(&run)).into_iter().collect();
            sum_partials(l, splits, &epilogue, [l.scratch(Scratch::Partials), dx.images(&run)], &rest);
        }
    }
    Ok(())
}

pub(super) fn weight_grad(l: &mut Lowering<'_>, op: &Conv2dWeightGrad) -> Result<(), TooLarge> {
    let (x, dy, dw) = (l.input(0), l.input(1), l.output(0));
    let ([in_h, in_w], [out_h, out_w]) = (size(&x), size(&dy));
    let (window, [kernel_h, kernel_w]) = (op.window, op.window.kernel);
    let (in_quads, out_quads) = (x.spec.quads(), dy.spec.quads());
    // Matrix products in a run, and quads of rows in each product. Tiles compute all taps as one product.
    let (products, row_quads) = match l.target.family {
        Family::Tiles => (1, kernel_h * kernel_w * in_quads),
        Family::Registers => (kernel_h * kernel_w, in_quads),
    };
    let runs = Runs::of_weight_grad(op, x.spec, dy.spec, l.target);
    let [top, left] = window.before([in_h, in_w]);
    let variant = l.variant();
    let kernel = match variant {
        ConvVariant::Tiles(tile) => tile.set(l.kernel("conv/weight_grad_tiles")),
        ConvVariant::Registers(tile) => tile.set(l.kernel("conv/weight_grad_registers"), l.target.lanes),
    };
    let [block_rows, block_quads] = variant.weight_block(l.target.lanes);
    let partial = if runs.count > 1 { l.workspace() } else { dw.whole() };
    let row_blocks = row_quads.div_ceil(block_rows);
    let column_blocks = out_quads.div_ceil(block_quads);
    for slice in l.image_slices_by(&[x, dy], runs.images)? {
        let params = words! {
            images: slice.len(),
            run_images: runs.images,
            runs_per_image: runs.per_image,
            run_lines: runs.lines,
            first_run: slice.start / runs.images * runs.per_image,
            in_h,
            in_w,
            out_h,
            out_w,
            kernel_h,
            kernel_w,
            stride_h: window.stride[0],
            stride_w: window.stride[1],
            dilation_h: window.dilation[0],
            dilation_w: window.dilation[1],
            top,
            left,
            in_quads,
            out_quads,
            row_blocks,
            column_blocks,
        };
        let slice_runs = slice.len().div_ceil(runs.images) * runs.per_image;
        let blocks = slice_runs * products * row_blocks * column_blocks;
        l.launch(kernel.clone(), vec![x.images(&slice), dy.images(&slice), partial], params, fold(blocks));
    }
    if runs.count > 1 {
        sum_partials(l, runs.count, &Epilogue::NONE, [partial, dw.whole()], &[]);
    }
    Ok(())
}

pub(super) fn bias_grad(l: &mut Lowering<'_>, op: &BiasGrad) {
    let (dy, db) = (l.input(0), l.output(0));
    let reduction = Reduction::over(dy.spec);
    let maps = if op.relu { vec![dy, l.input(1), l.output(1)] } else { vec![dy] };
    let kernel = l.kernel("conv/bias_grad").with("relu", Setting::Flag(op.relu));
    norm::partial(l, kernel, &maps, &[], &reduction, 0.0);
    let params = words! { quads: db.spec.quads(), chunks: reduction.chunks, scale: 1.0 };
    let kernel = l.kernel_storing(db.spec.dtype, "pool/sum_chunks");
    l.each(kernel, vec![l.workspace(), db.whole()], db.spec.quads(), params);
}
