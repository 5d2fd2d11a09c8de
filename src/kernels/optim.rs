//! The optimiser.

use super::{Kernel, Lowering, Setting, View, fold, words};
use crate::graph::Spec;
use crate::graph::op::{AdaptLossScale, GradientScale, SgdMomentum, SquaredNorm};

/// Quads of a chunk of a squared norm, each summed by one workgroup.
const NORM_CHUNK: usize = 4096;

/// Chunks of a tensor's squared norm.
fn norm_chunks(x: &Spec) -> usize {
    ((x.bytes() / x.quad_bytes()) as usize).div_ceil(NORM_CHUNK)
}

/// Bytes of the sums of a tensor's chunks.
pub(super) fn scratch_bytes(x: &Spec) -> u64 {
    4 * norm_chunks(x) as u64
}

pub(super) fn sgd_momentum(l: &mut Lowering<'_>, op: &SgdMomentum) {
    let gradient = l.input(0);
    let mut views = vec![gradient.whole(), l.input(1).whole(), l.update(0).whole(), l.update(1).whole()];
    views.extend(op.scaled.then(|| l.input(2).whole()));
    let kernel = l
        .kernel_in_full("optim/sgd_momentum")
        .with("nesterov", Setting::Flag(op.nesterov))
        .with("scaled", Setting::Flag(op.scaled));
    let params = words! { momentum: op.momentum, weight_decay: op.weight_decay, lr_scale: op.lr_scale };
    l.each(kernel, views, gradient.vec4(), params);
}

pub(super) fn accumulate(l: &mut Lowering<'_>) {
    in_place(l, "optim/accumulate");
}

pub(super) fn moving_average(l: &mut Lowering<'_>) {
    in_place(l, "optim/moving_average");
}

/// Launches a kernel over an input, a number, and what is updated.
fn in_place(l: &mut Lowering<'_>, template: &'static str) {
    let views = vec![l.input(0).whole(), l.input(1).whole(), l.update(0).whole()];
    l.each(l.kernel_in_full(template), views, l.input(0).vec4(), words! {});
}

pub(super) fn squared_norm(l: &mut Lowering<'_>, op: &SquaredNorm) {
    let (x, total) = (l.input(0), l.output(0));
    let chunks = norm_chunks(x.spec);
    let views = vec![x.whole(), l.input(1).whole(), l.workspace()];
    let params = words! { count: x.vec4(), chunk: NORM_CHUNK };
    l.launch(l.kernel_in_full("optim/squares"), views, params, fold(chunks));
    let mut views: Vec<View> = vec![l.workspace(), total.whole()];
    views.extend(op.chained.then(|| l.input(2).whole()));
    let kernel = Kernel::new("optim/total").with("chained", Setting::Flag(op.chained));
    l.each(kernel, views, 1, words! { chunks });
}

pub(super) fn gradient_scale(l: &mut Lowering<'_>, op: &GradientScale) {
    let views = vec![l.input(0).whole(), l.input(1).whole(), l.output(0).whole(), l.output(1).whole()];
    // WGSL knows no infinity: the largest number limits as little.
    let params = words! { max_norm: op.max_norm.min(f32::MAX) };
    l.each(Kernel::new("optim/gradient_scale"), views, 1, params);
}

pub(super) fn unscale(l: &mut Lowering<'_>) {
    let views = vec![l.input(0).whole(), l.input(1).whole(), l.output(0).whole()];
    l.each(Kernel::new("optim/unscale"), views, 1, words! {});
}

pub(super) fn adapt_loss_scale(l: &mut Lowering<'_>, op: &AdaptLossScale) {
    let views = vec![l.input(0).whole(), l.update(0).whole(), l.update(1).whole()];
    let [least, most] = AdaptLossScale::RANGE;
    let params = words! { growth_steps: op.growth_steps as f32, least, most };
    l.each(Kernel::new("optim/adapt_loss_scale"), views, 1, params);
}
