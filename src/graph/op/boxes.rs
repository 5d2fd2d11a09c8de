//! Losses of a detector's anchors: of which class each is, and where its box lies.
//!
//! A detector has levels: maps `[N, Hi, Wi, A * C]` with C numbers for each of a pixel's A anchors; number c of anchor
//! a is channel `a * C + c`. The anchors of all levels are numbered by level, row, column and a, as torchvision numbers
//! them, from 0 to T - 1. T is the sum of `Hi * Wi * A`.

use super::{Half, Rule, arity, map, same};
use crate::graph::autodiff::{Backward, Seed};
use crate::graph::{DType, Error, Node, Spec, TensorId};

/// The most numbers that the levels of a batch may hold, padding aside: their indices, and those of padded maps, fit 32
/// bits.
const MOST_NUMBERS: usize = 1 << 30;

/// Sigmoid focal loss of each anchor's classes (Lin et al. 2017; torchvision's `ops.sigmoid_focal_loss`). With p the
/// sigmoid of a logit, or 1 minus it where the class is not the anchor's, a logit costs `-a * (1 - p)^gamma * ln(p)`; a
/// is `alpha` where the class is the anchor's, else `1 - alpha`.
///
/// Inputs: labels `[N, T]` (u32: a class below K, [`Self::BACKGROUND`] or [`Self::IGNORED`]), normalisers `[N]`, then
/// the logits of each level `[N, Hi, Wi, A * K]`.
/// Output: the mean over the pictures of `normaliser * sum over the anchors that are not ignored` `[1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FocalLoss {
    /// K.
    pub classes: usize,
    /// Weight of an anchor's own class, from 0 to 1.
    pub alpha: f32,
    /// How much less logits count that are nearly right; 0 or more.
    pub gamma: f32,
}

impl FocalLoss {
    /// The label of anchors that are of no class: all their logits should be low.
    pub const BACKGROUND: u32 = u32::MAX - 1;

    /// The label of anchors that do not count.
    pub const IGNORED: u32 = u32::MAX;

    fn check(&self) -> Result<(), String> {
        let Self { classes, alpha, gamma } = *self;
        if classes == 0 || !(0.0..=1.0).contains(&alpha) || !(0.0..f32::INFINITY).contains(&gamma) {
            return Err(format!("takes classes, an alpha from 0 to 1 and a gamma from 0, got {self:?}"));
        }
        Ok(())
    }
}

/// How a predicted box is compared with its target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BoxLossKind {
    /// Sum of the absolute differences of the four deltas.
    L1,
    /// Sum over the four deltas of `d * d / 2` for a difference d up to `delta`, of `delta * (|d| - delta / 2)` beyond.
    Huber {
        /// Where the parabola ends; above 0.
        delta: f32,
    },
    /// `1 - GIoU` of the boxes (Rezatofighi et al. 2019; torchvision's `ops.generalized_box_iou_loss`).
    Giou,
}

impl BoxLossKind {
    /// The largest logarithm of a side's growth that is decoded: from 16 px to 1000 px, as in torchvision.
    pub const LARGEST_GROWTH: f64 = 4.135_166_556_742_356;

    /// What keeps quotients of areas finite, in square pixels, as in torchvision.
    pub const EPSILON: f64 = 1e-7;
}

/// Loss of the boxes of the anchors that have a class.
///
/// The four numbers of an anchor are its deltas: with the anchor's centre (x, y) and sides (w, h), the box has its
/// centre at `(x + w * d0, y + h * d1)` and the sides `(w * exp(d2), h * exp(d3))`, where d2 and d3 count up to
/// [`BoxLossKind::LARGEST_GROWTH`].
///
/// Inputs: labels `[N, T]` (as of [`FocalLoss`]), normalisers `[N]`, targets `[N, T, 4]` (f32: deltas; with
/// [`BoxLossKind::Giou`], boxes as left, top, right, bottom in pixels), with [`BoxLossKind::Giou`] the anchors `[T, 4]`
/// (as boxes), then the deltas of each level `[N, Hi, Wi, A * 4]`.
/// Output: the mean over the pictures of `normaliser * sum over the anchors with a class` `[1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxLoss {
    /// K. A label below K is a class.
    pub classes: usize,
    /// How boxes are compared.
    pub kind: BoxLossKind,
}

impl BoxLoss {
    /// Number of inputs before the first level.
    pub(crate) fn before_levels(&self) -> usize {
        3 + usize::from(self.kind == BoxLossKind::Giou)
    }

    /// Checks the targets, and the anchors if there are any.
    fn check(&self, inputs: &[&Spec], labels: &Spec) -> Result<(), String> {
        if let BoxLossKind::Huber { delta } = self.kind
            && !(delta > 0.0 && delta.is_finite())
        {
            return Err(format!("takes a delta above 0, got {delta}"));
        }
        let [n, t] = [labels.shape[0], labels.shape[1]];
        for (spec, (name, shape)) in inputs.iter().zip([("targets", vec![n, t, 4]), ("anchors", vec![t, 4])]) {
            same(name, &spec.shape, &shape)?;
            if *spec != &Spec::plain(shape, DType::F32) {
                return Err(format!("{name} are plain F32"));
            }
        }
        Ok(())
    }
}

/// Anchors of a picture in a level whose map holds so many numbers an anchor.
pub(crate) fn anchors_of(level: &Spec, numbers: usize) -> usize {
    level.elements() / level.shape[0].max(1) / numbers
}

/// Checks labels `[N, T]`, normalisers and levels. Returns T and the number of the levels' anchors.
fn check(labels: &Spec, normalisers: &Spec, levels: &[&Spec], numbers: usize) -> Result<[usize; 2], String> {
    let [n, t] = labels.shape[..] else {
        return Err(format!("expected labels [N, T], got {:?}", labels.shape));
    };
    if labels.dtype != DType::U32 {
        return Err("labels are U32".into());
    }
    same("normalisers", &normalisers.shape, &[n])?;
    let mut anchors = 0;
    for level in levels {
        let [pictures, _, _, channels] = map(level)?;
        if pictures != n || channels % numbers != 0 {
            let shape = &level.shape;
            return Err(format!("levels must hold {n} pictures and {numbers} channels an anchor, got {shape:?}"));
        }
        anchors += anchors_of(level, numbers);
    }
    if n * t * numbers > MOST_NUMBERS {
        return Err(format!("takes up to {MOST_NUMBERS} numbers of anchors, got {}", n * t * numbers));
    }
    Ok([t, anchors])
}

/// Checks the labels, normalisers and levels of a loss.
fn check_all(labels: &Spec, normalisers: &Spec, levels: &[&Spec], numbers: usize) -> Result<Vec<Spec>, String> {
    match check(labels, normalisers, levels, numbers)? {
        [t, anchors] if t == anchors => Ok(vec![Spec::plain([1], DType::F32)]),
        [t, anchors] => Err(format!("there are {t} labels a picture, but the levels have {anchors} anchors")),
    }
}

/// Checks one level of a gradient, and its scale.
fn check_one(inputs: &[&Spec], first: usize, numbers: usize, scaled: bool) -> Result<Vec<Spec>, String> {
    let [t, anchors] = check(inputs[1], inputs[2], &inputs[..1], numbers)?;
    if first + anchors > t {
        return Err(format!("there are {t} labels a picture, but the level ends at anchor {}", first + anchors));
    }
    if scaled {
        same("scale", &inputs[inputs.len() - 1].shape, &[1])?;
    }
    Ok(vec![Spec::channels(inputs[0].shape.clone())])
}

/// Appends a gradient node for each level: `build` makes it from the level and the number of its first anchor.
fn differentiate(
    node: &Node,
    back: &mut Backward<'_>,
    levels: &[TensorId],
    numbers: usize,
    mut build: impl FnMut(&mut Backward<'_>, TensorId, usize) -> Result<TensorId, Error>,
) -> Result<(), Error> {
    let mut first = 0;
    for &level in levels {
        if back.needs(level) {
            let gradient = build(back, level, first)?;
            back.accumulate(node, level, gradient)?;
        }
        first += anchors_of(back.graph.spec(level), numbers);
    }
    Ok(())
}

impl Rule for FocalLoss {
    fn name(&self) -> &'static str {
        "focal_loss"
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        self.check()?;
        arity(inputs, inputs.len().max(3))?;
        check_all(inputs[0], inputs[1], &inputs[2..], self.classes)
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(Seed { weight, scale }) = back.seed_of(node.outputs[0]) else { return Ok(()) };
        let (before, levels) = node.inputs.split_at(2);
        differentiate(node, back, levels, self.classes, |back, level, first| {
            let grad = FocalLossGrad { loss: *self, first, weight, scaled: scale.is_some() };
            let inputs: Vec<TensorId> = [level].into_iter().chain(before.iter().copied()).chain(scale).collect();
            Ok(back.emit(node, grad, &inputs)?[0])
        })
    }
}

/// Gradient of [`FocalLoss`] with respect to the logits of one level; times a weight, and times a scale if there is
/// one.
///
/// Inputs: the level's logits, labels, normalisers and, if `scaled`, the scale `[1]`. Output: shaped as the logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FocalLossGrad {
    /// The forward node's operation.
    pub loss: FocalLoss,
    /// Number of the level's first anchor.
    pub first: usize,
    /// The factor of this loss in the sum of all losses; 1 for a single loss.
    pub weight: f32,
    /// Whether there is a scale.
    pub scaled: bool,
}

impl Rule for FocalLossGrad {
    fn name(&self) -> &'static str {
        "focal_loss_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        self.loss.check()?;
        arity(inputs, 3 + usize::from(self.scaled))?;
        check_one(inputs, self.first, self.loss.classes, self.scaled)
    }
}

impl Rule for BoxLoss {
    fn name(&self) -> &'static str {
        "box_loss"
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let before = self.before_levels();
        arity(inputs, inputs.len().max(before + 1))?;
        let made = check_all(inputs[0], inputs[1], &inputs[before..], 4)?;
        self.check(&inputs[2..before], inputs[0])?;
        Ok(made)
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(Seed { weight, scale }) = back.seed_of(node.outputs[0]) else { return Ok(()) };
        let (before, levels) = node.inputs.split_at(self.before_levels());
        differentiate(node, back, levels, 4, |back, level, first| {
            let grad = BoxLossGrad { loss: *self, first, weight, scaled: scale.is_some() };
            let inputs: Vec<TensorId> = [level].into_iter().chain(before.iter().copied()).chain(scale).collect();
            Ok(back.emit(node, grad, &inputs)?[0])
        })
    }
}

/// Gradient of [`BoxLoss`] with respect to the deltas of one level; times a weight, and times a scale if there is one.
/// The slope of an absolute difference is 0 at 0, and where two edges coincide that of the larger or smaller one is a
/// half, as in PyTorch: so a box that meets its target stays.
///
/// Inputs: the level's deltas, labels, normalisers, targets, the anchors if the loss has them and, if `scaled`, the
/// scale `[1]`. Output: shaped as the deltas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxLossGrad {
    /// The forward node's operation.
    pub loss: BoxLoss,
    /// Number of the level's first anchor.
    pub first: usize,
    /// The factor of this loss in the sum of all losses; 1 for a single loss.
    pub weight: f32,
    /// Whether there is a scale.
    pub scaled: bool,
}

impl Rule for BoxLossGrad {
    fn name(&self) -> &'static str {
        "box_loss_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let before = 1 + self.loss.before_levels();
        arity(inputs, before + usize::from(self.scaled))?;
        let made = check_one(inputs, self.first, 4, self.scaled)?;
        self.loss.check(&inputs[3..before], inputs[1])?;
        Ok(made)
    }
}
