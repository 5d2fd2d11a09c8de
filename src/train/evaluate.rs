//! Validation: a network over a whole source of pictures.

use std::sync::Arc;
use std::time::Instant;

use crate::data::{Batches, LoaderOptions, Source, Transform};
use crate::{Error, Inference};

/// How a network does on labelled pictures.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
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
}

/// Evaluates a network over all pictures of a source. `progress` is told how many of how many are done, and answers whether
/// to go on; `None` is returned if not.
pub fn evaluate(
    network: &mut Inference,
    source: &Arc<dyn Source>,
    (batch, res, crop_pct): (usize, u32, f64),
    classes: usize,
    mut progress: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Evaluation>, Error> {
    let start = Instant::now();
    let options = LoaderOptions { batch, res, transform: Transform::Evaluate { crop_pct } };
    let (mut top1, mut top5, mut loss, mut images) = (0, 0, 0.0, 0);
    for batch in Batches::new(source.clone(), options, 0, 0) {
        let batch = batch?;
        let logits = network.logits_of_pixels(&batch.pixels)?;
        for (row, &label) in logits.chunks(classes).zip(&batch.labels).take(batch.count) {
            let label = label as usize;
            let rank = rank(row, label);
            top1 += usize::from(rank == 0);
            top5 += usize::from(rank < 5);
            loss += cross_entropy(row, label);
        }
        images += batch.count;
        if !progress(images, source.len()) {
            return Ok(None);
        }
    }
    let share = |count: usize| count as f64 / images.max(1) as f64;
    Ok(Some(Evaluation {
        top1: share(top1),
        top5: share(top5),
        loss: loss / images.max(1) as f64,
        images,
        images_per_s: images as f64 / start.elapsed().as_secs_f64(),
    }))
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
}
