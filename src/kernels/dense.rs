//! Linear layers.

use super::{Kernel, Lowering, TooLarge, activation, conv, words};
use crate::graph::op::{ActivationGrad, Linear, LinearInputGrad, LinearWeightGrad};

pub(super) fn linear(l: &mut Lowering<'_>, op: &Linear) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    if let Some(product) = op.as_convolution(x.spec, l.input(1).spec) {
        return conv::forward(l, &product);
    }
    let kernel = l.kernel_with_weights("dense/linear", l.input(1).spec).with("activation", activation(op.activation));
    let views = vec![x.whole(), l.input(1).whole(), l.input(2).whole(), y.whole()];
    l.team(kernel, views, y.vec4(), words! { in_quads: x.spec.quads(), out_quads: y.spec.quads() });
    Ok(())
}

pub(super) fn linear_input_grad(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    conv::input_grad(l, &LinearInputGrad::AS_CONVOLUTION)
}

pub(super) fn linear_weight_grad(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    conv::weight_grad(l, &LinearWeightGrad::AS_CONVOLUTION)?;
    let (dy, db) = (l.input(1), l.output(1));
    let views = vec![dy.whole(), db.whole()];
    l.team(Kernel::new("dense/bias_grad"), views, db.vec4(), words! { rows: dy.spec.rows() });
    Ok(())
}

pub(super) fn activation_grad(l: &mut Lowering<'_>, op: &ActivationGrad) {
    let (y, dy, dx) = (l.input(0), l.input(1), l.output(0));
    let kernel = Kernel::new("dense/activation_grad").with("activation", activation(op.activation));
    l.each(kernel, vec![y.whole(), dy.whole(), dx.whole()], y.vec4(), words! {});
}
