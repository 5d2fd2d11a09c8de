//! The speed of a run.

use std::collections::VecDeque;
use std::time::Instant;

/// Pictures per second over the last steps.
pub(super) struct Rate {
    batch: usize,
    /// When each of the last steps was done; the first is the start of the count.
    done: VecDeque<Instant>,
}

impl Rate {
    /// Number of steps to average over: enough to even out two steps whose losses were read together.
    const STEPS: usize = 20;

    pub(super) fn new(batch: usize) -> Self {
        Self { batch, done: VecDeque::from([Instant::now()]) }
    }

    /// Counts one batch and returns the rate.
    pub(super) fn tick(&mut self) -> f32 {
        let now = Instant::now();
        self.done.push_back(now);
        if self.done.len() > Self::STEPS + 1 {
            self.done.pop_front();
        }
        let steps = self.done.len() - 1;
        ((self.batch * steps) as f64 / (now - self.done[0]).as_secs_f64().max(1e-9)) as f32
    }
}
