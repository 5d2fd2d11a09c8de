//! Softmax cross-entropy.

use super::splits::RowChunks;
use super::{Kernel, Lowering, Setting, View, words};
use crate::graph::Spec;
use crate::graph::op::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};

pub(super) fn softmax_cross_entropy(l: &mut Lowering<'_>, op: &SoftmaxCrossEntropy) {
    let (logits, loss, top1, rows) = (l.input(0), l.output(0), l.output(1), l.output(2));
    let count = logits.spec.shape[0];
    let (classes, stride) = row(logits.spec);
    let params = words! { classes, stride, smoothing: op.label_smoothing };
    let kernel = Kernel::new("loss/softmax_cross_entropy").with("mixed", Setting::Flag(op.mixed));
    let views = views(l, rows.whole());
    l.each(kernel, views, count, params);
    let cut = RowChunks::over(count);
    let (sums, terms) = if cut.chunks == 1 { (rows.whole(), count) } else { (l.workspace(), cut.chunks) };
    if cut.chunks > 1 {
        let views = vec![rows.whole(), sums];
        l.each(Kernel::new("loss/sum_rows"), views, cut.chunks, words! { rows: cut.rows, chunk_rows: cut.chunk_rows });
    }
    l.each(Kernel::new("loss/mean"), vec![sums, loss.whole(), top1.whole()], 1, words! { terms, rows: count });
}

pub(super) fn softmax_cross_entropy_grad(l: &mut Lowering<'_>, op: &SoftmaxCrossEntropyGrad) {
    let (logits, dlogits) = (l.input(0), l.output(0));
    let (classes, stride) = row(logits.spec);
    let params = words! { classes, stride, smoothing: op.label_smoothing, weight: op.weight };
    let kernel = Kernel::new("loss/softmax_cross_entropy_grad")
        .with("mixed", Setting::Flag(op.mixed))
        .with("scaled", Setting::Flag(op.scaled));
    let views = views(l, dlogits.whole());
    l.each(kernel, views, logits.spec.shape[0], params);
}

/// The number of classes, and the stride between rows in elements.
fn row(logits: &Spec) -> (usize, usize) {
    (logits.last(), logits.quads() * 4)
}

/// Logits, labels, the result, the operands for mixed pictures if present, and a scale if present.
fn views(l: &Lowering<'_>, result: View) -> Vec<View> {
    let mut views: Vec<View> = (0..l.node.inputs.len()).map(|i| l.input(i).whole()).collect();
    views.insert(2, result);
    views
}
