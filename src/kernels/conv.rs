//! Convolution and its gradients.

use super::{Kernel, Launch, Lowering, Operand, Setting, TooLarge, View, activation, fold, words};
use crate::gpu::Family;
use crate::graph::op::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue};

/// Shape of a register kernel's workgroup, as wide as a subgroup.
#[derive(Clone, Copy, Debug)]
struct RegisterTile {
    lanes: usize,
    lanes_along: &'static str,
    /// Pixels that a lane loads.
    own: usize,
    /// Groups of output channels that a lane keeps.
    cols: usize,
}

impl RegisterTile {
    /// Larger tiles load less for a multiply-add, and take llvmpipe longer to compile than a short run takes.
    fn for_layer(lanes: usize, pixels: usize, groups: usize) -> Self {
        if groups < lanes {
            return Self { lanes, lanes_along: "pixels", own: 8, cols: groups.min(4) };
        }
        let deep = Self { lanes, lanes_along: "channels", own: 4, cols: 1 };
        let wide = Self { lanes, lanes_along: "channels", own: 3, cols: 2 };
        // On a map of few pixels what counts is how many sums are computed for nothing.
        let computed = |tile: &Self| {
            let [block_pixels, block_groups] = tile.block();
            pixels.next_multiple_of(block_pixels) * groups.next_multiple_of(block_groups)
        };
        if computed(&wide) <= computed(&deep) * 21 / 20 { wide } else { deep }
    }

    /// Pixels and channel groups of a workgroup.
    fn block(&self) -> [usize; 2] {
        let pixels = self.own * self.lanes;
        if self.lanes_along == "pixels" { [pixels, self.cols] } else { [pixels, self.cols * self.lanes] }
    }
}

/// One dispatch's way over the input; see `shaders/conv/walk.wgsl`.
struct Walk {
    images: usize,
    grid: [usize; 2],
    out: [usize; 2],
    out_step: usize,
    out_origin: [usize; 2],
    input: [usize; 2],
    in_step: usize,
    in_origin: [i32; 2],
    tap_step: i32,
    taps: [usize; 2],
    kernel_origin: [usize; 2],
    kernel_step: usize,
    kernel_w: usize,
    kernel_rows: usize,
    in_groups: usize,
    out_groups: usize,
}

impl Walk {
    /// Whether some tap of some pixel lies outside the input.
    fn leaves_input(&self) -> bool {
        (0..2).any(|d| {
            let last_pixel = (self.grid[d].max(1) - 1) * self.in_step;
            let reach = (self.taps[d].max(1) as i32 - 1) * self.tap_step;
            let lowest = self.in_origin[d] + reach.min(0);
            let highest = self.in_origin[d] + last_pixel as i32 + reach.max(0);
            lowest < 0 || highest >= self.input[d] as i32
        })
    }

    fn launch(&self, l: &Lowering<'_>, epilogue: &Epilogue, views: Vec<View>) -> Launch {
        let pixels = self.images * self.grid[0] * self.grid[1];
        let (kernel, [block_pixels, block_groups]) = match l.target.family {
            Family::Tiles => (l.kernel("conv/tiles"), [64, 16]),
            Family::Registers => {
                let tile = RegisterTile::for_layer(l.target.lanes, pixels, self.out_groups);
                let kernel = l
                    .kernel("conv/registers")
                    .with("lanes_along", Setting::Text(tile.lanes_along))
                    .with("lanes", Setting::Number(tile.lanes))
                    .with("own", Setting::Number(tile.own))
                    .with("cols", Setting::Number(tile.cols))
                    .with("padded", Setting::Flag(self.leaves_input()));
                (kernel, tile.block())
            }
        };
        let kernel = kernel
            .with("bias", Setting::Flag(epilogue.bias))
            .with("gate", Setting::Flag(epilogue.gate))
            .with("shortcut", Setting::Flag(epilogue.shortcut))
            .with("activation", activation(epilogue.activation));
        let column_blocks = self.out_groups.div_ceil(block_groups);
        let params = words![
            pixels,
            self.grid[0],
            self.grid[1],
            self.out[0],
            self.out[1],
            self.out_step,
            self.out_origin[0],
            self.out_origin[1],
            self.input[0],
            self.input[1],
            self.in_step,
            self.in_origin[0],
            self.in_origin[1],
            self.tap_step,
            self.taps[0],
            self.taps[1],
            self.kernel_origin[0],
            self.kernel_origin[1],
            self.kernel_step,
            self.kernel_w,
            self.kernel_rows,
            self.in_groups,
            self.out_groups,
            column_blocks,
        ];
        Launch { kernel, views, params, workgroups: fold(pixels.div_ceil(block_pixels) * column_blocks) }
    }
}

fn size(map: &Operand<'_>) -> [usize; 2] {
    [map.spec.shape[1], map.spec.shape[2]]
}

pub(super) fn forward(l: &mut Lowering<'_>, op: &Conv2d) -> Result<(), TooLarge> {
    let (x, w, y) = (l.input(0), l.input(1), l.output(0));
    let mut maps = vec![x, y];
    // The gate and the shortcut have a batch dimension, too.
    maps.extend((2 + usize::from(op.epilogue.bias)..l.node.inputs.len()).map(|i| l.input(i)));
    for run in l.image_slices(&maps)? {
        let walk = Walk {
            images: run.len(),
            grid: size(&y),
            out: size(&y),
            out_step: 1,
            out_origin: [0, 0],
            input: size(&x),
            in_step: op.stride,
            in_origin: [-(op.padding as i32); 2],
            tap_step: 1,
            taps: [w.spec.shape[0], w.spec.shape[1]],
            kernel_origin: [0, 0],
            kernel_step: 1,
            kernel_w: w.spec.shape[1],
            kernel_rows: w.vec4() / y.spec.groups(),
            in_groups: x.spec.groups(),
            out_groups: y.spec.groups(),
        };
        let mut views = vec![x.images(&run), w.whole(), y.images(&run)];
        if op.epilogue.bias {
            views.push(l.input(2).whole());
        }
        views.extend(maps[2..].iter().map(|m| m.images(&run)));
        l.launches.push(walk.launch(l, &op.epilogue, views));
    }
    Ok(())
}

pub(super) fn input_grad(l: &mut Lowering<'_>, op: &Conv2dInputGrad) -> Result<(), TooLarge> {
    let (dy, w, dx) = (l.input(0), l.input(1), l.output(0));
    let exchanged = l.workspace();
    let count = w.vec4();
    let exchange = Kernel::new("conv/exchange_channels");
    let taps = w.spec.shape[0] * w.spec.shape[1];
    l.each(exchange, vec![w.whole(), exchanged], count, words![taps, dx.spec.groups(), dy.spec.groups()]);

    let addend = op.addend.then(|| l.input(2));
    let maps: Vec<_> = [dy, dx].into_iter().chain(addend).collect();
    let epilogue = Epilogue { shortcut: op.addend, ..Epilogue::NONE };
    let kernel = [w.spec.shape[0], w.spec.shape[1]];
    for run in l.image_slices(&maps)? {
        for phase in (0..op.stride * op.stride).map(|i| [i / op.stride, i % op.stride]) {
            // Along each axis: the first kernel row that this phase sees, how many it sees, and where the first one reads.
            let first = phase.map(|p| (p + op.padding) % op.stride);
            let taps = [0, 1].map(|d| kernel[d].saturating_sub(first[d]).div_ceil(op.stride));
            let grid = [0, 1].map(|d| op.size[d].saturating_sub(phase[d]).div_ceil(op.stride));
            if grid.contains(&0) {
                continue;
            }
            let walk = Walk {
                images: run.len(),
                grid,
                out: op.size,
                out_step: op.stride,
                out_origin: phase,
                input: size(&dy),
                in_step: 1,
                in_origin: [0, 1].map(|d| ((phase[d] + op.padding - first[d]) / op.stride) as i32),
                tap_step: -1,
                taps,
                kernel_origin: first,
                kernel_step: op.stride,
                kernel_w: kernel[1],
                kernel_rows: w.vec4() / dx.spec.groups(),
                in_groups: dy.spec.groups(),
                out_groups: dx.spec.groups(),
            };
            let mut views = vec![dy.images(&run), exchanged, dx.images(&run)];
            views.extend(addend.map(|a| a.images(&run)));
            l.launches.push(walk.launch(l, &epilogue, views));
        }
    }
    Ok(())
}

pub(super) fn weight_grad(l: &mut Lowering<'_>, op: &Conv2dWeightGrad) -> Result<(), TooLarge> {
    let (x, dy, dw) = (l.input(0), l.input(1), l.output(0));
    let [kh, kw] = op.kernel;
    let (in_groups, out_groups) = (x.spec.groups(), dy.spec.groups());
    let (kernel, block) = match l.target.family {
        Family::Tiles => (Kernel::new("conv/weight_grad_tiles"), [16, 16]),
        Family::Registers => register_weight_grad(l.target.lanes, in_groups, out_groups),
    };
    let runs = op.runs(x.spec, dy.spec);
    let partial = if runs.count > 1 { l.workspace() } else { dw.whole() };
    let row_blocks = in_groups.div_ceil(block[0]);
    let column_blocks = out_groups.div_ceil(block[1]);
    for slice in l.image_slices_by(&[x, dy], runs.images)? {
        let params = words![
            slice.len(),
            runs.images,
            runs.per_image,
            runs.lines,
            slice.start / runs.images * runs.per_image,
            x.spec.shape[1],
            x.spec.shape[2],
            dy.spec.shape[1],
            dy.spec.shape[2],
            kh,
            kw,
            op.stride,
            op.padding,
            in_groups,
            out_groups,
            row_blocks,
            column_blocks,
        ];
        let slice_runs = slice.len().div_ceil(runs.images) * runs.per_image;
        let blocks = slice_runs * kh * kw * row_blocks * column_blocks;
        l.launch(kernel.clone(), vec![x.images(&slice), dy.images(&slice), partial], params, fold(blocks));
    }
    if runs.count > 1 {
        let count = dw.vec4();
        l.each(Kernel::new("conv/sum_runs"), vec![partial, dw.whole()], count, words![runs.count]);
    }
    Ok(())
}

/// The kernel, and the groups of input and output channels of its workgroup.
fn register_weight_grad(lanes: usize, in_groups: usize, out_groups: usize) -> (Kernel, [usize; 2]) {
    let kernel = Kernel::new("conv/weight_grad_registers").with("lanes", Setting::Number(lanes));
    let filled = |groups: usize| groups as f64 / groups.next_multiple_of(lanes) as f64;
    if filled(in_groups) * filled(out_groups) > 0.7 {
        let cols = if out_groups.is_multiple_of(2 * lanes) { 2 } else { 1 };
        let kernel = kernel.with("lanes_along", Setting::Text("channels")).with("cols", Setting::Number(cols));
        return (kernel, [lanes, lanes * cols]);
    }
    let (groups, cols) = (in_groups.min(4), out_groups.min(4));
    let kernel = kernel
        .with("lanes_along", Setting::Text("lines"))
        .with("groups", Setting::Number(groups))
        .with("cols", Setting::Number(cols));
    (kernel, [groups, cols])
}
