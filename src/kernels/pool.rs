//! Average pools.

use super::{Kernel, Lowering, Operand, Setting, TooLarge, words};
use crate::graph::op::{AvgPool2x2Grad, GlobalAvgPoolGrad};

pub(super) fn global_avg(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    for run in l.image_slices(&[x, y])? {
        let views = vec![x.images(&run), y.images(&run)];
        l.each(Kernel::new("pool/global_avg"), views, y.vec4_in(&run), words![x.spec.groups(), x.pixels()]);
    }
    Ok(())
}

pub(super) fn global_avg_grad(l: &mut Lowering<'_>, op: &GlobalAvgPoolGrad) -> Result<(), TooLarge> {
    let params = words![l.output(0).spec.groups(), op.size[0] * op.size[1]];
    gradient(l, "pool/global_avg_grad", op.addend, &params)
}

pub(super) fn avg_2x2(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    for run in l.image_slices(&[x, y])? {
        let views = vec![x.images(&run), y.images(&run)];
        let params = words![x.spec.groups(), x.spec.shape[1], x.spec.shape[2]];
        l.each(Kernel::new("pool/avg_2x2"), views, y.vec4_in(&run), params);
    }
    Ok(())
}

pub(super) fn avg_2x2_grad(l: &mut Lowering<'_>, op: &AvgPool2x2Grad) -> Result<(), TooLarge> {
    let params = words![l.output(0).spec.groups(), op.size[0], op.size[1]];
    gradient(l, "pool/avg_2x2_grad", op.addend, &params)
}

fn gradient(l: &mut Lowering<'_>, template: &'static str, addend: bool, params: &[u32]) -> Result<(), TooLarge> {
    let addend = addend.then(|| l.input(1));
    let maps: Vec<Operand<'_>> = [l.input(0), l.output(0)].into_iter().chain(addend).collect();
    for run in l.image_slices(&maps)? {
        let views = maps.iter().map(|m| m.images(&run)).collect();
        let kernel = Kernel::new(template).with("addend", Setting::Flag(addend.is_some()));
        l.each(kernel, views, maps[1].vec4_in(&run), params.to_vec());
    }
    Ok(())
}
