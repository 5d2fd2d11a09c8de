//! Depth and its losses.

use super::gate::slices;
use super::pixels::{self, Chunks};
use super::{Kernel, Lowering, Operand, Setting, TooLarge, words};
use crate::graph::op::{DepthLoss, DepthLossGrad, DepthLossKind, ScaledSigmoid, ScaledSigmoidGrad};

/// A kernel whose text depends on the loss's formula.
fn with_formula(kernel: Kernel, kind: DepthLossKind) -> Kernel {
    let formula = kind.formula();
    kernel.with("root", Setting::Flag(formula.root.is_some())).with("unbiased", Setting::Flag(formula.unbiased))
}

pub(super) fn depth_loss(l: &mut Lowering<'_>, op: &DepthLoss) {
    let (predictions, truths, formula) = (l.input(0), l.input(1), op.kind.formula());
    let Chunks { chunk_pixels, chunks } = Chunks::over(predictions.spec);
    let kernel = l.kernel("depth/statistics");
    for run in pixels::slices(predictions.spec, chunk_pixels) {
        let views = vec![predictions.rows(&run), truths.elements(&run), l.workspace()];
        let (first, count) = (run.start / chunk_pixels, run.len().div_ceil(chunk_pixels));
        l.team(kernel.clone(), views, count, words! { first, pixels: run.len(), chunk_pixels, margin: formula.margin });
    }
    let views = vec![l.workspace(), l.output(0).whole(), l.output(1).whole()];
    let params = words! { chunks, level: formula.level, factor: formula.root.unwrap_or(1.0) };
    l.team(with_formula(Kernel::new("depth/loss"), op.kind), views, 1, params);
}

pub(super) fn depth_loss_grad(l: &mut Lowering<'_>, op: &DepthLossGrad) {
    let (predictions, truths, gradient, formula) = (l.input(0), l.input(1), l.output(0), op.kind.formula());
    let kernel = with_formula(l.kernel("depth/loss_grad"), op.kind).with("scaled", Setting::Flag(op.scaled));
    for run in pixels::slices(predictions.spec, 1) {
        let mut views = vec![predictions.rows(&run), truths.elements(&run), l.input(2).whole(), gradient.rows(&run)];
        views.extend(op.scaled.then(|| l.input(3).whole()));
        let params = words! {
            margin: formula.margin, level: formula.level, factor: formula.root.unwrap_or(1.0), weight: op.weight,
        };
        l.each(kernel.clone(), views, run.len(), params);
    }
}

pub(super) fn scaled_sigmoid(l: &mut Lowering<'_>, op: &ScaledSigmoid) -> Result<(), TooLarge> {
    elementwise(l, "depth/scaled_sigmoid", &[l.input(0), l.output(0)], op)
}

pub(super) fn scaled_sigmoid_grad(l: &mut Lowering<'_>, op: &ScaledSigmoidGrad) -> Result<(), TooLarge> {
    elementwise(l, "depth/scaled_sigmoid_grad", &[l.input(0), l.input(1), l.output(0)], &op.forward)
}

fn elementwise(
    l: &mut Lowering<'_>,
    template: &'static str,
    maps: &[Operand<'_>],
    op: &ScaledSigmoid,
) -> Result<(), TooLarge> {
    for (views, count) in slices(l, maps)? {
        l.each(l.kernel(template), views, count, words! { scale: op.scale, floor: op.floor });
    }
    Ok(())
}
