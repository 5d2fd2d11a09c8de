//! The training loop: feeds batches, follows the schedule, validates each epoch. `keep` saves results and `recover`
//! handles failures.

mod keep;
mod outlier;
mod rate;
mod recover;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outlier::Losses;
use rate::Rate;
use recover::LostDevices;

use super::broken::BrokenPictures;
use super::checkpoint::Best;
use super::engine::{Engine, Outcome, PendingOutcome};
use super::numbers::short;
use super::task::Task;
use super::{Checkpoint, Divergence, EpochLine, LearningRate, Line, Metrics, Run, StepLine};
use super::{data, fit, init};
use crate::data::{Batch, Batches, Broken, Dataset, LoaderOptions, Split};
use crate::gpu::{Gpu, Tuning};
use crate::weights::ModelCard;
use crate::{Error, train};

/// Overflowing steps in a row after which a too large loss scale cannot be the cause: the scale falls from its largest
/// value to its smallest within 24 steps.
const MOST_SKIPPED: u32 = 30;

/// Receives a run's progress. Every method has a default: a notice is logged, the others do nothing.
pub trait Observer: Sync {
    /// Something worth knowing, such as how many pictures there are.
    fn note(&self, message: &str) {
        log::info!("{message}");
    }
    /// All pictures are read once before the first step: number done, and total.
    fn checking(&self, _done: usize, _total: usize) {}
    /// A picture cannot be read: number of unreadable pictures so far.
    fn broken(&self, _total: usize) {}
    /// Kernels are being compiled: number done, and total.
    fn compiling(&self, _done: usize, _total: usize) {}
    /// The run is about to start: planned bytes of GPU memory, steps done so far, steps in all.
    fn starting(&self, _planned_bytes: u64, _done: u64, _total: u64) {}
    /// A step is done.
    fn step(&self, _line: &StepLine) {}
    /// Validation is in progress: number of pictures done, and total.
    fn validating(&self, _done: usize, _total: usize) {}
    /// An epoch is done and validated.
    fn epoch(&self, _line: &EpochLine) {}
    /// Something went wrong, but the run continues.
    fn notice(&self, message: &str) {
        log::warn!("{message}");
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done, over all resumptions.
    pub steps: u64,
    /// Steps of the whole schedule.
    pub total_steps: u64,
    /// Why it ended.
    pub ended: Ended,
    /// The best validation number, by the run's goal.
    pub best: Option<f64>,
    /// Number of returns to an earlier checkpoint after a divergence; each halved the learning rate.
    pub setbacks: u32,
    /// Number of unreadable pictures; `broken.json` lists them.
    pub broken: usize,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// The schedule is finished.
    Schedule,
    /// `max_steps` are done; the run can be resumed.
    Steps,
    /// `max_minutes` are over; the run can be resumed.
    Time,
    /// None of the last `patience` epochs was better than an earlier one.
    Patience,
    /// The user stopped it; the run can be resumed.
    Interrupted,
}

/// A training run bound to a device.
pub struct Trainer<'a> {
    gpu: Gpu,
    run: Run,
    dataset: Dataset,
    card: ModelCard,
    task: Arc<dyn Task>,
    schedule: LearningRate,
    /// Options for one part of a step.
    loader: LoaderOptions,
    /// Fingerprint of the kernels' tuning.
    tuning: Option<String>,
    engine: Engine,
    /// Held as long as the run is trained.
    _lock: File,
    metrics: Metrics,
    broken: BrokenPictures,
    /// The state after the last step, to be written once the loss of its weights is known to be sound.
    unproven: Option<Checkpoint>,
    /// The next step.
    step: u64,
    /// Number of epochs that are trained and validated.
    validated: u64,
    best: Option<Best>,
    /// Losses of the last steps.
    losses: Losses,
    setbacks: u32,
    /// Skipped steps in a row.
    skipped: u32,
    /// The time at which `max_minutes` are over.
    deadline: Option<Instant>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
}

/// A step whose loss is not read back yet.
struct InFlight {
    line: StepLine,
    outcome: PendingOutcome,
}

impl<'a> Trainer<'a> {
    /// Prepares a run: data, network, memory, kernels. `checkpoint` is the state of a resumed run; `init` is a file of
    /// weights to start from. `stop` ends the run after the current step.
    ///
    /// # Errors
    /// Bad data, settings that do not fit each other or the device, weights of another network.
    pub fn new(
        gpu: &Gpu,
        run: Run,
        checkpoint: Option<Checkpoint>,
        init: Option<&Path>,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let task = run.recipe.task();
        Self::with_task(gpu, task, run, checkpoint, init, observer, stop)
    }

    /// As [`Self::new`], for a given task instead of the recipe's.
    ///
    /// # Errors
    /// The errors of [`Self::new`].
    pub fn with_task(
        gpu: &Gpu,
        task: Arc<dyn Task>,
        mut run: Run,
        checkpoint: Option<Checkpoint>,
        init: Option<&Path>,
        observer: &'a dyn Observer,
        stop: &'a AtomicBool,
    ) -> Result<Self, Error> {
        let checkpoint = checkpoint.as_ref();
        let dataset = data::open(&run, &*task, checkpoint, observer)?;
        run.recipe = run.recipe.for_data(&dataset);
        let card = task.card(&run.recipe, &dataset)?;
        fit::fit(gpu, &mut run.recipe, &card, &*task, dataset.train.len())?;
        let recipe = &run.recipe;
        let batch = recipe.batch as usize;
        let loader = LoaderOptions {
            batch: recipe.part() as usize,
            at_once: recipe.accumulate as usize,
            size: [card.res as usize; 2],
            transform: recipe.transform(&dataset, &card),
        };
        let steps_per_epoch = (dataset.train.len() / batch) as u64;
        if steps_per_epoch == 0 {
            return Err(train::Error::BatchTooLarge { batch, pictures: dataset.train.len() }.into());
        }
        if let Some(note) = data::left_out(dataset.train.len(), recipe) {
            observer.note(&note);
        }
        if let Some(then) = checkpoint.and_then(|c| c.steps_per_epoch).filter(|&then| then != steps_per_epoch) {
            return Err(train::Error::OtherEpoch { then, now: steps_per_epoch }.into());
        }
        let tuning = gpu.tuning().and_then(Tuning::fingerprint);
        if let Some(c) = checkpoint.filter(|c| c.tuning != tuning) {
            let name = |tuning: &Option<String>| tuning.as_ref().map_or("no tuning".into(), |t| format!("tuning {t}"));
            log::warn!(
                "the run was under way with {} and goes on with {}: other kernels add up in another order, so it will \
                 not end in the very bits of a run left alone. --no-tuning goes on without, --tuning FILE with another",
                name(&c.tuning),
                name(&tuning)
            );
        }
        let schedule = recipe.learning_rate(steps_per_epoch)?;
        let first = init.map(|path| init::read(path, &*task, &card, observer)).transpose()?.unwrap_or_default();
        if recipe.freeze.is_some() && checkpoint.is_none() && init.is_none() {
            log::warn!("--freeze keeps weights as they were drawn, since there is no --init to start from");
        }

        let mut broken = BrokenPictures::read(&run.folder)?;
        match checkpoint.is_some_and(|c| c.step > 0) {
            true => broken.forget_mended(&dataset, observer),
            false => broken = data::check(&dataset, recipe, observer, stop)?,
        }

        let progress = |done, total| observer.compiling(done, total);
        let step = checkpoint.map_or(0, |c| c.step);
        let res = recipe.res_of_epoch(step / steps_per_epoch, card.res) as usize;
        let mut engine = Engine::new(gpu, recipe, &card, task.clone(), [res; 2], &progress)?;
        match checkpoint {
            Some(c) => engine.resume(&run.folder, c)?,
            None => engine.initialize(recipe.seed, &first)?,
        }
        let lock = run.lock()?;
        let metrics = run.open(checkpoint)?;
        data::write_names(&run.folder, &dataset, checkpoint.is_none())?;
        broken.write(&run.folder)?;
        let losses = Losses::of_run(&run.folder)?;
        let best = checkpoint.and_then(|c| c.best_of(recipe.goal(&*task)));
        let deadline = run.recipe.max_minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(60.0 * minutes));
        observer.starting(engine.planned_bytes(), step, schedule.total_steps);
        Ok(Self {
            gpu: gpu.clone(),
            run,
            dataset,
            card,
            task,
            schedule,
            loader,
            tuning,
            engine,
            _lock: lock,
            metrics,
            broken,
            unproven: None,
            step,
            validated: checkpoint.map_or(0, |c| c.epoch),
            best,
            losses,
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
    /// A lost device, unreadable data, a full disk, or a loss that is NaN or infinite. The last checkpoint stays as it
    /// was.
    pub fn train(mut self) -> Result<Summary, Error> {
        let per_epoch = self.schedule.steps_per_epoch;
        let total = self.schedule.total_steps;
        let limit = self.run.recipe.max_steps.unwrap_or(total).min(total);
        if self.step == 0 {
            // A run that is killed early can then be resumed.
            self.save_checkpoint()?;
        }
        let mut lost = LostDevices::default();
        loop {
            match self.advance(limit) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => match self.divergence(&error) {
                    Some(cause) => self.go_back(cause)?,
                    None if error.is_device_lost() && lost.goes_on(self.validated) => self.rebuild(error)?,
                    None => return Err(error),
                },
            }
        }
        let through = self.step >= limit && self.validated >= self.step / per_epoch;
        let ended = match through {
            true if self.step >= total => Ended::Schedule,
            _ if self.exhausted() => Ended::Patience,
            true => Ended::Steps,
            false if self.stop.load(Ordering::Relaxed) => Ended::Interrupted,
            false => Ended::Time,
        };
        Ok(Summary {
            steps: self.step,
            total_steps: total,
            ended,
            best: self.best.map(|best| best.number),
            setbacks: self.setbacks,
            broken: self.broken.len(),
        })
    }

    /// Trains or validates an epoch, or the rest of it. Returns false if the run ends; everything is saved then.
    fn advance(&mut self, limit: u64) -> Result<bool, Error> {
        let trained = self.step / self.schedule.steps_per_epoch;
        if self.validated < trained {
            // A run that was stopped during a validation resumes here too.
            return self.validate(self.validated);
        }
        let goes_on = self.step < limit && !self.stopped() && !self.exhausted();
        if goes_on {
            self.train_epoch(trained, limit)?;
            return Ok(true);
        }
        // No later loss can show whether the state is sound.
        self.write_unproven()?;
        let in_epoch = !self.step.is_multiple_of(self.schedule.steps_per_epoch);
        if in_epoch {
            self.save_last()?;
        }
        if in_epoch || self.is_out_of_time() {
            self.save_checkpoint()?;
        }
        if in_epoch {
            self.report()?;
        }
        Ok(false)
    }

    /// Whether the user or the time limit stops the run, which can be resumed later.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.is_out_of_time()
    }

    fn is_out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the last `patience` epochs brought no improvement, so that the run is over.
    fn exhausted(&self) -> bool {
        let since_best =
            self.best.as_ref().and_then(|best| best.epoch).map_or(0, |best| self.validated.saturating_sub(best + 1));
        self.run.recipe.patience.is_some_and(|patience| since_best >= u64::from(patience))
    }

    /// The learning rate of the next step.
    fn lr(&self) -> f32 {
        self.schedule.lr(self.step) * 0.5f32.powi(self.setbacks as i32)
    }

    /// Trains from the current step to the end of the epoch, the limit, or a stop.
    fn train_epoch(&mut self, epoch: u64, limit: u64) -> Result<(), Error> {
        let per_epoch = self.schedule.steps_per_epoch;
        let parts = self.run.recipe.accumulate as usize;
        let size = [self.run.recipe.res_of_epoch(epoch, self.card.res) as usize; 2];
        self.engine.set_size(size)?;
        let options = LoaderOptions { size, ..self.loader };
        let first = (self.step % per_epoch) as usize * parts;
        let mut batches = Batches::with_targets(self.dataset.train.clone(), options, self.task.clone(), epoch, first);
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut rate = Rate::new(self.loader.batch * parts);
        let interval = Duration::from_secs_f64(60.0 * self.run.recipe.checkpoint_minutes);
        let mut saved = Instant::now();
        let last = limit.min((epoch + 1) * per_epoch);
        let (mut begun, mut waited) = (Instant::now(), Duration::ZERO);
        while self.step < last {
            let step: Vec<Batch> = match batches.by_ref().take(parts).collect() {
                Ok(step) => step,
                Err(error) => {
                    // When the pictures are readable again, the run can be resumed from here.
                    self.finish_step(in_flight.pop_front(), &mut rate)?;
                    self.save_checkpoint()?;
                    return Err(error.into());
                }
            };
            self.note_broken(Split::Train, step.iter().flat_map(|batch| &batch.broken))?;
            let mut submitted = self.submit_step(epoch, &step)?;
            let step_s = begun.elapsed().as_secs_f32().max(1e-9);
            submitted.line.loader_share = Some(((batches.waited() - waited).as_secs_f32() / step_s).min(1.0));
            (begun, waited) = (Instant::now(), batches.waited());
            in_flight.push_back(submitted);
            self.step += 1;
            // Reads the loss of the previous step while this one runs, so the GPU never waits for the disk.
            while in_flight.len() > 1 {
                self.finish_step(in_flight.pop_front(), &mut rate)?;
            }
            if self.stopped() {
                break;
            }
            if saved.elapsed() >= interval {
                self.finish_step(in_flight.pop_front(), &mut rate)?;
                self.unproven = Some(self.checkpoint()?);
                saved = Instant::now();
            }
        }
        self.finish_step(in_flight.pop_front(), &mut rate)
    }

    /// Records unreadable pictures that are new.
    fn note_broken<'b>(&mut self, split: Split, found: impl IntoIterator<Item = &'b Broken>) -> Result<(), Error> {
        let (broken, dataset, observer) = (&mut self.broken, &self.dataset, self.observer);
        let new = found.into_iter().filter(|picture| broken.add(dataset, split, picture, observer)).count();
        if new > 0 { Ok(self.broken.write(&self.run.folder)?) } else { Ok(()) }
    }

    fn submit_step(&mut self, epoch: u64, parts: &[Batch]) -> Result<InFlight, Error> {
        let lr = self.lr();
        let outcome = self.engine.submit(parts, lr, self.run.recipe.seed, self.step)?;
        let line = StepLine { step: self.step, epoch, loss: f32::NAN, lr, ..StepLine::default() };
        Ok(InFlight { line, outcome })
    }

    fn finish_step(&mut self, step: Option<InFlight>, rate: &mut Rate) -> Result<(), Error> {
        let Some(InFlight { mut line, outcome }) = step else { return Ok(()) };
        let Outcome { loss, numbers, norm } = outcome.wait()?;
        line.loss = loss;
        numbers.into_iter().for_each(|(name, number)| line.numbers.push(name, short(number)));
        line.grad_norm = norm.filter(|norm| norm.is_finite());
        line.skipped = norm.map(|norm| !norm.is_finite());
        line.images_per_s = rate.tick();
        self.skipped = if line.skipped == Some(true) { self.skipped + 1 } else { 0 };
        let cause = if !line.loss.is_finite() || self.losses.has_exploded(line.loss) {
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
        self.losses.push(line.loss);
        self.observer.step(&line);
        let sound = self.losses.is_sound(line.loss);
        let proven = sound && self.unproven.as_ref().is_some_and(|checkpoint| checkpoint.step <= line.step);
        self.metrics.write(&Line::Step(line))?;
        if proven { self.write_unproven() } else { Ok(()) }
    }
}
