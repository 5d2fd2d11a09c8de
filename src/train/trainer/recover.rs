//! Continues a run from its last checkpoint after it has diverged or its device was lost.

use super::Trainer;
use super::outlier::Losses;
use crate::train::engine::Engine;
use crate::train::{self, Checkpoint, Divergence};
use crate::{Error, weights};

/// The most returns to an earlier checkpoint of a run that diverges.
const MOST_SETBACKS: u32 = 3;

impl Trainer<'_> {
    /// The divergence that an error reports, if it reports one.
    pub(super) fn divergence(&self, error: &Error) -> Option<Divergence> {
        match error {
            Error::Train(train::Error::Diverged { cause, .. }) => Some(*cause),
            // Saving finds weights that are not finite before the next loss shows them.
            Error::Weights(weights::Error::NotFinite { .. })
            | Error::Train(train::Error::Weights(weights::Error::NotFinite { .. })) => {
                Some(Divergence::Weights { step: self.step.saturating_sub(1) })
            }
            _ => None,
        }
    }

    /// The error with which the run ends because of this divergence.
    pub(super) fn diverged(&self, cause: Divergence) -> Error {
        train::Error::Diverged { cause, setbacks: self.setbacks, folder: self.run.folder.clone() }.into()
    }

    /// Continues from the last checkpoint with half the learning rate, since training has diverged after it.
    pub(super) fn go_back(&mut self, cause: Divergence) -> Result<(), Error> {
        if self.setbacks >= MOST_SETBACKS {
            return Err(self.diverged(cause));
        }
        let checkpoint = Checkpoint::read(&self.run.folder)?;
        self.setbacks += 1;
        self.observer.notice(&format!(
            "{cause}: going back to step {} with half the learning rate, {} of {MOST_SETBACKS} times",
            checkpoint.step, self.setbacks
        ));
        self.return_to(&checkpoint)?;
        self.save_checkpoint()
    }

    /// Opens the device again after it was lost, and continues from the last checkpoint.
    pub(super) fn rebuild(&mut self, error: Error) -> Result<(), Error> {
        let Some(gpu) = self.gpu.reopen() else { return Err(error) };
        self.observer.notice(&format!("{error}. Opening it again and going on from the last checkpoint"));
        self.gpu = gpu?;
        let checkpoint = Checkpoint::read(&self.run.folder)?;
        let res = self.run.recipe.res_of_epoch(checkpoint.step / self.schedule.steps_per_epoch, self.card.res) as usize;
        let task = self.task.clone();
        self.engine = Engine::new(&self.gpu, &self.run.recipe, &self.card, task, [res; 2], &|_, _| {})?;
        self.return_to(&checkpoint)
    }

    /// Returns to the state of a checkpoint.
    fn return_to(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.unproven = None;
        self.engine.resume(&self.run.folder, checkpoint)?;
        (self.step, self.validated) = (checkpoint.step, checkpoint.epoch);
        self.best = checkpoint.best_of(self.run.recipe.goal(&*self.task));
        self.metrics = self.run.open(Some(checkpoint))?;
        self.losses = Losses::of_run(&self.run.folder)?;
        Ok(())
    }
}

/// How often a device may be lost between two validated epochs before the run ends. A device that lasts for an epoch is
/// worth opening again.
const MOST_LOSSES: u32 = 3;

/// Counts how often the device was lost.
#[derive(Debug, Default)]
pub(super) struct LostDevices {
    /// Since the last epoch was validated.
    count: u32,
    /// Epochs validated by then.
    validated: u64,
}

impl LostDevices {
    /// Whether to open the device again, now that it is lost after so many validated epochs.
    pub(super) fn goes_on(&mut self, validated: u64) -> bool {
        if validated > self.validated {
            *self = Self { count: 0, validated };
        }
        self.count += 1;
        self.count <= MOST_LOSSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_may_lose_its_device_in_every_epoch() {
        let mut lost = LostDevices::default();
        assert!((0..100).all(|epoch| lost.goes_on(epoch)));
        // Where it does not last for an epoch, the run ends; the checkpoint that it returns to has not that epoch.
        assert_eq!([99, 98, 99].map(|epoch| lost.goes_on(epoch)), [true, true, false]);
    }
}
