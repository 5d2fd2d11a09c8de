//! The optimiser.

use super::{Kernel, Lowering, Setting, fold, words};
use crate::graph::op::{AdaptLossScale, GradientScale, SgdMomentum, SquaredNorm};

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

/// Launches a kernel over an input, a number, and the tensors that are updated.
fn in_place(l: &mut Lowering<'_>, template: &'static str) {
    let views = vec![l.input(0).whole(), l.input(1).whole(), l.update(0).whole()];
    l.each(l.kernel_in_full(template), views, l.input(0).vec4(), words! {});
}

pub(super) fn squared_norm(l: &mut Lowering<'_>, op: &SquaredNorm) {
    let x = l.input(0);
    let views = vec![x.whole(), l.input(1).whole(), l.update(0).whole()];
    let params = words! { count: x.vec4(), chunk: SquaredNorm::CHUNK, first: op.first };
    l.launch(l.kernel_in_full("optim/squared_norm"), views, params, fold(SquaredNorm::sums(x.spec)));
}

pub(super) fn gradient_scale(l: &mut Lowering<'_>, op: &GradientScale) {
    let sums = l.input(0);
    let views = vec![sums.whole(), l.input(1).whole(), l.output(0).whole(), l.output(1).whole()];
    // WGSL has no infinity. The largest number has the same effect.
    let params = words! { sums: sums.spec.elements(), max_norm: op.max_norm.min(f32::MAX) };
    l.team(Kernel::new("optim/gradient_scale"), views, 1, params);
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
