//! Depth and its losses.

use super::View;
use crate::graph::op::{DepthLoss, DepthLossGrad, DepthLossKind, ScaledSigmoid, ScaledSigmoidGrad};

/// The deviation of each pixel whose depth is known.
fn deviations(kind: DepthLossKind, predictions: View<'_>, truths: View<'_>) -> Vec<Option<f64>> {
    let margin = f64::from(kind.formula().margin);
    let known = |truth: f64| truth >= f64::from(f32::MIN_POSITIVE) && truth.is_finite();
    let pairs = predictions.data.iter().zip(truths.data);
    pairs.map(|(&p, &t)| known(t).then(|| (p + margin).ln() - (t + margin).ln())).collect()
}

/// The square of a kind's formula, and its spread.
fn square(kind: DepthLossKind, [count, mean, variance]: [f64; 3]) -> (f64, f64) {
    let formula = kind.formula();
    let spread = if formula.unbiased { count / (count - 1.0).max(1.0) } else { 1.0 };
    (spread * variance + f64::from(formula.level) * mean * mean, spread)
}

/// Returns the loss and the statistics.
pub(super) fn depth_loss(op: &DepthLoss, inputs: &[View<'_>]) -> Vec<Vec<f64>> {
    let known: Vec<f64> = deviations(op.kind, inputs[0], inputs[1]).into_iter().flatten().collect();
    let pixels = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / pixels;
    let variance = known.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / pixels;
    let statistics = [known.len() as f64, mean, variance];
    let (square, _) = square(op.kind, statistics);
    let loss = op.kind.formula().root.map_or(square, |factor| f64::from(factor) * square.sqrt());
    vec![vec![loss], statistics.into()]
}

/// Inputs: predictions, truths, statistics, scale.
pub(super) fn depth_loss_grad(op: &DepthLossGrad, inputs: &[View<'_>]) -> Vec<f64> {
    let formula = op.kind.formula();
    let statistics @ [count, mean, _] = std::array::from_fn(|i| inputs[2].data[i]);
    let (square, spread) = square(op.kind, statistics);
    let outer = match formula.root {
        None => 1.0,
        Some(_) if square <= 0.0 => 0.0,
        Some(factor) => f64::from(factor) / (2.0 * square.sqrt()),
    };
    let scale = inputs.get(3).map_or(1.0, |scale| scale.data[0]);
    let factor = scale * f64::from(op.weight) * outer * 2.0 / count.max(1.0);
    let slope = |(d, &p): (Option<f64>, &f64)| {
        let slope = |d| spread * (d - mean) + f64::from(formula.level) * mean;
        d.map_or(0.0, |d| factor * slope(d) / (p + f64::from(formula.margin)))
    };
    deviations(op.kind, inputs[0], inputs[1]).into_iter().zip(inputs[0].data).map(slope).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn scaled_sigmoid(op: &ScaledSigmoid, x: View<'_>) -> Vec<f64> {
    x.data.iter().map(|&x| f64::from(op.scale) * sigmoid(x).max(op.floor.into())).collect()
}

pub(super) fn scaled_sigmoid_grad(op: &ScaledSigmoidGrad, x: View<'_>, dy: View<'_>) -> Vec<f64> {
    let ScaledSigmoid { scale, floor } = op.forward;
    let slope = |x: f64| match sigmoid(x) {
        share if share >= f64::from(floor) => f64::from(scale) * share * sigmoid(-x),
        _ => 0.0,
    };
    x.data.iter().zip(dy.data).map(|(&x, dy)| dy * slope(x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas as their authors write them, by means of d and d * d.
    #[test]
    fn losses_are_those_of_the_papers() {
        let d = [0.5, -1.0, 0.25, 2.0];
        let truths = [1.0, 2.5, 4.0, 0.0, 8.0];
        let n = d.len() as f64;
        let [mean, squares] = [d.iter().sum::<f64>() / n, d.iter().map(|d| d * d).sum::<f64>() / n];
        let unbiased = d.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
        for (kind, want) in [
            (DepthLossKind::ScaleInvariant { lambda: 0.5 }, squares - 0.5 * mean * mean),
            (DepthLossKind::SiLog { focus: 0.75 }, 10.0 * (squares - 0.75 * mean * mean).sqrt()),
            (DepthLossKind::SigLoss, (unbiased + 0.15 * mean * mean).sqrt()),
        ] {
            let margin = f64::from(kind.formula().margin);
            let known = truths.iter().filter(|&&t| t > 0.0).zip(d).map(|(t, d)| (t + margin) * d.exp() - margin);
            let mut predictions: Vec<f64> = known.collect();
            predictions.insert(3, 7.0);
            let views = [View { shape: &[1, 1, 5, 1], data: &predictions }, View { shape: &[1, 1, 5], data: &truths }];
            let made = depth_loss(&DepthLoss { kind }, &views);
            // The weight 0.15 is an f32.
            assert!((made[0][0] - want).abs() < 1e-7, "{kind:?}: {} instead of {want}", made[0][0]);
            assert_eq!(made[1][0], n, "one pixel is not known");
        }
    }
}
