//! The training loop: feeds batches, follows the schedule, validates each epoch, and leaves everything in the run's folder.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::engine::{Engine, Outcome, PendingOutcome, Weights};
use super::fit;
use super::{
    Augment, Checkpoint, Divergence, EpochLine, Evaluation, Findings, LearningRate, Line, Metrics, Recipe, Run,
    StepLine, inspect, report,
};
use crate::data::{self, Augmentation, Batch, Batches, Dataset, LoaderOptions, RandAugment, Transform};
use crate::gpu::{self, Gpu, Tuning};
use crate::models::Preset;
use crate::weights::{self, ModelCard, StateDict};
use crate::{Error, exec, files};

/// Time between checkpoints within an epoch.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Returns to an earlier checkpoint before a run that diverges is given up.
const MOST_SETBACKS: u32 = 3;

/// Times that a device may be lost before the run ends.
const MOST_LOSSES: u32 = 3;

/// Steps in a row whose gradients overflow after which it is not the loss scale that is too large: it falls from its largest value
/// to its smallest within 24.
const MOST_SKIPPED: u32 = 30;

/// A loss this many times that of guessing, the logarithm of the number of classes, has exploded.
const EXPLODED: f64 = 10.0;

/// What a run tells while it goes on. Every method has a default that does nothing.
pub trait Observer: Sync {
    /// Kernels are being compiled: how many of how many are done.
    fn compiling(&self, _done: usize, _total: usize) {}
    /// The run is about to start: planned bytes of GPU memory, steps done so far, steps in all.
    fn starting(&self, _planned_bytes: u64, _done: u64, _total: u64) {}
    /// A step is done.
    fn step(&self, _line: &StepLine) {}
    /// Validation goes on: how many pictures of how many.
    fn validating(&self, _done: usize, _total: usize) {}
    /// An epoch is done and validated.
    fn epoch(&self, _line: &EpochLine) {}
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done, over all resumptions.
    pub steps: u64,
    /// Steps of the whole schedule.
    pub total_steps: u64,
    /// Why it ended here.
    pub ended: Ended,
    /// Highest validation top-1, 0 to 1.
    pub best_top1: Option<f64>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Its schedule is through.
    Schedule,
    /// `max_steps` are done; it can go on.
    Steps,
    /// `max_minutes` are over; it can go on.
    Time,
    /// No epoch of the last ones was better than one before.
    Patience,
    /// Somebody stopped it; it can go on.
    Interrupted,
}

/// A training run bound to a device.
pub struct Trainer<'a> {
    gpu: Gpu,
    run: Run,
    dataset: Dataset,
    card: ModelCard,
    schedule: LearningRate,
    /// Of a part of a step.
    loader: LoaderOptions,
    /// Fingerprint of the kernels' tuning.
    tuning: Option<String>,
    engine: Engine,
    metrics: Metrics,
    /// The next step.
    step: u64,
    /// Epochs that are trained and validated.
    validated: u64,
    best_top1: Option<f64>,
    best_epoch: Option<u64>,
    setbacks: u32,
    /// Steps since the last that was not skipped.
    skipped: u32,
    /// When `max_minutes` are over.
    deadline: Option<Instant>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
}

/// A step whose loss is still on its way.
struct InFlight {
    line: StepLine,
    outcome: PendingOutcome,
}

impl<'a> Trainer<'a> {
    /// Prepares a run: data, network, memory, kernels. `checkpoint` is where a resumed run stands; `init` are weights to start
    /// from. `stop` ends the run after the current step.
    ///
    /// # Errors
    /// Bad data, settings that do not fit each other or the device, weights of another network.
    pub fn new(
        gpu: &Gpu,
        mut run: Run,
        checkpoint: Option<Checkpoint>,
        init: Option<&Path>,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let dataset = Dataset::open(&run.data)?;
        let checkpoint = checkpoint.as_ref();
        let card = card(&run.recipe, &dataset)?;
        fit::fit(gpu, &mut run.recipe, &card, dataset.train.len())?;
        let recipe = &run.recipe;
        let batch = recipe.batch as usize;
        let loader =
            LoaderOptions { batch: recipe.part() as usize, res: card.res, transform: transform(recipe, &dataset) };
        let steps_per_epoch = (dataset.train.len() / batch) as u64;
        if steps_per_epoch == 0 {
            return Err(super::Error::BatchTooLarge { batch, pictures: dataset.train.len() }.into());
        }
        if let Some(c) = checkpoint.filter(|c| c.classes != dataset.classes.len()) {
            let (then, now) = (c.classes, dataset.classes.len());
            return Err(super::Error::OtherData { data: run.data, then, now }.into());
        }
        if let Some(then) = checkpoint.and_then(|c| c.steps_per_epoch).filter(|&then| then != steps_per_epoch) {
            return Err(super::Error::OtherEpoch { then, now: steps_per_epoch }.into());
        }
        let tuning = gpu.tuning().and_then(Tuning::fingerprint);
        if let Some(c) = checkpoint.filter(|c| c.tuning != tuning) {
            let name = |tuning: &Option<String>| tuning.as_ref().map_or("no tuning".into(), |t| format!("tuning {t}"));
            log::warn!(
                "the run was under way with {} and goes on with {}: other kernels add up in another order, so it will not end in \
                 the very bits of a run left alone. --no-tuning goes on without, --tuning FILE with another",
                name(&c.tuning),
                name(&tuning)
            );
        }
        let schedule = recipe.learning_rate(steps_per_epoch)?;

        let progress = |done, total| observer.compiling(done, total);
        let step = checkpoint.map_or(0, |c| c.step);
        let res = recipe.res_of_epoch(step / steps_per_epoch, card.res);
        let mut engine = Engine::new(gpu, recipe, &card, res, &progress)?;
        match checkpoint {
            Some(c) => engine.resume(&run.folder, c)?,
            None => engine.initialize(recipe.seed, init)?,
        }
        let metrics = run.open(checkpoint)?;
        let best_top1 = checkpoint.and_then(|c| c.best_top1);
        let deadline = run.recipe.max_minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(60.0 * minutes));
        observer.starting(engine.planned_bytes(), step, schedule.total_steps);
        Ok(Self {
            gpu: gpu.clone(),
            run,
            dataset,
            card,
            schedule,
            loader,
            tuning,
            engine,
            metrics,
            step,
            validated: checkpoint.map_or(0, |c| c.epoch),
            best_top1,
            best_epoch: checkpoint.and_then(|c| c.best_epoch),
            setbacks: checkpoint.map_or(0, |c| c.setbacks),
            skipped: 0,
            deadline,
            observer,
            stop,
        })
    }

    /// Trains to the end of the schedule, to `max_steps`, or until stopped; the last state is saved in any case.
    ///
    /// # Errors
    /// A lost device, data that cannot be read, a full disk, a loss that is no longer a number. The checkpoint before it
    /// stays as it was.
    pub fn train(mut self) -> Result<Summary, Error> {
        let per_epoch = self.schedule.steps_per_epoch;
        let total = self.schedule.total_steps;
        let limit = self.run.recipe.max_steps.unwrap_or(total).min(total);
        if self.step == 0 {
            // So that a run that is killed early can be resumed.
            self.save_checkpoint()?;
        }
        let mut lost = 0;
        loop {
            match self.advance(limit) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => match self.divergence(&error) {
                    Some(cause) => self.go_back(cause)?,
                    None if is_lost(&error) && lost < MOST_LOSSES => {
                        lost += 1;
                        self.rebuild(error)?;
                    }
                    None => return Err(error),
                },
            }
        }
        let through = self.step >= limit && self.validated >= self.step / per_epoch;
        let ended = match through {
            _ if self.exhausted() => Ended::Patience,
            true if self.step >= total => Ended::Schedule,
            true => Ended::Steps,
            false if self.stop.load(Ordering::Relaxed) => Ended::Interrupted,
            false => Ended::Time,
        };
        Ok(Summary { steps: self.step, total_steps: total, ended, best_top1: self.best_top1 })
    }

    /// What an error says of the training, if it is that it has diverged.
    fn divergence(&self, error: &Error) -> Option<Divergence> {
        match error {
            Error::Train(super::Error::Diverged { cause, .. }) => Some(*cause),
            // Whoever saves finds what the last update has done before the next loss shows it.
            Error::Weights(weights::Error::NotFinite { .. })
            | Error::Train(super::Error::Weights(weights::Error::NotFinite { .. })) => {
                Some(Divergence::Weights { step: self.step.saturating_sub(1) })
            }
            _ => None,
        }
    }

    /// The run ends here because of this.
    fn diverged(&self, cause: Divergence) -> Error {
        super::Error::Diverged { cause, setbacks: self.setbacks, folder: self.run.folder.clone() }.into()
    }

    /// Trains or validates an epoch, or what is left of it. False where the run ends, once all is saved.
    fn advance(&mut self, limit: u64) -> Result<bool, Error> {
        let trained = self.step / self.schedule.steps_per_epoch;
        if self.validated < trained {
            // Also where a resumed run stands that was stopped in the middle of a validation.
            return self.validate(self.validated);
        }
        let goes_on = self.step < limit && !self.stopped() && !self.exhausted();
        if goes_on {
            self.train_epoch(trained, limit)?;
        } else if !self.step.is_multiple_of(self.schedule.steps_per_epoch) {
            self.save_last()?;
            self.save_checkpoint()?;
            self.report()?;
        }
        Ok(goes_on)
    }

    /// Opens the device anew after it was lost, and goes on from the last checkpoint.
    fn rebuild(&mut self, error: Error) -> Result<(), Error> {
        let Some(gpu) = self.gpu.reopen() else { return Err(error) };
        log::warn!("{error}. Opening it again and going on from the last checkpoint");
        self.gpu = gpu?;
        let checkpoint = Checkpoint::read(&self.run.folder)?;
        let res = self.run.recipe.res_of_epoch(checkpoint.step / self.schedule.steps_per_epoch, self.card.res);
        self.engine = Engine::new(&self.gpu, &self.run.recipe, &self.card, res, &|_, _| {})?;
        self.return_to(&checkpoint)
    }

    /// Stands where a checkpoint does.
    fn return_to(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.engine.resume(&self.run.folder, checkpoint)?;
        (self.step, self.validated) = (checkpoint.step, checkpoint.epoch);
        self.metrics = self.run.open(Some(checkpoint))?;
        Ok(())
    }

    /// Whether somebody or the clock asks the run to stop; it can go on later.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the last epochs have brought nothing, so that the run is over.
    fn exhausted(&self) -> bool {
        let since_best = self.best_epoch.map_or(0, |best| self.validated.saturating_sub(best + 1));
        self.run.recipe.patience.is_some_and(|patience| since_best >= u64::from(patience))
    }

    /// Goes on from the last checkpoint with half the learning rate, since training has diverged after it.
    fn go_back(&mut self, cause: Divergence) -> Result<(), Error> {
        if self.setbacks >= MOST_SETBACKS {
            return Err(self.diverged(cause));
        }
        let checkpoint = Checkpoint::read(&self.run.folder)?;
        self.setbacks += 1;
        log::warn!(
            "{cause}: going back to step {} with half the learning rate, {} of {MOST_SETBACKS} times",
            checkpoint.step,
            self.setbacks
        );
        self.return_to(&checkpoint)?;
        self.save_checkpoint()
    }

    /// The learning rate of the next step.
    fn lr(&self) -> f32 {
        self.schedule.lr(self.step) * 0.5f32.powi(self.setbacks as i32)
    }

    /// Steps from where the run stands to the end of the epoch, the limit, or a stop.
    fn train_epoch(&mut self, epoch: u64, limit: u64) -> Result<(), Error> {
        let per_epoch = self.schedule.steps_per_epoch;
        let parts = self.run.recipe.accumulate as usize;
        let res = self.run.recipe.res_of_epoch(epoch, self.card.res);
        self.engine.set_res(res)?;
        let options = LoaderOptions { res, ..self.loader };
        let first = (self.step % per_epoch) as usize * parts;
        let mut batches = Batches::new(self.dataset.train.clone(), options, epoch, first);
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut rate = Rate::new(self.loader.batch * parts);
        let mut saved = Instant::now();
        let last = limit.min((epoch + 1) * per_epoch);
        let (mut begun, mut waited) = (Instant::now(), Duration::ZERO);
        while self.step < last {
            let step: Vec<Batch> = batches.by_ref().take(parts).collect::<Result<_, _>>()?;
            let mut submitted = self.submit_step(epoch, &step)?;
            let step_s = begun.elapsed().as_secs_f32().max(1e-9);
            submitted.line.loader_share = Some(((batches.waited() - waited).as_secs_f32() / step_s).min(1.0));
            (begun, waited) = (Instant::now(), batches.waited());
            in_flight.push_back(submitted);
            self.step += 1;
            // The loss of the step before: this one still runs, and the GPU never waits for the disk.
            while in_flight.len() > 1 {
                self.finish_step(in_flight.pop_front(), &mut rate)?;
            }
            if self.stopped() {
                break;
            }
            if saved.elapsed() >= CHECKPOINT_INTERVAL {
                self.finish_step(in_flight.pop_front(), &mut rate)?;
                self.save_checkpoint()?;
                saved = Instant::now();
            }
        }
        self.finish_step(in_flight.pop_front(), &mut rate)
    }

    fn submit_step(&mut self, epoch: u64, parts: &[Batch]) -> Result<InFlight, Error> {
        let lr = self.lr();
        let outcome = self.engine.submit(parts, lr, self.run.recipe.seed, self.step)?;
        let line = StepLine { step: self.step, epoch, loss: f32::NAN, lr, ..StepLine::default() };
        Ok(InFlight { line, outcome })
    }

    fn finish_step(&mut self, step: Option<InFlight>, rate: &mut Rate) -> Result<(), Error> {
        let Some(InFlight { mut line, outcome }) = step else { return Ok(()) };
        let Outcome { loss, top1, norm } = outcome.wait()?;
        (line.loss, line.top1) = (loss, Some(top1));
        line.grad_norm = norm.filter(|norm| norm.is_finite());
        line.skipped = norm.map(|norm| !norm.is_finite());
        line.images_per_s = rate.tick();
        self.skipped = if line.skipped == Some(true) { self.skipped + 1 } else { 0 };
        let exploded = f64::from(line.loss) > EXPLODED * (self.card.config.classes as f64).ln();
        let cause = if !line.loss.is_finite() || exploded {
            Some(Divergence::Loss { step: line.step, loss: line.loss })
        } else if self.skipped > MOST_SKIPPED {
            Some(Divergence::Gradients { step: line.step, steps: self.skipped })
        } else {
            None
        };
        if let Some(cause) = cause {
            self.skipped = 0;
            return Err(self.diverged(cause));
        }
        self.observer.step(&line);
        Ok(self.metrics.write(&Line::Step(line))?)
    }

    /// Validates after an epoch and saves what it has come to. False if it was stopped before it was through.
    fn validate(&mut self, epoch: u64) -> Result<bool, Error> {
        self.save_last()?;
        let Some((raw, mut findings)) = self.evaluate(Weights::Raw)? else { return self.interrupted() };
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
            ema_top1: averaged.map(|e| e.top1),
            ema_top5: averaged.map(|e| e.top5),
            ema_loss: averaged.map(|e| e.loss as f32),
        };
        self.metrics.write(&Line::Epoch(line.clone()))?;
        report::Validation { epoch, findings }.write(&self.run.folder)?;
        // The better of the two is what an epoch has come to.
        let weights = if averaged.is_some_and(|e| e.top1 > raw.top1) { Weights::Averaged } else { Weights::Raw };
        let top1 = averaged.map_or(raw.top1, |e| e.top1.max(raw.top1));
        if self.best_top1.is_none_or(|best| top1 > best) {
            (self.best_top1, self.best_epoch) = (Some(top1), Some(epoch));
            self.engine.weights(weights, self.step)?.write(&self.run.folder.join("best.safetensors"))?;
        }
        self.keep_top(epoch, top1, weights)?;
        self.validated = epoch + 1;
        self.save_checkpoint()?;
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
        let name = format!("{top1:.4}-epoch-{:04}.safetensors", epoch + 1);
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
        let shape = (self.loader.batch, self.card.res, self.card.crop_pct);
        let progress = |done, total| {
            observer.validating(done, total);
            !stop.load(Ordering::Relaxed)
        };
        let classes = self.card.config.classes;
        let Some(network) = self.engine.validation(weights)? else { return Ok(None) };
        inspect(network, &self.dataset.val, shape, classes, report::WORST, progress)
    }

    /// Writes the weights that the run has come to: the averaged ones, too, where there are any.
    fn save_last(&self) -> Result<(), Error> {
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

    fn save_checkpoint(&self) -> Result<(), Error> {
        let checkpoint = Checkpoint {
            step: self.step,
            epoch: self.validated,
            best_top1: self.best_top1,
            best_epoch: self.best_epoch,
            steps_per_epoch: Some(self.schedule.steps_per_epoch),
            setbacks: self.setbacks,
            recipe: self.run.recipe.to_toml()?,
            data: self.run.data.clone(),
            classes: self.card.config.classes,
            tuning: self.tuning.clone(),
            tensors: self.engine.state()?,
        };
        Ok(checkpoint.write(&self.run.folder)?)
    }

    fn report(&self) -> Result<(), Error> {
        report::write(&self.run, &self.card, &*self.dataset.val)
    }
}

fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Gpu(gpu::Error::DeviceLost { .. }) | Error::Exec(exec::Error::Gpu(gpu::Error::DeviceLost { .. }))
    )
}

/// The network that a recipe names, for the classes and pictures of a data set.
fn card(recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, Error> {
    let preset = Preset::find(&recipe.model)?;
    let config = recipe.config(dataset.classes.len())?;
    let res = recipe.res.or(dataset.native_res).unwrap_or(preset.res);
    // Small pictures are shown whole; photographs as timm crops them for this model.
    let crop_pct = if dataset.native_res.is_some() { 1.0 } else { preset.crop_pct };
    let classes = dataset.classes.clone();
    Ok(ModelCard { config, res, crop_pct, mean: dataset.mean, std: dataset.std, classes })
}

fn transform(recipe: &Recipe, dataset: &Dataset) -> Transform {
    let rand_augment = RandAugment {
        layers: recipe.randaug_layers,
        magnitude: recipe.randaug_magnitude as f32,
        convention: recipe.randaug_convention,
    };
    let augmentation = Augmentation {
        crop: if recipe.augment == Augment::None { data::Augment::None } else { data::Augment::Standard },
        rand_augment: (recipe.augment == Augment::Randaug).then_some(rand_augment),
        erasing: recipe.erasing as f32,
        mixup: recipe.mixup as f32,
        cutmix: recipe.cutmix as f32,
    };
    let small = dataset.native_res.is_some();
    Transform::Train { augmentation, small, shuffle: recipe.shuffle, seed: recipe.seed }
}

/// Pictures per second over the last steps.
struct Rate {
    batch: usize,
    /// When each of the last steps was done, the first being when the count began.
    done: VecDeque<Instant>,
}

impl Rate {
    /// Steps that count: enough to even out two that end together because their losses were read together.
    const STEPS: usize = 20;

    fn new(batch: usize) -> Self {
        Self { batch, done: VecDeque::from([Instant::now()]) }
    }

    /// Counts one batch and returns the rate.
    fn tick(&mut self) -> f32 {
        let now = Instant::now();
        self.done.push_back(now);
        if self.done.len() > Self::STEPS + 1 {
            self.done.pop_front();
        }
        let steps = self.done.len() - 1;
        ((self.batch * steps) as f64 / (now - self.done[0]).as_secs_f64().max(1e-9)) as f32
    }
}
