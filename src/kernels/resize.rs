//! Resized maps.

use super::conv::size;
use super::{Lowering, Operand, Setting, TooLarge, words};
use crate::graph::op::{Axis, Filter, Resize, ResizeGrad};

fn filter(filter: Filter) -> Setting {
    Setting::Text(match filter {
        Filter::Nearest => "nearest",
        Filter::Bilinear => "bilinear",
    })
}

pub(super) fn resize(l: &mut Lowering<'_>, op: &Resize) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    let kernel = l.kernel("resize/resize").with("filter", filter(op.filter));
    let ([in_h, in_w], [out_h, out_w]) = (size(&x), op.size);
    for run in l.image_slices(&[x, y])? {
        let params = words! { quads: x.spec.quads(), in_h, in_w, out_h, out_w };
        l.each(kernel.clone(), vec![x.images(&run), y.images(&run)], y.vec4_in(&run), params);
    }
    Ok(())
}

pub(super) fn resize_grad(l: &mut Lowering<'_>, op: &ResizeGrad) -> Result<(), TooLarge> {
    let addend = op.addend.then(|| l.input(1));
    let maps: Vec<Operand<'_>> = [l.input(0), l.output(0)].into_iter().chain(addend).collect();
    let kernel =
        l.kernel("resize/resize_grad").with("filter", filter(op.filter)).with("addend", Setting::Flag(op.addend));
    let ([h, w], quads) = (size(&maps[0]), maps[0].spec.quads());
    // Quads from one pixel of the axis to the next.
    let (out, step) = match op.axis {
        Axis::Height => (h, w * quads),
        Axis::Width => (w, quads),
    };
    for run in l.image_slices(&maps)? {
        let params = words! { step, pixels: op.pixels, out };
        l.each(kernel.clone(), maps.iter().map(|m| m.images(&run)).collect(), maps[1].vec4_in(&run), params);
    }
    Ok(())
}
