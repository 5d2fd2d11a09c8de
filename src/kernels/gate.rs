//! Gates, dropped branches, and the residual addition.

use super::pool::{PixelChunks, sum_chunks};
use super::{Kernel, Lowering, Operand, Setting, TooLarge, View, activation, words};
use crate::graph::op::{Dropout, DropoutScope, Fill, ScaleAdd, ScaleAddGrad};

pub(super) fn scale_add(l: &mut Lowering<'_>, op: &ScaleAdd) -> Result<(), TooLarge> {
    let maps: Vec<Operand<'_>> =
        [l.input(0), l.output(0)].into_iter().chain((1..l.node.inputs.len()).map(|i| l.input(i))).collect();
    let kernel = l
        .kernel("gate/scale_add")
        .with("gate", Setting::Flag(op.gate))
        .with("shortcut", Setting::Flag(op.shortcut))
        .with("activation", activation(op.activation));
    let quads = maps[0].spec.quads();
    let image_quads = maps[0].pixels() * quads;
    for run in l.image_slices(&maps)? {
        let views = maps.iter().map(|m| m.images(&run)).collect();
        l.each(kernel.clone(), views, maps[0].vec4_in(&run), words! { quads, image_quads });
    }
    Ok(())
}

pub(super) fn scale_add_grad(l: &mut Lowering<'_>, op: &ScaleAddGrad) -> Result<(), TooLarge> {
    let (dy, x, dx) = (l.input(0), l.input(1), l.output(0));
    let mut maps = vec![dy, x, dx];
    if op.gate {
        maps.extend([l.input(2), l.output(1)]);
    }
    if op.shortcut || op.reads_result() {
        maps.push(l.input(2 + usize::from(op.gate)));
    }
    if op.gate && op.shortcut {
        maps.push(l.output(2));
    }
    let kernel = l
        .kernel("gate/scale_add_grad")
        .with("gate", Setting::Flag(op.gate))
        .with("shortcut", Setting::Flag(op.shortcut))
        .with("result", Setting::Flag(op.reads_result()))
        .with("activation", activation(op.activation));
    let quads = x.spec.quads();
    let cut = PixelChunks::over(x.spec);
    for run in l.image_slices(&maps)? {
        let mut views: Vec<View> = maps.iter().map(|m| m.images(&run)).collect();
        if !op.gate {
            l.each(kernel.clone(), views, x.vec4_in(&run), words! { quads });
            continue;
        }
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

pub(super) fn dropout(l: &mut Lowering<'_>, op: &Dropout) {
    let (x, clock, y) = (l.input(0), l.input(1), l.output(0));
    let threshold = (f64::from(op.rate) * f64::from(1u32 << 24)).ceil() as u32;
    let scale = (1.0 / (1.0 - f64::from(op.rate))) as f32;
    let kernel = Kernel::new("gate/dropout").with("per_sample", Setting::Flag(op.scope == DropoutScope::Sample));
    let params = words! { quads: x.spec.quads(), channels: x.spec.last(), stream: op.stream, threshold, scale };
    l.each(kernel, vec![x.whole(), clock.whole(), y.whole()], x.vec4(), params);
}

pub(super) fn fill(l: &mut Lowering<'_>, op: &Fill) {
    let y = l.output(0);
    l.each(Kernel::new("gate/fill"), vec![y.whole()], y.vec4(), words! { value: op.value });
}
