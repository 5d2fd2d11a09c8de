//! From a detector's outputs to detections.

use std::cmp::Ordering;

use super::{Anchors, Bounds, area, clip, decode, overlap};
use crate::data::Geometry;

/// An object that a detector found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Its class, an index.
    pub class: u32,
    /// The confidence, 0 to 1.
    pub score: f32,
    /// Its box, inside the picture.
    pub bounds: Bounds,
}

impl Detection {
    /// A detector's detection in its picture of `[height, width]`, of which the input is this view. `None` for the
    /// background, which is never a target and thus noise, and for what lies in the border around the picture.
    pub(crate) fn in_picture(self, view: &Geometry, size: [usize; 2]) -> Option<Self> {
        let bounds = view.bounds_to_picture(self.bounds, size);
        (self.class > 0 && area(bounds) > 0.0).then_some(Self { bounds, ..self })
    }
}

/// Which predictions become detections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection {
    /// Predictions with a score up to this are dropped, 0 to 1.
    pub score: f32,
    /// The most predictions of a level that are looked at, over all classes; those with the highest scores.
    pub per_level: usize,
    /// A prediction is dropped if its intersection over union with a better one of its class is above this, 0 to 1.
    pub overlap: f32,
    /// The most detections of a picture; those with the highest scores.
    pub most: usize,
}

impl Default for Selection {
    /// torchvision's settings.
    fn default() -> Self {
        Self { score: 0.05, per_level: 1000, overlap: 0.5, most: 300 }
    }
}

/// A prediction: its logit, its index among a picture's logits.
type Candidate = (f32, usize);

impl Selection {
    /// The detections in a picture of `[height, width]`, highest score first. Equal scores stay in the order of the
    /// outputs.
    ///
    /// `logits` are `[T, K]` for T anchors and K classes, `deltas` `[T, 4]` as of [`encode`](super::encode).
    /// Predictions with a logit or a difference that is not a number are dropped.
    ///
    /// # Panics
    /// If `logits` or `deltas` are not of whole anchors.
    pub fn detections(&self, logits: &[f32], deltas: &[f32], anchors: &Anchors, picture: [usize; 2]) -> Vec<Detection> {
        let (count, classes) = (anchors.boxes.len(), logits.len() / anchors.boxes.len().max(1));
        assert!(logits.len() == count * classes && deltas.len() == count * 4, "outputs of other than {count} anchors");
        let mut candidates = Vec::new();
        let mut first = 0;
        for level in anchors.levels.iter().map(|anchors| anchors * classes) {
            candidates.extend(self.best_of_level(&logits[first..first + level], first));
            first += level;
        }
        candidates.sort_unstable_by(best_first);

        let mut found: Vec<Detection> = Vec::new();
        for (logit, index) in candidates {
            if found.len() == self.most {
                break;
            }
            let (anchor, class) = (index / classes, (index % classes) as u32);
            let delta = std::array::from_fn(|i| deltas[4 * anchor + i]);
            let bounds = clip(decode(delta, anchors.boxes[anchor]), picture);
            let repeats = |other: &Detection| other.class == class && overlap(other.bounds, bounds) > self.overlap;
            if !bounds.iter().any(|edge| edge.is_nan()) && !found.iter().any(repeats) {
                found.push(Detection { class, score: 1.0 / (1.0 + (-logit).exp()), bounds });
            }
        }
        found
    }

    /// The best predictions of a level, whose logits begin at the index `first`, in any order.
    fn best_of_level(&self, logits: &[f32], first: usize) -> Vec<Candidate> {
        // The inverse of the sigmoid: one comparison for each of a million logits instead of an exponential.
        let score = f64::from(self.score);
        let least = (score / (1.0 - score)).ln() as f32;
        let passing = logits.iter().enumerate().filter(|&(_, &logit)| logit > least);
        let mut best: Vec<Candidate> = passing.map(|(index, &logit)| (logit, first + index)).collect();
        if best.len() > self.per_level {
            best.select_nth_unstable_by(self.per_level, best_first);
            best.truncate(self.per_level);
        }
        best
    }
}

fn best_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
