//! Counts correctly classified pictures, and records the mistakes.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::super::{Metric, Table};
use crate::data::{Batch, Dataset};
use crate::graph::Elements;
use crate::train::Numbers;
use crate::train::metrics::number_or_nan;
use crate::train::numbers::short;
use crate::train::report::parts::confused;
use crate::weights::ModelCard;

/// The most classes with a confusion matrix: nobody looks at more than 200 x 200 counts.
const MAX_CONFUSION_CLASSES: usize = 200;
/// The most pairs of classes that a table lists.
const PAIRS: usize = 20;

/// Counts correct answers.
pub(super) struct Accuracy {
    classes: usize,
    /// Pictures whose true class is the likeliest, or among the five likeliest.
    top1: usize,
    top5: usize,
    /// Sum of cross-entropies, without label smoothing.
    loss: f64,
    pictures: usize,
    /// The findings, and the number of worst mistakes to keep.
    findings: Option<(Findings, usize)>,
}

impl Accuracy {
    pub(super) fn new(classes: usize, keep: Option<usize>) -> Self {
        let findings = keep.map(|keep| (Findings::new(classes), keep));
        Self { classes, top1: 0, top5: 0, loss: 0.0, pictures: 0, findings }
    }
}

impl Metric for Accuracy {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        for ((row, truth), &index) in outputs[0].floats().chunks(self.classes).zip(&batch.truths).zip(&batch.indices) {
            let Some(label) = truth.class() else { unreachable!("the data was opened for its classes") };
            let label = label as usize;
            let rank = rank(row, label);
            self.top1 += usize::from(rank == 0);
            self.top5 += usize::from(rank < 5);
            self.loss += cross_entropy(row, label);
            self.pictures += 1;
            if let Some((findings, keep)) = &mut self.findings {
                findings.add(index, row, label, *keep);
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let share = |sum: f64| sum / self.pictures.max(1) as f64;
        let numbers = Numbers::default().with("top1", share(self.top1 as f64)).with("top5", share(self.top5 as f64));
        numbers.with("loss", share(self.loss))
    }

    fn findings(&self) -> Value {
        let findings = self.findings.as_ref().map(|(findings, _)| serde_json::to_value(findings));
        findings.map_or(Value::Object(serde_json::Map::new()), |json| {
            json.unwrap_or_else(|e| unreachable!("findings are plain data: {e}"))
        })
    }
}

/// Which classes a network confuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Number of pictures by true class (rows) and predicted class (columns). Empty for more than 200 classes.
    pub confusion: Vec<Vec<u64>>,
    /// Misclassified pictures, highest loss first.
    pub mistakes: Vec<Mistake>,
}

/// A misclassified picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Its index in the source.
    pub index: usize,
    /// Its true class.
    pub label: usize,
    /// The likeliest class.
    pub predicted: usize,
    /// Probability of the predicted class, 0 to 1. NaN is written as `null`.
    #[serde(serialize_with = "as_f64", deserialize_with = "number_or_nan")]
    pub probability: f32,
    /// Cross-entropy. NaN is written as `null`.
    #[serde(serialize_with = "as_f64", deserialize_with = "number_or_nan")]
    pub loss: f32,
}

/// [`Value`] has no f32.
fn as_f64<S: Serializer>(number: &f32, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(short(*number))
}

/// Tables of the most frequent and of the worst mistakes.
pub(super) fn tables(findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
    let findings = Findings::deserialize(findings)?;
    // The network may know more classes than the data has.
    let known = |class: usize| card.classes.get(class).or(dataset.classes.get(class)).cloned();
    let name = |class: usize| known(class).unwrap_or_else(|| class.to_string());
    let pair = |(label, predicted, count): (usize, usize, u64)| vec![count.to_string(), name(label), name(predicted)];
    let mistake = |m: &Mistake| {
        let probability = format!("{:.1} %", 100.0 * m.probability);
        vec![m.index.to_string(), name(m.label), probability, name(m.predicted)]
    };
    Ok(vec![
        Table {
            header: vec!["pictures", "of class", "taken for"],
            rows: confused(&findings.confusion).into_iter().take(PAIRS).map(pair).collect(),
        },
        Table {
            header: vec!["picture", "class", "probability", "taken for"],
            rows: findings.mistakes.iter().map(mistake).collect(),
        },
    ])
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
        // The rows of a batch come in order, so equal losses stay in the order of their indices.
        let place = self.mistakes.partition_point(|mistake| mistake.loss.total_cmp(&loss).is_ge());
        if place < keep {
            self.mistakes.truncate(keep - 1);
            let probability = (-cross_entropy(logits, predicted)).exp() as f32;
            self.mistakes.insert(place, Mistake { index, label, predicted, probability, loss });
        }
    }
}

/// The likeliest class other than `label`.
fn likeliest_but(logits: &[f32], label: usize) -> usize {
    let others = logits.iter().enumerate().filter(|&(class, _)| class != label);
    others.rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(label, |(class, _)| class)
}

/// Number of classes that are likelier than `label`. Equal logits are ordered by index, and NaN counts as likelier, so
/// that a diverged network scores nothing.
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
        // Picture i has class 0 and is taken for class 1 or 2 with a loss that grows with i % 4; every fifth picture is
        // right.
        let logits = |i: usize| match (i % 5, i % 4) {
            (0, _) => [1.0, 0.0, 0.0],
            (_, n) if n % 2 == 0 => [0.0, n as f32 + 1.0, 0.0],
            (_, n) => [0.0, 0.0, n as f32 + 1.0],
        };
        let mut findings = Findings::new(3);
        (0..100).for_each(|i| findings.add(i, &logits(i), 0, 12));
        assert_eq!(findings.confusion, [[20, 40, 40], [0; 3], [0; 3]]);
        assert_eq!(confused(&findings.confusion), [(0, 1, 40), (0, 2, 40)]);
        let mut all: Vec<usize> = (0..100).filter(|i| i % 5 != 0).collect();
        all.sort_by_key(|i| std::cmp::Reverse(i % 4));
        assert_eq!(findings.mistakes.iter().map(|m| m.index).collect::<Vec<_>>(), all[..12]);
        let worst = &findings.mistakes[0];
        let exact = 4f64.exp() / (4f64.exp() + 2.0);
        assert_eq!((worst.label, worst.predicted), (0, 2));
        assert!((f64::from(worst.probability) - exact).abs() < 1e-6, "{worst:?}");
        // The probability of the true class, exp(-loss), is half of what the predicted class leaves.
        assert!((f64::from(worst.loss) - (-((1.0 - exact) / 2.0).ln())).abs() < 1e-5, "{worst:?}");

        let mut many = Findings::new(MAX_CONFUSION_CLASSES + 1);
        many.add(7, &[f32::NAN; MAX_CONFUSION_CLASSES + 1], 0, 1);
        assert!(many.confusion.is_empty() && confused(&many.confusion).is_empty());
        assert!(many.mistakes[0].predicted == 1 && many.mistakes[0].loss.is_nan(), "{many:?}");
        let mut none = Findings::new(3);
        none.add(0, &logits(1), 0, 0);
        assert!(none.mistakes.is_empty() && none.confusion[0][2] == 1);
    }
}
