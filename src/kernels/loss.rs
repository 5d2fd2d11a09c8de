//! Softmax cross-entropy.

use super::{Kernel, Lowering, words};
use crate::graph::op::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};

pub(super) fn softmax_cross_entropy(l: &mut Lowering<'_>, op: &SoftmaxCrossEntropy) {
    let (logits, labels, mean, losses) = (l.input(0), l.input(1), l.output(0), l.output(1));
    let rows = logits.spec.shape[0];
    let views = vec![logits.whole(), labels.whole(), losses.whole()];
    let params = words![logits.spec.last(), logits.spec.groups() * 4, op.label_smoothing];
    l.each(Kernel::new("loss/softmax_cross_entropy"), views, rows, params);
    l.each(Kernel::new("loss/mean"), vec![losses.whole(), mean.whole()], 1, words![rows]);
}

pub(super) fn softmax_cross_entropy_grad(l: &mut Lowering<'_>, op: &SoftmaxCrossEntropyGrad) {
    let (logits, labels, dlogits) = (l.input(0), l.input(1), l.output(0));
    let views = vec![logits.whole(), labels.whole(), dlogits.whole()];
    let params = words![logits.spec.last(), logits.spec.groups() * 4, op.label_smoothing];
    l.each(Kernel::new("loss/softmax_cross_entropy_grad"), views, logits.spec.shape[0], params);
}
