//! Depth: from a logit to metres, and losses of the logarithm of depth.

use super::{Half, Rule, arity, map, same};
use crate::graph::autodiff::{Backward, Seed};
use crate::graph::{DType, Error, Node, Spec};

/// What [`DepthLoss`] makes of the deviations d of its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DepthLossKind {
    /// `mean(d^2) - lambda * mean(d)^2` (Eigen, Puhrsch and Fergus 2014).
    ScaleInvariant {
        /// How much of a common factor is forgiven, from 0 to 1.
        lambda: f32,
    },
    /// `10 * sqrt(mean(d^2) - focus * mean(d)^2)` (Lee et al. 2019, "BTS").
    SiLog {
        /// How much of a common factor is forgiven, from 0 to 1; BTS takes 0.85.
        focus: f32,
    },
    /// `sqrt(variance(d) + 0.15 * mean(d)^2)` with the unbiased variance, and the logarithms of depths plus
    /// [`Self::MARGIN`] (Bhat, Alhashim and Wonka 2021, "AdaBins"). The variance of a single pixel is 0.
    SigLoss,
}

/// A [`DepthLossKind`] as one formula: `square = spread * variance(d) + level * mean(d)^2`, where spread is 1, or
/// `count / (count - 1)` if the variance is unbiased; the loss is the square, or a factor times its root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DepthFormula {
    /// Added to both depths before their logarithms.
    pub(crate) margin: f32,
    /// Weight of the squared mean.
    pub(crate) level: f32,
    /// Whether the variance is unbiased.
    pub(crate) unbiased: bool,
    /// The root's factor, if the loss is a root.
    pub(crate) root: Option<f32>,
}

impl DepthLossKind {
    /// What [`Self::SigLoss`] adds to depths, in metres.
    pub const MARGIN: f32 = 1e-3;

    /// The formula. As `mean(d^2) = variance(d) + mean(d)^2`, the difference of two squares that may almost cancel
    /// becomes a sum of two that are not negative.
    pub(crate) fn formula(self) -> DepthFormula {
        let plain = DepthFormula { margin: 0.0, level: 0.15, unbiased: false, root: None };
        match self {
            Self::ScaleInvariant { lambda } => DepthFormula { level: 1.0 - lambda, ..plain },
            Self::SiLog { focus } => DepthFormula { level: 1.0 - focus, root: Some(10.0), ..plain },
            Self::SigLoss => DepthFormula { margin: Self::MARGIN, unbiased: true, root: Some(1.0), ..plain },
        }
    }

    fn check(self) -> Result<(), String> {
        match self {
            Self::ScaleInvariant { lambda: share } | Self::SiLog { focus: share } if !(0.0..=1.0).contains(&share) => {
                Err(format!("forgives a share from 0 to 1, got {share}"))
            }
            _ => Ok(()),
        }
    }
}

/// Loss of predicted depths over all pixels of the batch whose depth is known: `d = ln(prediction) - ln(truth)`. If no
/// depth is known, the loss is 0.
///
/// Inputs: predictions `[N, H, W, 1]`, above 0; truths `[N, H, W]` (f32): a depth is known if it is finite and at least
/// [`f32::MIN_POSITIVE`]. Both in the same unit, for instance metres.
/// Outputs: the loss `[1]`; the number of known pixels, the mean of d and its biased variance `[3]`. The variance is
/// merged from the deviations of parts from their own means (Chan, Golub and LeVeque 1979): `mean(d^2) - mean(d)^2` in
/// f32 would lose it where all depths are off by one factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthLoss {
    /// What becomes of the deviations.
    pub kind: DepthLossKind,
}

impl DepthLoss {
    /// The most pixels of a batch, which an f32 counts exactly.
    pub const MOST_PIXELS: usize = 1 << 24;
}

fn check(predictions: &Spec, truths: &Spec) -> Result<[usize; 4], String> {
    let shape @ [n, h, w, c] = map(predictions)?;
    same("predictions", &[c], &[1])?;
    same("truths", &truths.shape, &[n, h, w])?;
    if *truths != Spec::plain([n, h, w], DType::F32) {
        return Err("truths are plain F32".into());
    }
    if n * h * w > DepthLoss::MOST_PIXELS {
        return Err(format!("takes up to {} pixels, got {}", DepthLoss::MOST_PIXELS, n * h * w));
    }
    Ok(shape)
}

impl Rule for DepthLoss {
    fn name(&self) -> &'static str {
        "depth_loss"
    }

    fn is_loss(&self) -> bool {
        true
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 2)?;
        self.kind.check()?;
        check(inputs[0], inputs[1])?;
        Ok([1, 3].map(|numbers| Spec::plain([numbers], DType::F32)).into())
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(Seed { weight, scale }) = back.seed_of(node.outputs[0]) else { return Ok(()) };
        let grad = DepthLossGrad { kind: self.kind, weight, scaled: scale.is_some() };
        let mut inputs = vec![node.inputs[0], node.inputs[1], node.outputs[1]];
        inputs.extend(scale);
        let gradient = back.emit(node, grad, &inputs)?[0];
        back.accumulate(node, node.inputs[0], gradient)
    }
}

/// Gradient of [`DepthLoss`] with respect to the predictions; times a weight, and times a scale if there is one. It is
/// 0 where the depth is not known, and everywhere if the loss is a root of 0, which is its minimum.
///
/// Inputs: predictions, truths, the statistics `[3]` and, if `scaled`, the scale `[1]`. Output `[N, H, W, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthLossGrad {
    /// As in the forward node.
    pub kind: DepthLossKind,
    /// The factor of this loss in the sum of all losses; 1 for a single loss.
    pub weight: f32,
    /// Whether there is a scale.
    pub scaled: bool,
}

impl Rule for DepthLossGrad {
    fn name(&self) -> &'static str {
        "depth_loss_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 3 + usize::from(self.scaled))?;
        self.kind.check()?;
        let shape = check(inputs[0], inputs[1])?;
        for (numbers, (name, count)) in inputs[2..].iter().zip([("statistics", 3), ("scale", 1)]) {
            same(name, &numbers.shape, &[count])?;
        }
        Ok(vec![Spec::channels(shape)])
    }
}

/// `scale * max(sigmoid(x), floor)`: a positive number up to `scale`, such as a depth in metres.
///
/// Input and output: `[N, H, W, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledSigmoid {
    /// The largest result.
    pub scale: f32,
    /// The least share of it, from 0 to 1.
    pub floor: f32,
}

impl ScaledSigmoid {
    fn check(&self) -> Result<(), String> {
        let Self { scale, floor } = *self;
        if !(scale > 0.0 && scale.is_finite() && (0.0..=1.0).contains(&floor)) {
            return Err(format!("takes a scale above 0 and a floor from 0 to 1, got {scale} and {floor}"));
        }
        Ok(())
    }
}

impl Rule for ScaledSigmoid {
    fn name(&self) -> &'static str {
        "scaled_sigmoid"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 1)?;
        self.check()?;
        Ok(vec![Spec::channels(map(inputs[0])?)])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        if !back.needs(x) {
            return Ok(());
        }
        let dx = back.emit(node, ScaledSigmoidGrad { forward: *self }, &[x, dy])?[0];
        back.accumulate(node, x, dx)
    }
}

/// Gradient of [`ScaledSigmoid`]: `dy * scale * sigmoid'(x)` where `sigmoid(x) >= floor`, else 0.
///
/// Inputs: x, dy `[N, H, W, C]`. Output: shaped as x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaledSigmoidGrad {
    /// The forward node's operation.
    pub forward: ScaledSigmoid,
}

impl Rule for ScaledSigmoidGrad {
    fn name(&self) -> &'static str {
        "scaled_sigmoid_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 2)?;
        self.forward.check()?;
        same("dy", &inputs[1].shape, &inputs[0].shape)?;
        Ok(vec![Spec::channels(map(inputs[0])?)])
    }
}
