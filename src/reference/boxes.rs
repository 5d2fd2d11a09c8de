//! Losses of a detector's anchors.

use super::{Error, View};
use crate::graph::op::{BoxLoss, BoxLossGrad, BoxLossKind, FocalLoss, FocalLossGrad, anchors_of};
use crate::graph::{DType, Layout, Spec};

/// An anchor of a level.
struct Anchor<'a> {
    /// Its numbers in the level's map.
    numbers: &'a [f64],
    /// Its label.
    label: usize,
    /// Its number among the anchors of all levels.
    at: usize,
    /// Its number among the anchors of all pictures.
    row: usize,
    /// The factor of its loss: its picture's normaliser by the number of pictures.
    factor: f64,
}

/// The anchors of a level in their order. `first` is the number of its first anchor.
fn anchors<'a>(
    node: &str,
    [labels, normalisers]: [View<'a>; 2],
    level: View<'a>,
    numbers: usize,
    classes: usize,
    first: usize,
) -> Result<Vec<Anchor<'a>>, Error> {
    let [pictures, anchors] = labels.dims();
    let of_level = of(level, numbers);
    let anchor = |(i, numbers)| {
        let (picture, at) = (i / of_level, first + i % of_level);
        let row = picture * anchors + at;
        let label = labels.data[row];
        if label >= classes as f64 && label < FocalLoss::BACKGROUND.into() {
            return Err(Error::Label { node: node.to_owned(), row, label, classes });
        }
        let factor = normalisers.data[picture] / pictures as f64;
        Ok(Anchor { numbers, label: label as usize, at, row, factor })
    };
    level.data.chunks_exact(numbers).enumerate().map(anchor).collect()
}

/// Anchors of a picture in a level.
fn of(level: View<'_>, numbers: usize) -> usize {
    anchors_of(&Spec { shape: level.shape.into(), layout: Layout::Channels, dtype: DType::F32 }, numbers)
}

/// Calls `sum` with each level and the number of its first anchor, and adds up what it returns.
fn over_levels<'a>(
    levels: &[View<'a>],
    numbers: usize,
    sum: impl Fn(View<'a>, usize) -> Result<f64, Error>,
) -> Result<f64, Error> {
    let (mut total, mut first) = (0.0, 0);
    for &level in levels {
        total += sum(level, first)?;
        first += of(level, numbers);
    }
    Ok(total)
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The loss of each of an anchor's logits, and its derivative.
fn focal<'a>(op: &'a FocalLoss, anchor: &'a Anchor<'_>) -> impl Iterator<Item = [f64; 2]> + 'a {
    let [alpha, gamma] = [op.alpha, op.gamma].map(f64::from);
    anchor.numbers.iter().enumerate().map(move |(class, &logit)| {
        if anchor.label == FocalLoss::IGNORED as usize {
            return [0.0; 2];
        }
        // The sign turns the logit such that it should be high.
        let (sign, share) = if class == anchor.label { (1.0, alpha) } else { (-1.0, 1.0 - alpha) };
        let x = sign * logit;
        let (surprise, modulator) = (softplus(-x), (-gamma * softplus(x)).exp());
        let sigmoid = (-softplus(-x)).exp();
        [share * modulator * surprise, -sign * share * modulator * (gamma * sigmoid * surprise + 1.0 - sigmoid)]
    })
}

/// Inputs: labels, normalisers, levels.
pub(super) fn focal_loss(op: &FocalLoss, node: &str, inputs: &[View<'_>]) -> Result<Vec<f64>, Error> {
    let total = over_levels(&inputs[2..], op.classes, |level, first| {
        let anchors = anchors(node, [inputs[0], inputs[1]], level, op.classes, op.classes, first)?;
        Ok(anchors.iter().map(|anchor| anchor.factor * focal(op, anchor).map(|[loss, _]| loss).sum::<f64>()).sum())
    })?;
    Ok(vec![total])
}

/// Inputs: a level, labels, normalisers, scale.
pub(super) fn focal_loss_grad(grad: &FocalLossGrad, node: &str, inputs: &[View<'_>]) -> Result<Vec<f64>, Error> {
    let (op, weight) = (&grad.loss, f64::from(grad.weight) * inputs.get(3).map_or(1.0, |scale| scale.data[0]));
    let anchors = anchors(node, [inputs[1], inputs[2]], inputs[0], op.classes, op.classes, grad.first)?;
    let slopes = |anchor| focal(op, anchor).map(move |[_, slope]| weight * anchor.factor * slope);
    Ok(anchors.iter().flat_map(slopes).collect())
}

/// Loss of one box, and its derivatives by the deltas. `truths` are the targets, and the anchors if the loss has them.
fn box_loss_of(op: &BoxLoss, anchor: &Anchor<'_>, truths: &[View<'_>]) -> (f64, [f64; 4]) {
    let deltas: [f64; 4] = std::array::from_fn(|i| anchor.numbers[i]);
    let four = |view: View<'_>, at: usize| std::array::from_fn(|i| view.data[4 * at + i]);
    let target: [f64; 4] = four(truths[0], anchor.row);
    let differences: [f64; 4] = std::array::from_fn(|i| deltas[i] - target[i]);
    match op.kind {
        _ if anchor.label >= op.classes => (0.0, [0.0; 4]),
        BoxLossKind::L1 => (differences.iter().map(|d| d.abs()).sum(), differences.map(sign)),
        BoxLossKind::Huber { delta } => {
            let delta = f64::from(delta);
            let loss = |d: &f64| if d.abs() <= delta { d * d / 2.0 } else { delta * (d.abs() - delta / 2.0) };
            (differences.iter().map(loss).sum(), differences.map(|d| d.clamp(-delta, delta)))
        }
        BoxLossKind::Giou => giou(deltas, four(truths[1], anchor.at), target),
    }
}

/// -1, 0 or 1.
fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

/// `1 - GIoU` of a decoded box and its target, and the derivatives by the deltas.
fn giou(deltas: [f64; 4], anchor: [f64; 4], target: [f64; 4]) -> (f64, [f64; 4]) {
    // Per axis: the sides of the boxes, of what they share and of what encloses them, and the derivatives of the last
    // three by the low and by the high edge of the box.
    let axis = |i: usize| {
        let (low, side) = (anchor[i], anchor[i + 2] - anchor[i]);
        let centre = low + 0.5 * side + deltas[i] * side;
        let half = 0.5 * side * deltas[i + 2].min(BoxLossKind::LARGEST_GROWTH).exp();
        let (edges, truth) = ([centre - half, centre + half], [target[i], target[i + 2]]);
        // Whether the box's edge is above the target's: 1, 0, or a half where they coincide.
        let above: [f64; 2] = std::array::from_fn(|e| 0.5 + 0.5 * sign(edges[e] - truth[e]));
        let shared = edges[1].min(truth[1]) - edges[0].max(truth[0]);
        let outer = edges[1].max(truth[1]) - edges[0].min(truth[0]);
        Axis {
            sides: [2.0 * half, truth[1] - truth[0], shared, outer],
            slopes: [[-1.0, 1.0], [-above[0], 1.0 - above[1]], [above[0] - 1.0, above[1]]],
            // By the first and the third delta.
            moves: [side, if deltas[i + 2] <= BoxLossKind::LARGEST_GROWTH { half } else { 0.0 }],
        }
    };
    let axes = [axis(0), axis(1)];
    let area = |what: usize| axes[0].sides[what] * axes[1].sides[what];
    let meet = axes.iter().all(|axis| axis.sides[2] > 0.0);
    let shared = if meet { area(2) } else { 0.0 };
    let (union, outer) = (area(0) + area(1) - shared, area(3));
    let (u, c) = (union + BoxLossKind::EPSILON, outer + BoxLossKind::EPSILON);
    let loss = 1.0 - shared / u + (outer - union) / c;
    let mut slopes = [0.0; 4];
    for (i, axis) in axes.iter().enumerate() {
        let other = &axes[1 - i];
        let edge = |e: usize| {
            let of_box = axis.slopes[0][e] * other.sides[0];
            let of_shared = if meet { axis.slopes[1][e] * other.sides[2] } else { 0.0 };
            let (of_union, of_outer) = (of_box - of_shared, axis.slopes[2][e] * other.sides[3]);
            -(of_shared * u - shared * of_union) / (u * u)
                + ((of_outer - of_union) * c - (outer - union) * of_outer) / (c * c)
        };
        let [low, high] = [edge(0), edge(1)];
        slopes[i] = axis.moves[0] * (low + high);
        slopes[i + 2] = axis.moves[1] * (high - low);
    }
    (loss, slopes)
}

/// One axis of two boxes; see [`giou`].
struct Axis {
    sides: [f64; 4],
    slopes: [[f64; 2]; 3],
    moves: [f64; 2],
}

/// Inputs: labels, normalisers, targets, perhaps anchors, levels.
pub(super) fn box_loss(op: &BoxLoss, node: &str, inputs: &[View<'_>]) -> Result<Vec<f64>, Error> {
    let (before, levels) = inputs.split_at(op.before_levels());
    let total = over_levels(levels, 4, |level, first| {
        let anchors = anchors(node, [before[0], before[1]], level, 4, op.classes, first)?;
        Ok(anchors.iter().map(|anchor| anchor.factor * box_loss_of(op, anchor, &before[2..]).0).sum())
    })?;
    Ok(vec![total])
}

/// Inputs: a level, labels, normalisers, targets, perhaps anchors, scale.
pub(super) fn box_loss_grad(grad: &BoxLossGrad, node: &str, inputs: &[View<'_>]) -> Result<Vec<f64>, Error> {
    let before = 1 + grad.loss.before_levels();
    let weight = f64::from(grad.weight) * inputs.get(before).map_or(1.0, |scale| scale.data[0]);
    let anchors = anchors(node, [inputs[1], inputs[2]], inputs[0], 4, grad.loss.classes, grad.first)?;
    let slopes = |anchor: &Anchor<'_>| {
        let factor = weight * anchor.factor;
        box_loss_of(&grad.loss, anchor, &inputs[3..before]).1.map(|slope| factor * slope)
    };
    Ok(anchors.iter().flat_map(slopes).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn anchor(numbers: &[f64], label: usize) -> Anchor<'_> {
        Anchor { numbers, label, at: 0, row: 0, factor: 1.0 }
    }

    /// torchvision 0.29's `sigmoid_focal_loss` of -4, -1, 0, 1, 4 with alpha 0.25, and its gradient.
    #[test]
    fn focal_losses_are_torchvisions() {
        let cases = [
            (
                2.0,
                1,
                [
                    4.403677291401858e-06,
                    0.016993543131350493,
                    0.12996509635498973,
                    0.5264012275585387,
                    2.9061804284680104,
                ],
                [
                    1.301289841615317e-05,
                    0.03943584748317046,
                    0.22371509635498973,
                    0.5761760423994883,
                    0.8147968898136266,
                ],
            ),
            (
                1.5,
                1,
                [3.283565290561424e-05, 0.03276838897311861, 0.1837984019003526, 0.6156598107790414, 2.932673943137348],
                [
                    8.090706111189957e-05,
                    0.06406573482945006,
                    0.2704313228977421,
                    0.5910864191985151,
                    0.7958509505866767,
                ],
            ),
            (
                2.0,
                0,
                [
                    0.9687268094893369,
                    0.17546707585284624,
                    0.04332169878499658,
                    0.005664514377116832,
                    1.4678924304673092e-06,
                ],
                [
                    -0.27159896327120886,
                    -0.1920586807998294,
                    -0.07457169878499659,
                    -0.013145282494390155,
                    -4.337632805384433e-06,
                ],
            ),
            (
                1.5,
                0,
                [
                    0.9775579810457826,
                    0.20521993692634713,
                    0.0612661339667842,
                    0.01092279632437287,
                    1.094521763520492e-05,
                ],
                [
                    -0.2652836501955589,
                    -0.19702880639950504,
                    -0.09014377429924736,
                    -0.021355244943150026,
                    -2.696902037063343e-05,
                ],
            ),
        ];
        for (gamma, label, losses, slopes) in cases {
            let op = FocalLoss { classes: 1, alpha: 0.25, gamma };
            for (i, logit) in [-4.0, -1.0, 0.0, 1.0, 4.0].into_iter().enumerate() {
                let [loss, slope] = focal(&op, &anchor(&[logit], label)).next().unwrap();
                assert!((loss - losses[i]).abs() < 1e-15, "{gamma}, {label}, {logit}: {loss}");
                assert!((slope - slopes[i]).abs() < 1e-15, "{gamma}, {label}, {logit}: {slope}");
            }
        }
    }

    #[test]
    fn gradients_are_finite_for_any_logit_and_small_gammas() {
        for (gamma, logit, label) in [0.0, 0.5].into_iter().flat_map(|g| [-1e4, 1e4].map(|x| (g, x, 0))) {
            let op = FocalLoss { classes: 1, alpha: 0.25, gamma };
            let found = focal(&op, &anchor(&[logit], label)).next().unwrap();
            assert!(found.iter().all(|v| v.is_finite()), "{gamma}, {logit}: {found:?}");
        }
        let op = FocalLoss { classes: 1, alpha: 0.25, gamma: 0.5 };
        assert_eq!(focal(&op, &anchor(&[3.0], FocalLoss::IGNORED as usize)).next(), Some([0.0; 2]), "ignored");
    }

    /// Boxes of 2 x 2 px and 2 x 4 px: shared 2, union 10, enclosed by 3 x 4. Apart: union 8, enclosed by 6 x 2. And a
    /// box that meets its target.
    #[test]
    fn giou_of_boxes_that_are_computed_by_hand() {
        let giou_of = |anchor, target| giou([0.0; 4], anchor, target);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-7, "{got} instead of {want}");
        near(giou_of([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 4.0]).0, 1.0 - 0.2 + 2.0 / 12.0);
        near(giou_of([0.0, 0.0, 2.0, 2.0], [4.0, 0.0, 6.0, 2.0]).0, 1.0 + 4.0 / 12.0);
        let (loss, slopes) = giou_of([3.0, 4.0, 10.0, 6.0], [3.0, 4.0, 10.0, 6.0]);
        near(loss, 0.0);
        slopes.into_iter().for_each(|slope| near(slope, 0.0));
        // torchvision's `BoxCoder` decodes these deltas of the anchor (100, 100, 132, 164) to (-852, 164, 1148, 228).
        let deltas = [1.0, 1.0, 1000f64.ln(), 0.0];
        near(giou(deltas, [100.0, 100.0, 132.0, 164.0], [-852.0, 164.0, 1148.0, 228.0]).0, 0.0);
    }

    #[test]
    fn huber_meets_its_lines() {
        let op = |kind| BoxLoss { classes: 3, kind };
        let target = View { shape: &[1, 1, 4], data: &[0.0; 4] };
        let of = |kind, label| box_loss_of(&op(kind), &anchor(&[0.5, -0.5, 2.0, 0.0], label), &[target]);
        assert_eq!(of(BoxLossKind::L1, 2), (3.0, [1.0, -1.0, 1.0, 0.0]));
        assert_eq!(of(BoxLossKind::Huber { delta: 1.0 }, 0), (0.125 + 0.125 + 1.5, [0.5, -0.5, 1.0, 0.0]));
        assert_eq!(of(BoxLossKind::L1, 3), (0.0, [0.0; 4]), "the background has no box");
    }
}
