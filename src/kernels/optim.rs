//! The optimiser.

use super::{Kernel, Lowering, Setting, words};
use crate::graph::op::SgdMomentum;

pub(super) fn sgd_momentum(l: &mut Lowering<'_>, op: &SgdMomentum) {
    let gradient = l.input(0);
    let views = vec![gradient.whole(), l.input(1).whole(), l.update(0).whole(), l.update(1).whole()];
    let kernel = Kernel::new("optim/sgd_momentum").with("nesterov", Setting::Flag(op.nesterov));
    l.each(kernel, views, gradient.vec4(), words![op.momentum, op.weight_decay]);
}
