//! What an epoch has come to, and what a run keeps: weights, the best of them, the checkpoint, the report.

use std::sync::atomic::Ordering;

use super::Trainer;
use crate::data::Split;
use crate::train::engine::Weights;
use crate::train::{Checkpoint, Divergence, EpochLine, Evaluation, Findings, Line, inspect, report};
use crate::weights::StateDict;
use crate::{Error, files};

impl Trainer<'_> {
    /// Validates after an epoch and saves what it has come to. False if it was stopped before it was through.
    pub(super) fn validate(&mut self, epoch: u64) -> Result<bool, Error> {
        self.save_last()?;
        let Some((raw, mut findings)) = self.evaluate(Weights::Raw)? else { return self.interrupted() };
        self.note_broken(Split::Val, &raw.broken)?;
        if !raw.loss.is_finite() {
            return Err(self.diverged(Divergence::Validation { epoch: epoch + 1, loss: raw.loss as f32 }));
        }
        let averaged = match self.run.recipe.ema > 0.0 {
            true => match self.evaluate(Weights::Averaged)? {
                None => return self.interrupted(),
                Some((evaluation, of_averages)) => {
                    if evaluation.top1 > raw.top1 {
                        findings = of_averages;
                    }
                    Some(evaluation)
                }
            },
            false => None,
        };
        let line = EpochLine {
            epoch,
            val_top1: raw.top1,
            val_top5: raw.top5,
            val_loss: raw.loss as f32,
            ema_top1: averaged.as_ref().map(|e| e.top1),
            ema_top5: averaged.as_ref().map(|e| e.top5),
            ema_loss: averaged.as_ref().map(|e| e.loss as f32),
        };
        self.metrics.write(&Line::Epoch(line.clone()))?;
        report::Validation { epoch, findings }.write(&self.run.folder)?;
        // The better of the two is what an epoch has come to.
        let weights =
            if averaged.as_ref().is_some_and(|e| e.top1 > raw.top1) { Weights::Averaged } else { Weights::Raw };
        let top1 = averaged.map_or(raw.top1, |e| e.top1.max(raw.top1));
        if self.best_top1.is_none_or(|best| top1 > best) {
            self.engine.weights(weights, self.step)?.write(&self.run.folder.join("best.safetensors"))?;
            (self.best_top1, self.best_epoch) = (Some(top1), Some(epoch));
        }
        self.keep_top(epoch, top1, weights)?;
        self.validated = epoch + 1;
        self.unproven = Some(self.checkpoint()?);
        self.report()?;
        self.observer.epoch(&line);
        Ok(true)
    }

    /// Keeps the weights of the best epochs in `RUN/top`, named by top-1 and epoch, and deletes those that no longer are.
    fn keep_top(&self, epoch: u64, top1: f64, weights: Weights) -> Result<(), Error> {
        let keep = self.run.recipe.keep as usize;
        if keep == 0 {
            return Ok(());
        }
        let folder = self.run.folder.join("top");
        files::create_folder(&folder)?;
        let name = format!("{top1:.6}-epoch-{:04}.safetensors", epoch + 1);
        let mut names = files::names(&folder, ".safetensors")?;
        names.push(name.clone());
        // Better first; of equal ones the earlier, which is what best.safetensors holds.
        let rank = |name: &String| (std::cmp::Reverse(name.split('-').next().map(str::to_owned)), name.clone());
        names.sort_by_key(rank);
        names.dedup();
        let dropped = names.split_off(keep.min(names.len()));
        if names.contains(&name) {
            self.engine.weights(weights, self.step)?.write(&folder.join(&name))?;
        }
        Ok(dropped.iter().filter(|other| **other != name).try_for_each(|other| files::remove(&folder.join(other)))?)
    }

    /// The checkpoint stands before the validation, which a resumed run repeats.
    fn interrupted(&self) -> Result<bool, Error> {
        self.save_checkpoint()?;
        Ok(false)
    }

    /// One network over the validation pictures; `None` if it was stopped before it was through.
    fn evaluate(&mut self, weights: Weights) -> Result<Option<(Evaluation, Findings)>, Error> {
        let (observer, stop) = (self.observer, self.stop);
        let shape = (self.loader.batch, self.card.res, self.card.view());
        let progress = |done, total| {
            observer.validating(done, total);
            !stop.load(Ordering::Relaxed)
        };
        let classes = self.card.config.classes;
        let Some(network) = self.engine.validation(weights)? else { return Ok(None) };
        inspect(network, &self.dataset.val, shape, classes, report::WORST, progress)
    }

    /// Writes the weights that the run has come to: the averaged ones, too, where there are any.
    pub(super) fn save_last(&self) -> Result<(), Error> {
        let write = |weights, name: &str| -> Result<(), Error> {
            let dict: StateDict = self.engine.weights(weights, self.step)?;
            Ok(dict.write(&self.run.folder.join(name))?)
        };
        write(Weights::Raw, "last.safetensors")?;
        if self.run.recipe.ema > 0.0 {
            write(Weights::Averaged, "last-ema.safetensors")?;
        }
        Ok(())
    }

    /// Where the run stands.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(Checkpoint {
            step: self.step,
            epoch: self.validated,
            best_top1: self.best_top1,
            best_epoch: self.best_epoch,
            steps_per_epoch: Some(self.schedule.steps_per_epoch),
            setbacks: self.setbacks,
            recipe: self.run.recipe.to_toml()?,
            data: self.run.data.clone(),
            data_from: self.run.data_from.clone(),
            out_of_time: self.is_out_of_time(),
            classes: self.card.config.classes,
            class_names: self.card.classes.clone(),
            pictures: Some(self.dataset.train.len()),
            tuning: self.tuning.clone(),
            tensors: self.engine.state()?,
        })
    }

    pub(super) fn save_checkpoint(&self) -> Result<(), Error> {
        self.write(&self.checkpoint()?)
    }

    /// Writes the checkpoint that has waited for the next step's loss, if there is one.
    pub(super) fn write_unproven(&mut self) -> Result<(), Error> {
        self.unproven.take().map_or(Ok(()), |checkpoint| self.write(&checkpoint))
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        // What it counts as done must not be lost where it is kept.
        self.metrics.sync()?;
        Ok(checkpoint.write(&self.run.folder)?)
    }

    pub(super) fn report(&self) -> Result<(), Error> {
        report::write(&self.run, &self.card, &*self.dataset.val, &self.broken)
    }
}
