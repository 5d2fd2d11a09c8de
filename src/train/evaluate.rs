//! Validation: a network over a whole source of pictures.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::metrics::number_or_nan;
use crate::data::{Batches, Broken, LoaderOptions, Source, Transform, Truth, View};
use crate::inference::Inference;
use crate::{Error, train};

/// Beyond that many classes no confusion matrix is kept: 200 x 200 counts are as many as anybody looks at.
const MAX_CONFUSION_CLASSES: usize = 200;

/// How a network does on labelled pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Share of pictures whose likeliest class is right, 0 to 1.
    pub top1: f64,
    /// Share of pictures whose class is among the five likeliest, 0 to 1.
    pub top5: f64,
    /// Mean cross-entropy without label smoothing.
    pub loss: f64,
    /// Pictures evaluated.
    pub images: usize,
    /// Pictures per second, loading included.
    pub images_per_s: f64,
    /// Pictures that cannot be read, and count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Broken>,
}

/// What a network takes for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Pictures of each class (rows), by the class they are taken for (columns). Empty beyond 200 classes.
    pub confusion: Vec<Vec<u32>>,
    /// Pictures taken for something else, highest loss first.
    pub mistakes: Vec<Mistake>,
}

/// A picture taken for something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Its number in the source.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The likeliest class.
    pub predicted: usize,
    /// How likely that one is, 0 to 1. NaN is written as `null`.
    #[serde(deserialize_with = "number_or_nan")]
    pub probability: f32,
    /// Cross-entropy; NaN likewise.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f32,
}

/// Evaluates a network over all pictures of a source. `progress` is told how many of how many are done, and answers whether
/// to go on; `None` is returned if not.
///
/// # Errors
/// If no picture can be read, or the device fails.
pub fn evaluate(
    network: &mut Inference,
    source: &Arc<dyn Source>,
    shape: (usize, u32, View),
    classes: usize,
    progress: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Evaluation>, Error> {
    pass(network, source, shape, classes, progress, |_, _, _| ())
}

/// [`evaluate`] that also finds out what is taken for what, and keeps the `keep` worst mistakes, in the same pass.
///
/// # Errors
/// As [`evaluate`].
pub fn inspect(
    network: &mut Inference,
    source: &Arc<dyn Source>,
    shape: (usize, u32, View),
    classes: usize,
    keep: usize,
    progress: impl FnMut(usize, usize) -> bool,
) -> Result<Option<(Evaluation, Findings)>, Error> {
    let mut findings = Findings::new(classes);
    let picture = |index, logits: &[f32], label| findings.add(index, logits, label, keep);
    let evaluation = pass(network, source, shape, classes, progress, picture)?;
    Ok(evaluation.map(|evaluation| (evaluation, findings)))
}

/// Shows every picture to the network, and its number, logits and class to `picture`.
fn pass(
    network: &mut Inference,
    source: &Arc<dyn Source>,
    (batch, res, view): (usize, u32, View),
    classes: usize,
    mut progress: impl FnMut(usize, usize) -> bool,
    mut picture: impl FnMut(usize, &[f32], usize),
) -> Result<Option<Evaluation>, Error> {
    let start = Instant::now();
    let options = LoaderOptions { batch, at_once: 1, size: [res as usize; 2], transform: Transform::Evaluate(view) };
    let (mut top1, mut top5, mut loss, mut images) = (0, 0, 0.0, 0);
    let mut broken = Vec::new();
    for batch in Batches::new(source.clone(), options, 0, 0) {
        let batch = batch?;
        let logits = network.logits_of_pixels(&batch.pixels)?;
        let labels = batch.truths.iter().filter_map(Truth::class);
        for ((row, label), &index) in logits.chunks(classes).zip(labels).zip(&batch.indices) {
            let label = label as usize;
            let rank = rank(row, label);
            top1 += usize::from(rank == 0);
            top5 += usize::from(rank < 5);
            loss += cross_entropy(row, label);
            picture(index, row, label);
        }
        images += batch.indices.len();
        broken.extend(batch.broken);
        if !progress(images + broken.len(), source.len()) {
            return Ok(None);
        }
    }
    if let (0, Some(first)) = (images, broken.first()) {
        return Err(
            train::Error::NothingReadable { picture: first.picture.clone(), problem: first.problem.clone() }.into()
        );
    }
    let share = |count: usize| count as f64 / images.max(1) as f64;
    Ok(Some(Evaluation {
        top1: share(top1),
        top5: share(top5),
        loss: loss / images.max(1) as f64,
        images,
        images_per_s: images as f64 / start.elapsed().as_secs_f64(),
        broken,
    }))
}

impl Findings {
    fn new(classes: usize) -> Self {
        let side = if classes <= MAX_CONFUSION_CLASSES { classes } else { 0 };
        Self { confusion: vec![vec![0; side]; side], mistakes: Vec::new() }
    }

    fn add(&mut self, index: usize, logits: &[f32], label: usize, keep: usize) {
        let predicted = if rank(logits, label) == 0 { label } else { likeliest_but(logits, label) };
        if let Some(row) = self.confusion.get_mut(label) {
            row[predicted] += 1;
        }
        if predicted == label {
            return;
        }
        let loss = cross_entropy(logits, label) as f32;
        // The rows of a batch come in order, so equal losses stay in the order of their numbers.
        let place = self.mistakes.partition_point(|mistake| mistake.loss.total_cmp(&loss).is_ge());
        if place < keep {
            self.mistakes.truncate(keep - 1);
            let probability = (-cross_entropy(logits, predicted)).exp() as f32;
            self.mistakes.insert(place, Mistake { index, label, predicted, probability, loss });
        }
    }

    /// Pairs of a class and the one it is taken for, with the number of pictures: most frequent first.
    pub fn confused(&self) -> Vec<(usize, usize, u32)> {
        let row = |(label, row): (usize, &Vec<u32>)| -> Vec<_> {
            let entry = |(predicted, &count): (usize, &u32)| (label, predicted, count);
            row.iter().enumerate().map(entry).filter(|&(a, b, count)| a != b && count > 0).collect()
        };
        let mut pairs: Vec<_> = self.confusion.iter().enumerate().flat_map(row).collect();
        pairs.sort_by_key(|&(.., count)| std::cmp::Reverse(count));
        pairs
    }
}

/// The likeliest class other than `label`.
fn likeliest_but(logits: &[f32], label: usize) -> usize {
    let others = logits.iter().enumerate().filter(|&(class, _)| class != label);
    others.rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(label, |(class, _)| class)
}

/// How many classes are likelier than `label`. Equal ones count by their index, and NaN as likelier, so that a network that
/// has diverged scores nothing.
fn rank(logits: &[f32], label: usize) -> usize {
    let own = logits[label];
    let likelier = |(class, &z): (usize, &f32)| class != label && !(z < own || (z == own && class > label));
    logits.iter().enumerate().filter(|&entry| likelier(entry)).count()
}

fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let exponentials: f64 = logits.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
    exponentials.ln() + largest - f64::from(logits[label])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_losses() {
        let logits = [1.0, 3.0, 2.0, 2.0];
        assert_eq!((0..4).map(|label| rank(&logits, label)).collect::<Vec<_>>(), [3, 0, 1, 2]);
        assert_eq!(rank(&[f32::NAN; 4], 0), 3);
        let uniform = cross_entropy(&[0.5; 8], 3);
        assert!((uniform - 8f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_worst_mistakes_are_kept_in_order() {
        // Picture i has class 0 and is taken for class 1 or 2 with a loss that grows with i % 4; every fifth is right.
        let logits = |i: usize| match (i % 5, i % 4) {
            (0, _) => [1.0, 0.0, 0.0],
            (_, n) if n % 2 == 0 => [0.0, n as f32 + 1.0, 0.0],
            (_, n) => [0.0, 0.0, n as f32 + 1.0],
        };
        let mut findings = Findings::new(3);
        (0..100).for_each(|i| findings.add(i, &logits(i), 0, 12));
        assert_eq!(findings.confusion, [[20, 40, 40], [0; 3], [0; 3]]);
        assert_eq!(findings.confused(), [(0, 1, 40), (0, 2, 40)]);
        let mut all: Vec<usize> = (0..100).filter(|i| i % 5 != 0).collect();
        all.sort_by_key(|i| std::cmp::Reverse(i % 4));
        assert_eq!(findings.mistakes.iter().map(|m| m.index).collect::<Vec<_>>(), all[..12]);
        let worst = &findings.mistakes[0];
        let exact = 4f64.exp() / (4f64.exp() + 2.0);
        assert_eq!((worst.label, worst.predicted), (0, 2));
        assert!((f64::from(worst.probability) - exact).abs() < 1e-6, "{worst:?}");
        // The likelihood of the true class, exp(-loss), is a share of what the prediction leaves: half of it here.
        assert!((f64::from(worst.loss) - (-((1.0 - exact) / 2.0).ln())).abs() < 1e-5, "{worst:?}");

        let mut many = Findings::new(MAX_CONFUSION_CLASSES + 1);
        many.add(7, &[f32::NAN; MAX_CONFUSION_CLASSES + 1], 0, 1);
        assert!(many.confusion.is_empty() && many.confused().is_empty());
        assert!(many.mistakes[0].predicted == 1 && many.mistakes[0].loss.is_nan(), "{many:?}");
        let mut none = Findings::new(3);
        none.add(0, &logits(1), 0, 0);
        assert!(none.mistakes.is_empty() && none.confusion[0][2] == 1);
    }
}
