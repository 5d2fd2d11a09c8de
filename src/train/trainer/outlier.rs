//! Detects a loss that has exploded: far above the losses before it and above the first loss of the run.

use std::collections::VecDeque;
use std::path::Path;

use crate::train::{Error, Line, metrics};

/// Number of previous losses to compare with, as in llm.c's `outlier_detector.h`.
const WINDOW: usize = 128;
/// A loss is an outlier this many standard deviations above their mean.
const FAR: f64 = 6.0;
/// An outlier has exploded if it is also this many times the run's first loss: late in a run losses vary so little that
/// a single hard batch is an outlier. First losses below 1, as in fine-tuning, count as 1.
const EXPLODED: f64 = 10.0;

/// The sound losses of a run's last steps.
#[derive(Debug, Default)]
pub(super) struct Losses {
    first: Option<f64>,
    last: VecDeque<f64>,
}

impl Losses {
    /// The losses of the run in a folder, from its metrics.
    pub(super) fn of_run(run: &Path) -> Result<Self, Error> {
        let loss = |line| if let Line::Step(step) = line { Some(step.loss) } else { None };
        Ok(Self::of(metrics::read(run)?.into_iter().filter_map(loss)))
    }

    fn of(losses: impl IntoIterator<Item = f32>) -> Self {
        let mut all = Self::default();
        losses.into_iter().for_each(|loss| all.push(loss));
        all
    }

    /// Adds a step's loss, if it is sound: of losses that rise slowly, none would be an outlier among the others.
    pub(super) fn push(&mut self, loss: f32) {
        if !self.is_sound(loss) {
            return;
        }
        let loss = f64::from(loss);
        self.first.get_or_insert(loss);
        if self.last.len() == WINDOW {
            self.last.pop_front();
        }
        self.last.push_back(loss);
    }

    /// Whether the next step's loss has exploded. The first never has.
    pub(super) fn has_exploded(&self, loss: f32) -> bool {
        if self.is_sound(loss) {
            return false;
        }
        let (loss, count) = (f64::from(loss), self.last.len() as f64);
        let mean = self.last.iter().sum::<f64>() / count;
        let deviation = (self.last.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / count).sqrt();
        loss > mean + FAR * deviation
    }

    /// Whether a loss shows that the weights are worth keeping. The first is what others are compared with.
    pub(super) fn is_sound(&self, loss: f32) -> bool {
        self.first.is_none_or(|first| f64::from(loss) <= EXPLODED * first.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explosion_is_no_hard_batch() {
        let falling =
            |steps: usize| Losses::of((0..steps).map(|i| 2.3 * 0.98f32.powi(i as i32) + 0.01 * (i % 3) as f32));
        assert!(!Losses::default().has_exploded(1e9), "nothing to compare with");
        // Soon after the beginning, and long after it.
        for steps in [1, 5, 1000] {
            assert!(falling(steps).has_exploded(24.0), "{steps} steps");
            assert!(!falling(steps).has_exploded(22.0), "{steps} steps");
        }
        // Fine-tuning, with one batch that contains a wrong label.
        let fine = Losses::of((0..50).map(|i| 0.02 + 0.001 * (i % 5) as f32));
        assert!(!fine.has_exploded(1.5) && fine.has_exploded(11.0));
        // Losses that always vary as much.
        assert!(!Losses::of((0..100).map(|i| if i % 2 == 0 { 1.0 } else { 9.0 })).has_exploded(20.0));
    }

    /// Each loss is too close to those before it to be an outlier.
    #[test]
    fn a_slow_explosion_is_found() {
        let rising = |i: usize| 2.3 * 1.05f32.powi(i as i32);
        let found = (1..400).map(|i| (Losses::of((0..i).map(rising)), rising(i))).find(|(all, l)| all.has_exploded(*l));
        let (losses, loss) = found.expect("no loss up to 1e8 counts as exploded");
        assert!((23.0..100.0).contains(&loss), "found at {loss}");
        assert!(losses.is_sound(22.0) && !losses.is_sound(24.0));
    }
}
