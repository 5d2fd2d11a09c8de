//! Gates, dropped branches, and the residual addition.

use super::pool::{PixelChunks, sum_chunks};
use super::{Kernel, Lowering, Operand, Setting, TooLarge, View, activation, words};
use crate::graph::op::{Dropout, DropoutScope, Fill, ScaleAdd, ScaleAddGrad};

pub(super) fn scale_add(l: &mut Lowering<'_>, op: &ScaleAdd) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    let operands: Vec<Operand<'_>> = [x, y].into_iter().chain((1..l.node.inputs.len()).map(|i| l.input(i))).collect();
    let kernel = l
        .kernel("gate/scale_add")
        .with("gate", Setting::Flag(op.gate))
        .with("shortcut", Setting::Flag(op.shortcut))
        .with("activation", activation(op.activation));
    let quads = x.spec.quads();
    let image_quads = x.vec4() / x.spec.shape[0].max(1);
    for (views, count) in slices(l, &operands)? {
        l.each(kernel.clone(), views, count, words! { quads, image_quads });
    }
    Ok(())
}

/// Views of the operands of an elementwise operation, and the number of quads in the first view. Maps are cut into runs
/// of images; weights, vectors and features, which are smaller, are taken as a whole.
pub(super) fn slices(l: &Lowering<'_>, operands: &[Operand<'_>]) -> Result<Vec<(Vec<View>, usize)>, TooLarge> {
    let first = operands[0];
    if !first.spec.is_map() {
        return Ok(vec![(operands.iter().map(Operand::whole).collect(), first.vec4())]);
    }
    let of_run = |run| (operands.iter().map(|o| o.images(&run)).collect(), first.vec4_in(&run));
    Ok(l.image_slices(operands)?.into_iter().map(of_run).collect())
}

pub(super) fn scale_add_grad(l: &mut Lowering<'_>, op: &ScaleAddGrad) -> Result<(), TooLarge> {
    let (dy, x, dx) = (l.input(0), l.input(1), l.output(0));
    let mut operands = vec![dy, x, dx];
    if op.gate {
        operands.extend([l.input(2), l.output(1)]);
    }
    if op.shortcut || op.reads_result() {
        operands.push(l.input(2 + usize::from(op.gate)));
    }
    if op.gate && op.shortcut {
        operands.push(l.output(2));
    }
    let kernel = l
        .kernel("gate/scale_add_grad")
        .with("gate", Setting::Flag(op.gate))
        .with("shortcut", Setting::Flag(op.shortcut))
        .with("result", Setting::Flag(op.reads_result()))
        .with("activation", activation(op.activation));
    let quads = x.spec.quads();
    if !op.gate {
        for (views, count) in slices(l, &operands)? {
            l.each(kernel.clone(), views, count, words! { quads });
        }
        return Ok(());
    }
    let cut = PixelChunks::over(x.spec);
    for run in l.image_slices(&operands)? {
        let mut views: Vec<View> = operands.iter().map(|o| o.images(&run)).collect();
        if cut.chunks > 1 {
            views[4] = l.workspace(); // the chunks' sums instead of dgate
        }
        let PixelChunks { pixels, chunk_pixels, chunks } = cut;
        let params = words! { quads, pixels, chunk_pixels, chunks };
        l.team(kernel.clone(), views, run.len() * chunks * quads, params);
        sum_chunks(l, &cut, l.output(1), &run, 1.0);
    }
    Ok(())
}

pub(super) fn dropout(l: &mut Lowering<'_>, op: &Dropout) -> Result<(), TooLarge> {
    let (x, clock, y) = (l.input(0), l.input(1), l.output(0));
    let threshold = (f64::from(op.rate) * f64::from(1u32 << 24)).ceil() as u32;
    let scale = (1.0 / (1.0 - f64::from(op.rate))) as f32;
    let kernel = l.kernel("gate/dropout").with("per_sample", Setting::Flag(op.scope == DropoutScope::Sample));
    let [_, h, w, channels] = x.spec.as_map();
    for run in l.image_slices(&[x, y])? {
        let params = words! {
            quads: x.spec.quads(),
            channels,
            pixels: h * w,
            first: run.start,
            stream: op.stream,
            threshold,
            scale,
        };
        let views = vec![x.images(&run), clock.whole(), y.images(&run)];
        l.each(kernel.clone(), views, x.vec4_in(&run), params);
    }
    Ok(())
}

pub(super) fn fill(l: &mut Lowering<'_>, op: &Fill) {
    let y = l.output(0);
    l.each(Kernel::new("gate/fill"), vec![y.whole()], y.vec4(), words! { value: op.value });
}
