//! Linear layers.

use super::{Kernel, Lowering, activation, words};
use crate::graph::op::{ActivationGrad, Linear};

pub(super) fn linear(l: &mut Lowering<'_>, op: &Linear) {
    let (x, y) = (l.input(0), l.output(0));
    let kernel = l.kernel("dense/linear").with("activation", activation(op.activation));
    let views = vec![x.whole(), l.input(1).whole(), l.input(2).whole(), y.whole()];
    l.each(kernel, views, y.vec4(), words![x.spec.groups(), y.spec.groups()]);
}

pub(super) fn linear_input_grad(l: &mut Lowering<'_>) {
    let (dy, w, dx) = (l.input(0), l.input(1), l.output(0));
    let params = words![dx.spec.groups(), dy.spec.groups()];
    l.each(Kernel::new("dense/linear_input_grad"), vec![dy.whole(), w.whole(), dx.whole()], dx.vec4(), params);
}

pub(super) fn linear_weight_grad(l: &mut Lowering<'_>) {
    let (x, dy, dw, db) = (l.input(0), l.input(1), l.output(0), l.output(1));
    let (channels, groups) = (x.spec.groups() * 4, dy.spec.groups());
    let views = vec![x.whole(), dy.whole(), dw.whole(), db.whole()];
    let params = words![x.spec.shape[0], channels, groups];
    l.each(Kernel::new("dense/linear_weight_grad"), views, (channels + 1) * groups, params);
}

pub(super) fn activation_grad(l: &mut Lowering<'_>, op: &ActivationGrad) {
    let (y, dy, dx) = (l.input(0), l.input(1), l.output(0));
    let kernel = Kernel::new("dense/activation_grad").with("activation", activation(op.activation));
    l.each(kernel, vec![y.whole(), dy.whole(), dx.whole()], y.vec4(), words![]);
}
