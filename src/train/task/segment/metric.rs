//! How well predicted masks cover the true ones, by one confusion matrix over all pictures.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Metric, worst};
use crate::data::Batch;
use crate::graph::Elements;
use crate::train::Numbers;
use crate::train::report::parts::Names;

/// Counts pixels by true and predicted class.
pub(super) struct Overlap {
    classes: usize,
    /// Pixels by true class (rows) and predicted class (columns).
    confusion: Vec<u64>,
    /// Sum of the pixels' cross-entropies, and the number of pixels that count.
    loss: f64,
    pixels: f64,
    /// The worst pictures, and how many of them to keep.
    worst: Vec<Worst>,
    keep: Option<usize>,
}

/// What a validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Number of pixels by true class (rows) and predicted class (columns).
    pub confusion: Vec<Vec<u64>>,
    /// Pictures with the lowest share of right pixels, lowest first.
    pub worst: Vec<Worst>,
}

/// A picture with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Its index in the source.
    pub index: usize,
    /// Share of its pixels that are right.
    pub right: f64,
    /// Height and width of the answer.
    pub size: [usize; 2],
    /// The predicted class of each pixel, row by row, made smaller for the report.
    pub predicted: Vec<u8>,
}

impl Overlap {
    pub(super) fn new(classes: usize, keep: Option<usize>) -> Self {
        let confusion = vec![0; classes * classes];
        Self { classes, confusion, loss: 0.0, pixels: 0.0, worst: Vec::new(), keep }
    }
}

/// Intersection over union of each class; `None` for one that neither occurs nor is predicted.
pub(super) fn overlaps(confusion: &[u64], classes: usize) -> Vec<Option<f64>> {
    let of_class = |class: usize| {
        let hit = confusion[class * classes + class];
        let truth: u64 = confusion[class * classes..][..classes].iter().sum();
        let predicted: u64 = (0..classes).map(|row| confusion[row * classes + class]).sum();
        let union = truth + predicted - hit;
        (union > 0).then(|| hit as f64 / union as f64)
    };
    (0..classes).map(of_class).collect()
}

/// Mean over the classes that have an overlap; 0 if there are none.
pub(super) fn mean(overlaps: &[Option<f64>]) -> f64 {
    let known: Vec<f64> = overlaps.iter().flatten().copied().collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

/// Share of the pixels whose class is right; 0 if there are no pixels.
fn accuracy(confusion: &[u64], classes: usize) -> f64 {
    let right: u64 = (0..classes).map(|class| confusion[class * classes + class]).sum();
    right as f64 / confusion.iter().sum::<u64>().max(1) as f64
}

impl Metric for Overlap {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        let (classes, count) = (self.classes, batch.indices.len());
        let [predicted, confusions] = [&outputs[0], &outputs[1]].map(Elements::words);
        let pixels = f64::from(outputs[3].floats()[0]);
        self.loss += f64::from(outputs[2].floats()[0]) * pixels;
        self.pixels += pixels;
        let per_picture = batch.size[0] * batch.size[1];
        let pictures = confusions.chunks(classes * classes).zip(predicted.chunks(per_picture)).take(count);
        for ((confusion, predicted), &index) in pictures.zip(&batch.indices) {
            let confusion: Vec<u64> = confusion.iter().map(|&pixels| pixels.into()).collect();
            self.confusion.iter_mut().zip(&confusion).for_each(|(sum, pixels)| *sum += pixels);
            let counts = confusion.iter().any(|&pixels| pixels > 0);
            if let Some(keep) = self.keep.filter(|_| counts) {
                let right = accuracy(&confusion, classes);
                worst::keep(
                    &mut self.worst,
                    keep,
                    |worst| worst.right,
                    right,
                    || {
                        let (size, predicted) = worst::smaller(batch.size, predicted);
                        Worst {
                            index,
                            right,
                            size,
                            predicted: predicted.into_iter().map(|class| class as u8).collect(),
                        }
                    },
                );
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let overlaps = overlaps(&self.confusion, self.classes);
        let numbers = Numbers::default().with("miou", mean(&overlaps));
        let numbers = numbers.with("pixel_accuracy", accuracy(&self.confusion, self.classes));
        numbers.with("loss", self.loss / self.pixels.max(1.0))
    }

    fn by_class(&self, classes: &[String]) -> serde_json::Map<String, Value> {
        let overlaps = overlaps(&self.confusion, self.classes).into_iter().enumerate();
        let iou = overlaps.map(|(class, overlap)| (Names(classes).of(class), overlap.into()));
        std::iter::once(("iou".to_owned(), iou.collect::<serde_json::Map<_, _>>().into())).collect()
    }

    fn findings(&self) -> Value {
        let Some(_) = self.keep else { return Value::Object(serde_json::Map::new()) };
        let confusion = self.confusion.chunks(self.classes).map(<[u64]>::to_vec).collect();
        let findings = Findings { confusion, worst: self.worst.clone() };
        serde_json::to_value(findings).unwrap_or_else(|e| unreachable!("findings are plain data: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Targets, Truth};

    #[test]
    fn overlaps_have_the_names_of_their_classes() {
        let confusion = vec![6, 2, 0, 0, 4, 0, 0, 0, 0];
        let metric = Overlap { confusion, ..Overlap::new(3, None) };
        let json = Value::from(metric.by_class(&["sky".to_owned()]));
        assert_eq!(json, serde_json::json!({"iou": {"sky": 0.75, "1": 4.0 / 6.0, "2": null}}));
    }

    /// Of the second picture no pixel counts, so that it has no right and no wrong ones.
    #[test]
    fn pictures_without_a_pixel_that_counts_are_not_the_worst() {
        let batch = Batch {
            pixels: vec![0; 4],
            size: [2, 1],
            truths: vec![Truth::Unknown, Truth::Unknown],
            views: Vec::new(),
            picture_sizes: vec![[2, 1]; 2],
            targets: Targets::default(),
            indices: vec![4, 7],
            broken: Vec::new(),
        };
        let mut metric = Overlap::new(2, Some(5));
        let outputs = [
            Elements::from(&[0u32, 1, 0, 1][..]),
            Elements::from(&[1u32, 1, 0, 0, 0, 0, 0, 0][..]),
            Elements::from(&[0.5f32][..]),
            Elements::from(&[2.0f32][..]),
        ];
        metric.add(&batch, &outputs);
        let kept: Vec<(usize, f64)> = metric.worst.iter().map(|worst| (worst.index, worst.right)).collect();
        assert_eq!(kept, [(4, 0.5)]);
    }

    #[test]
    fn classes_that_never_occur_are_left_out_of_the_mean() {
        // Truth 0: 6 right, 2 taken for 1. Truth 1: 4 right. Class 2 is never seen.
        let confusion = [6, 2, 0, 0, 4, 0, 0, 0, 0];
        let found = overlaps(&confusion, 3);
        assert_eq!(found, [Some(6.0 / 8.0), Some(4.0 / 6.0), None]);
        assert!((mean(&found) - (0.75 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!((accuracy(&confusion, 3) - 10.0 / 12.0).abs() < 1e-12);
        assert_eq!((mean(&overlaps(&[0; 4], 2)), accuracy(&[0; 4], 2)), (0.0, 0.0));
    }
}
