//! Cases of the losses of a detector's anchors.

use super::Case;
use super::draft::Draft;
use super::ops::grid;
use crate::graph::op::{BoxLoss, BoxLossGrad, BoxLossKind, FocalLoss, FocalLossGrad};
use crate::graph::{DType, Spec, TensorId};

/// The levels of a detector.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    pub(super) pictures: usize,
    /// Height and width of each level.
    pub(super) sizes: Vec<[usize; 2]>,
    /// Anchors of a pixel.
    pub(super) anchors: usize,
    pub(super) classes: usize,
    /// How many of 8 anchors have a class, and how many are ignored; the others are background.
    pub(super) of_8: [u32; 2],
}

impl Levels {
    /// T.
    fn total(&self) -> usize {
        self.first_of(self.sizes.len())
    }

    /// Number of a level's first anchor.
    fn first_of(&self, level: usize) -> usize {
        self.sizes[..level].iter().map(|[h, w]| h * w * self.anchors).sum()
    }

    /// Labels and normalisers. These make losses of order one, whose differences in f64 tell their gradients.
    fn labelled(&self, draft: &mut Draft) -> Vec<TensorId> {
        let (classes, [known, ignored]) = (self.classes, self.of_8);
        let some = (self.total() as f64 / 8.0).max(1.0);
        let label = |bits: u32| match bits >> 29 {
            share if share < known => bits % classes as u32,
            share if share < known + ignored => FocalLoss::IGNORED,
            _ => FocalLoss::BACKGROUND,
        };
        vec![
            draft.integers("labels", vec![self.pictures, self.total()], |_, bits| label(bits)),
            draft.input_with("normalisers", Spec::plain([self.pictures], DType::F32), |_, v| (0.25 + v * v) / some),
        ]
    }

    fn level(&self, draft: &mut Draft, i: usize, numbers: usize, make: impl Fn(usize, f64) -> f64) -> TensorId {
        let [h, w] = self.sizes[i];
        draft.input_with(&format!("level {i}"), Spec::channels([self.pictures, h, w, self.anchors * numbers]), make)
    }

    fn label(&self) -> String {
        let Self { pictures, sizes, anchors, classes, of_8: [known, ignored] } = self;
        let zero = if *ignored == 8 { ", all zero" } else { "" };
        format!(
            "{pictures} pictures of {sizes:?}, {anchors} anchors, {classes} classes, {known} of 8 known, {ignored} \
             ignored{zero}"
        )
    }
}

/// How many numbers of a sum are added up in a row: quads in chunks of 1024, then the chunks' sums (`boxes/sum.wgsl`).
fn added_in_a_row(numbers: usize) -> usize {
    let quads = numbers.div_ceil(4);
    quads.min(1024 + quads.div_ceil(1024))
}

/// K: an element's operations, and the numbers that are added up in a row.
pub(super) fn focal_loss(levels: &Levels, op: FocalLoss, magnitude: f64, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = levels.labelled(&mut draft);
    let made = 0..levels.sizes.len();
    let maps: Vec<TensorId> = made.map(|i| levels.level(&mut draft, i, op.classes, |_, v| magnitude * v)).collect();
    inputs.extend(&maps);
    draft.node(op, &inputs, &[], &[32 + added_in_a_row(levels.pictures * levels.total() * op.classes)]);
    draft.differentiable(&maps);
    draft.case(format!("focal_loss {}, within {magnitude}, alpha {}, gamma {}", levels.label(), op.alpha, op.gamma))
}

/// K: two exponentials and the few operations of an element.
pub(super) fn focal_loss_grad(levels: &Levels, i: usize, magnitude: f64, op: FocalLossGrad, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = vec![levels.level(&mut draft, i, op.loss.classes, |_, v| magnitude * v)];
    inputs.extend(levels.labelled(&mut draft));
    inputs.extend(op.scaled.then(|| draft.input_with("scale", Spec::plain([1], DType::F32), |_, _| 1024.0)));
    let op = FocalLossGrad { first: levels.first_of(i), ..op };
    draft.node(op, &inputs, &[], &[48]);
    draft.case(format!("{op:?} of {}, within {magnitude}", levels.label()))
}

/// Labels, normalisers, targets and perhaps anchors. Targets that are deltas are multiples of 1/16; deltas lie between
/// such numbers, since the slope of an absolute difference jumps at 0.
fn boxed(levels: &Levels, draft: &mut Draft, kind: BoxLossKind) -> Vec<TensorId> {
    let mut inputs = levels.labelled(draft);
    let edge = |i: usize, v: f64, low: f64, spread: f64| if i % 4 < 2 { low + spread * v } else { -low + spread * v };
    let (n, t) = (levels.pictures, levels.total());
    let targets = |i: usize, v: f64| match kind {
        BoxLossKind::Giou => edge(i, v, -6.0, 4.0),
        BoxLossKind::L1 | BoxLossKind::Huber { .. } => grid(v, 16.0),
    };
    inputs.push(draft.input_with("targets", Spec::plain([n, t, 4], DType::F32), targets));
    if kind == BoxLossKind::Giou {
        let anchors = draft.input_with("anchors", Spec::plain([t, 4], DType::F32), |i, v| edge(i, v, -7.0, 3.0));
        inputs.push(anchors);
    }
    inputs
}

fn deltas(levels: &Levels, draft: &mut Draft, i: usize, kind: BoxLossKind) -> TensorId {
    levels.level(draft, i, 4, |at, v| match kind {
        // Boxes that meet their targets, that miss them, and, every seventh, that grow beyond what is decoded.
        BoxLossKind::Giou if at % 7 == 3 => 6.0 * v,
        BoxLossKind::Giou => 1.5 * v,
        BoxLossKind::L1 | BoxLossKind::Huber { .. } => grid(v, 16.0) + 1.0 / 32.0,
    })
}

/// K: an element's operations, and the numbers that are added up in a row.
pub(super) fn box_loss(levels: &Levels, kind: BoxLossKind, seed: u32) -> Case {
    let (mut draft, op) = (Draft::new(seed), BoxLoss { classes: levels.classes, kind });
    let mut inputs = boxed(levels, &mut draft, kind);
    let maps: Vec<TensorId> = (0..levels.sizes.len()).map(|i| deltas(levels, &mut draft, i, kind)).collect();
    inputs.extend(&maps);
    draft.node(op, &inputs, &[], &[32 + added_in_a_row(levels.pictures * levels.total() * 4)]);
    draft.differentiable(&maps);
    draft.case(format!("box_loss {}, {kind:?}", levels.label()))
}

/// K: an exponential, and the operations of an element, some of which cancel.
pub(super) fn box_loss_grad(levels: &Levels, i: usize, op: BoxLossGrad, seed: u32) -> Case {
    let (mut draft, kind) = (Draft::new(seed), op.loss.kind);
    let mut inputs = vec![deltas(levels, &mut draft, i, kind)];
    inputs.extend(boxed(levels, &mut draft, kind));
    inputs.extend(op.scaled.then(|| draft.input_with("scale", Spec::plain([1], DType::F32), |_, _| 1024.0)));
    let op = BoxLossGrad { first: levels.first_of(i), loss: BoxLoss { classes: levels.classes, kind }, ..op };
    draft.node(op, &inputs, &[], &[64]);
    draft.case(format!("{op:?} of {}", levels.label()))
}

/// All kinds of box losses.
pub(super) const KINDS: [BoxLossKind; 3] = [BoxLossKind::L1, BoxLossKind::Huber { delta: 0.2 }, BoxLossKind::Giou];

/// One anchor; anchors whose channels are no whole quads; several chunks, of several pictures; many classes; nothing
/// that counts.
pub(super) fn standard() -> Vec<Case> {
    let levels = |pictures, sizes: &[[usize; 2]], anchors, classes, of_8| Levels {
        pictures,
        sizes: sizes.to_vec(),
        anchors,
        classes,
        of_8,
    };
    let mut cases = Vec::new();
    for (levels, alpha, gamma, magnitude) in [
        (levels(1, &[[1, 1]], 1, 1, [8, 0]), 0.25, 2.0, 1.0),
        (levels(2, &[[5, 4], [3, 2], [1, 1]], 3, 7, [3, 2]), 0.25, 2.0, 4.0),
        (levels(3, &[[4, 3], [2, 2]], 1, 2, [4, 1]), 0.5, 0.5, 8.0),
        (levels(2, &[[31, 29], [16, 15]], 9, 21, [1, 1]), 0.25, 1.5, 4.0),
        (levels(1, &[[3, 2], [1, 2]], 2, 999, [4, 2]), 0.75, 0.0, 100.0),
        (levels(2, &[[3, 2], [1, 1]], 2, 5, [0, 8]), 0.25, 2.0, 4.0),
    ] {
        let op = FocalLoss { classes: levels.classes, alpha, gamma };
        cases.push(focal_loss(&levels, op, magnitude, 0));
        let last = levels.sizes.len() - 1;
        for (i, weight, scaled) in [(0, 1.0, false), (last, 0.5, true)] {
            let grad = FocalLossGrad { loss: op, first: 0, weight, scaled };
            cases.push(focal_loss_grad(&levels, i, magnitude, grad, 0));
        }
        for kind in KINDS {
            cases.push(box_loss(&levels, kind, 0));
            for (i, weight, scaled) in [(0, 1.0, false), (last, 0.5, true)] {
                let loss = BoxLoss { classes: levels.classes, kind };
                cases.push(box_loss_grad(&levels, i, BoxLossGrad { loss, first: 0, weight, scaled }, 0));
            }
        }
    }
    cases
}
