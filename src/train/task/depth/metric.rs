//! Errors of predicted depths, as they are usual for NYU v2: of each picture, then their mean over the pictures.

use std::sync::Once;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Metric, worst};
use crate::data::{Batch, Truth};
use crate::graph::Elements;
use crate::train::Numbers;

/// The least depth that counts, metres: the usual range of NYU v2.
const LEAST_M: f32 = 1e-3;

/// The share of the known depths that may be too far away to count without a warning.
const MOST_BEYOND: f64 = 0.01;

/// Names of the errors, in order.
const NAMES: [&str; 7] = ["delta1", "delta2", "delta3", "abs_rel", "rmse", "log10", "silog"];

/// Adds up the pictures' errors.
pub(super) struct Errors {
    /// Truths from this depth on do not count, and predictions are cut off there, metres.
    max_m: f32,
    sums: [f64; 7],
    /// Pictures with a known depth.
    pictures: usize,
    /// Pixels whose depth is known, and those of them that are too far away to count.
    known: [u64; 2],
    loss: f64,
    batches: usize,
    worst: Vec<Worst>,
    keep: Option<usize>,
}

/// What a validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The errors by name, means over the pictures.
    pub errors: Numbers,
    /// Pictures with the lowest share of nearly right depths, lowest first.
    pub worst: Vec<Worst>,
}

/// A picture with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Its index in the source.
    pub index: usize,
    /// Share of its depths that are wrong by less than a factor of 1.25.
    pub delta1: f64,
    /// The least and the greatest of its true depths, millimetres.
    pub truth_mm: [u32; 2],
    /// Height and width of the answer.
    pub size: [usize; 2],
    /// The predicted depth of each pixel, row by row, millimetres, made smaller for the report.
    pub predicted_mm: Vec<u32>,
}

impl Errors {
    pub(super) fn new(max_m: f32, keep: Option<usize>) -> Self {
        let (sums, worst) = ([0.0; 7], Vec::new());
        Self { max_m, sums, pictures: 0, known: [0; 2], loss: 0.0, batches: 0, worst, keep }
    }

    /// The errors by name, NaN without pictures.
    fn errors(&self) -> Numbers {
        let mean = |sum: f64| if self.pictures > 0 { sum / self.pictures as f64 } else { f64::NAN };
        let errors = NAMES.into_iter().zip(self.sums);
        errors.fold(Numbers::default(), |numbers, (name, sum)| numbers.with(name, mean(sum)))
    }
}

fn millimetres(metres: f32) -> u32 {
    (1e3 * metres).round() as u32
}

/// Whether a true depth counts: if it is between 1 mm and `max_m`.
fn counts(metres: f32, max_m: f32) -> bool {
    metres > LEAST_M && metres < max_m
}

/// The errors of a picture's depths, in the order of [`NAMES`]; `None` if no depth counts. Predictions are clamped to
/// the range of the depths that count.
fn errors(predicted: &[f32], truth: &[f32], max_m: f32) -> Option<[f64; 7]> {
    let counted = || {
        let pairs = predicted.iter().zip(truth).filter(|(_, truth)| counts(**truth, max_m));
        pairs.map(|(predicted, truth)| (f64::from(predicted.clamp(LEAST_M, max_m)), f64::from(*truth)))
    };
    let (mut sums, mut of_ln, mut count) = ([0.0; 6], 0.0, 0.0);
    for (p, g) in counted() {
        let (ratio, ln) = ((p / g).max(g / p), (p / g).ln());
        let within = [1, 2, 3].map(|power| f64::from(u8::from(ratio < 1.25f64.powi(power))));
        let terms = [within[0], within[1], within[2], (p - g).abs() / g, (p - g).powi(2), ln.abs() / 10f64.ln()];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        of_ln += ln;
        count += 1.0;
    }
    if count == 0.0 {
        return None;
    }
    let [d1, d2, d3, relative, squared, log10] = sums.map(|sum| sum / count);
    // The variance in a second pass, since the mean of the logarithms may be far from 0.
    let mean = of_ln / count;
    let variance = counted().map(|(p, g)| ((p / g).ln() - mean).powi(2)).sum::<f64>() / count;
    Some([d1, d2, d3, relative, squared.sqrt(), log10, 100.0 * variance.sqrt()])
}

impl Metric for Errors {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        self.loss += f64::from(outputs[1].floats()[0]);
        self.batches += 1;
        let predictions = outputs[0].floats().chunks(batch.size[0] * batch.size[1]);
        let pictures = predictions.zip(&batch.truths).zip(&batch.views).zip(&batch.indices);
        for (((predicted, truth), view), &index) in pictures {
            let Truth::Depth(truth) = truth else { unreachable!("the data was opened for its depths") };
            let truth = view.depth_to_input(truth);
            let of_truth = |from: f32| truth.iter().filter(|metres| **metres > 0.0 && **metres >= from).count() as u64;
            self.known.iter_mut().zip([0.0, self.max_m]).for_each(|(sum, from)| *sum += of_truth(from));
            let Some(errors) = errors(predicted, &truth, self.max_m) else { continue };
            self.sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
            self.pictures += 1;
            if let Some(keep) = self.keep {
                let delta1 = errors[0];
                worst::keep(
                    &mut self.worst,
                    keep,
                    |worst| worst.delta1,
                    delta1,
                    || {
                        let counted = truth.iter().copied().filter(|&metres| counts(metres, self.max_m));
                        let ends = counted.fold([f32::INFINITY, 0.0f32], |[l, h], m| [l.min(m), h.max(m)]);
                        let (size, predicted) = worst::smaller(batch.size, predicted);
                        let predicted_mm = predicted.into_iter().map(millimetres).collect();
                        Worst { index, delta1, truth_mm: ends.map(millimetres), size, predicted_mm }
                    },
                );
            }
        }
    }

    /// The loss is a mean over the batches. The first time that many depths do not count, there is a warning.
    fn numbers(&self) -> Numbers {
        let [known, beyond] = self.known.map(|pixels| pixels as f64);
        static TOLD: Once = Once::new();
        if beyond > MOST_BEYOND * known {
            let (percent, most) = (100.0 * beyond / known, self.max_m);
            TOLD.call_once(|| {
                log::warn!(
                    "{percent:.1} % of the known depths are {most} m away or more and do not count: train with a \
                     larger --max-depth"
                );
            });
        }
        self.errors().with("loss", self.loss / self.batches.max(1) as f64)
    }

    fn findings(&self) -> Value {
        let Some(_) = self.keep else { return Value::Object(serde_json::Map::new()) };
        let findings = Findings { errors: self.errors(), worst: self.worst.clone() };
        serde_json::to_value(findings).unwrap_or_else(|e| unreachable!("findings are plain data: {e}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_crafted_depths() {
        // Of five pixels one is unknown and one too far; ratios of the others: 1, 1.2, 1.5.
        let errors = errors(&[1.0, 2.4, 3.0, 9.0, 9.0], &[1.0, 2.0, 4.5, 0.0, 10.0], 10.0).unwrap();
        let ln: Vec<f64> = [1.0f64, 1.2, 1.0 / 1.5].iter().map(|ratio| ratio.ln()).collect();
        let mean = ln.iter().sum::<f64>() / 3.0;
        let deviation = (ln.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        let log10 = ln.iter().map(|l| l.abs() / 10f64.ln()).sum::<f64>() / 3.0;
        let relative = (0.0 + 0.2 + 1.0 / 3.0) / 3.0;
        let squares: f64 = (0.4f64.powi(2) + 1.5f64.powi(2)) / 3.0;
        let want = [2.0 / 3.0, 1.0, 1.0, relative, squares.sqrt(), log10, 100.0 * deviation];
        for (name, (got, want)) in NAMES.into_iter().zip(errors.into_iter().zip(want)) {
            // The inputs are f32.
            assert!((got - want).abs() < 1e-6 * want.max(1.0), "{name}: {got}, not {want}");
        }
        assert_eq!(super::errors(&[1.0], &[0.0], 10.0), None);
    }
}
