//! Validates an epoch, and saves what a run keeps: weights, the best ones, the checkpoint, the report.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::Trainer;
use crate::data::Split;
use crate::train::checkpoint::Best;
use crate::train::engine::Weights;
use crate::train::{Checkpoint, Divergence, EpochLine, Evaluation, Line, Measure, Show, evaluate, report};
use crate::weights::StateDict;
use crate::{Error, files};

impl Trainer<'_> {
    /// Validates after an epoch and saves the results. Returns false if it was stopped before the end.
    pub(super) fn validate(&mut self, epoch: u64) -> Result<bool, Error> {
        self.save_last()?;
        let Some((raw, mut found)) = self.evaluate(Weights::Raw)? else { return self.interrupted() };
        self.note_broken(Split::Val, &raw.broken)?;
        let loss = raw.numbers.get("loss").unwrap_or(f64::NAN);
        if !loss.is_finite() {
            return Err(self.diverged(Divergence::Validation { epoch: epoch + 1, loss: loss as f32 }));
        }
        let goal = self.run.recipe.goal(&*self.task);
        let reached = |evaluation: &Evaluation| evaluation.numbers.get(goal.name).unwrap_or(f64::NAN);
        // The better of the two is the epoch's result.
        let (mut number, mut weights) = (reached(&raw), Weights::Raw);
        let averaged = match self.run.recipe.ema > 0.0 {
            true => match self.evaluate(Weights::Averaged)? {
                None => return self.interrupted(),
                Some((evaluation, of_averages)) => {
                    if goal.is_better(reached(&evaluation), number) {
                        (number, weights, found) = (reached(&evaluation), Weights::Averaged, of_averages);
                    }
                    Some(evaluation)
                }
            },
            false => None,
        };
        if number.is_nan() && self.best.is_none() {
            self.observer.notice(&format!(
                "the validation pictures have nothing to measure \"{}\" by: no epoch is the best. Choose another \
                 --goal",
                goal.label
            ));
        }
        let line = EpochLine::new(epoch, &raw.numbers, averaged.as_ref().map(|averaged| &averaged.numbers));
        self.metrics.write(&Line::Epoch(line.clone()))?;
        report::Validation { epoch, findings: found }.write(&self.run.folder)?;
        if self.best.as_ref().is_none_or(|best| goal.is_better(number, best.number)) {
            self.engine.weights(weights, self.step)?.write(&self.run.folder.join("best.safetensors"))?;
            self.best = Some(Best { name: goal.name.to_owned(), number, epoch: Some(epoch) });
        }
        self.keep_top(epoch, number, weights)?;
        self.validated = epoch + 1;
        self.unproven = Some(self.checkpoint()?);
        self.report()?;
        self.observer.epoch(&line);
        Ok(true)
    }

    /// Keeps the weights of the best epochs in `RUN/top`, named by the goal's number and the epoch, and deletes those
    /// that are no longer among the best.
    fn keep_top(&self, epoch: u64, number: f64, weights: Weights) -> Result<(), Error> {
        let (keep, goal) = (self.run.recipe.keep as usize, self.run.recipe.goal(&*self.task));
        if keep == 0 {
            return Ok(());
        }
        let folder = self.run.folder.join("top");
        files::create_folder(&folder)?;
        let name = format!("{number:.6}-epoch-{:04}.safetensors", epoch + 1);
        let mut names = files::names(&folder, ".safetensors")?;
        names.push(name.clone());
        rank(goal, &mut names);
        names.dedup();
        let dropped = names.split_off(keep.min(names.len()));
        if names.contains(&name) {
            self.engine.weights(weights, self.step)?.write(&folder.join(&name))?;
        }
        Ok(dropped.iter().filter(|other| **other != name).try_for_each(|other| files::remove(&folder.join(other)))?)
    }

    /// The checkpoint is from before the validation, which a resumed run repeats.
    fn interrupted(&self) -> Result<bool, Error> {
        self.save_checkpoint()?;
        Ok(false)
    }

    /// Evaluates one network on the validation pictures, and returns its findings; `None` if it was stopped before the
    /// end.
    fn evaluate(&mut self, weights: Weights) -> Result<Option<(Evaluation, Value)>, Error> {
        let (observer, stop) = (self.observer, self.stop);
        let show = Show { batch: self.loader.batch, size: [self.card.res as usize; 2], view: self.card.view() };
        let progress = |done, total| {
            observer.validating(done, total);
            !stop.load(Ordering::Relaxed)
        };
        let mut metric = self.task.metric(&self.card, Some(report::WORST));
        let Some(network) = self.engine.validation(weights)? else { return Ok(None) };
        let encode = self.task.clone();
        let evaluation = evaluate(network, &self.dataset.val, show, encode, &mut *metric, progress)?;
        Ok(evaluation.map(|evaluation| (evaluation, metric.findings())))
    }

    /// Writes the current weights, and the averaged ones if there are any.
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

    /// The current state of the run.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(Checkpoint {
            step: self.step,
            epoch: self.validated,
            best: self.best.clone(),
            steps_per_epoch: Some(self.schedule.steps_per_epoch),
            setbacks: self.setbacks,
            recipe: self.run.recipe.to_toml()?,
            data: self.run.data.clone(),
            data_from: self.run.data_from.clone(),
            out_of_time: self.is_out_of_time(),
            notes: self.task.notes(&self.card),
            pictures: Some(self.dataset.train.len()),
            tuning: self.tuning.clone(),
            tensors: self.engine.state()?,
        })
    }

    pub(super) fn save_checkpoint(&self) -> Result<(), Error> {
        self.write(&self.checkpoint()?)
    }

    /// Writes the checkpoint that waited for the next step's loss, if there is one.
    pub(super) fn write_unproven(&mut self) -> Result<(), Error> {
        self.unproven.take().map_or(Ok(()), |checkpoint| self.write(&checkpoint))
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        // The metrics of the steps that it counts must not be lost.
        self.metrics.sync()?;
        Ok(checkpoint.write(&self.run.folder)?)
    }

    pub(super) fn report(&self) -> Result<(), Error> {
        report::write(&self.run, &*self.task, &self.card, &*self.dataset.val, &self.broken)
    }
}

/// Sorts names of weights, `NUMBER-epoch-NNNN.safetensors`, by their numbers: best first, and of equal ones the earlier
/// first, like best.safetensors.
fn rank(goal: Measure, names: &mut [String]) {
    // Other files and NaN come last.
    let worst = if goal.higher_is_better { f64::NEG_INFINITY } else { f64::INFINITY };
    let parsed = |name: &String| name.split("-epoch").next()?.parse::<f64>().ok();
    let number = |name: &String| parsed(name).filter(|number| !number.is_nan()).unwrap_or(worst);
    names.sort_by(|a, b| {
        let order = number(a).total_cmp(&number(b));
        let better = if goal.higher_is_better { order.reverse() } else { order };
        better.then_with(|| a.cmp(b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ranked_by_their_numbers() {
        let ranked = |higher_is_better, numbers: &[&str]| {
            let goal = Measure { name: "n", label: "n", is_share: false, higher_is_better };
            let mut names: Vec<String> = numbers.iter().map(|n| format!("{n}-epoch-0001.safetensors")).collect();
            rank(goal, &mut names);
            let number = |name: String| name.split("-epoch").next().map(str::to_owned);
            names.into_iter().filter_map(number).collect::<Vec<_>>()
        };
        assert_eq!(ranked(true, &["9.500000", "10.250000", "0.750000"]), ["10.250000", "9.500000", "0.750000"]);
        assert_eq!(ranked(true, &["NaN", "-9.500000"]), ["-9.500000", "NaN"]);
        assert_eq!(ranked(false, &["NaN", "9.500000"]), ["9.500000", "NaN"]);
        assert_eq!(ranked(false, &["9.500000", "10.250000", "-0.750000"]), ["-0.750000", "9.500000", "10.250000"]);
    }
}
