//! The sessions of a training run: its step, an update if the batch is computed in parts, and the validation networks.

use std::path::Path;
use std::sync::Arc;

use super::step::{Step, StepOptions, When};
use super::task::{self, Task};
use super::update::{self, AVERAGE, Update};
use super::{Checkpoint, Recipe, ema_decay};
use crate::Error;
use crate::data::Batch;
use crate::exec::{ParameterStore, PendingRead, Session, SessionOptions};
use crate::gpu::Gpu;
use crate::graph::{Elements, Port, Role, StateKind, Tensor, TensorId, autodiff};
use crate::inference::Inference;
use crate::models::Input;
use crate::weights::{HostTensor, ModelCard, StateDict, timm};

/// Sessions over one store of parameters.
pub(super) struct Engine {
    card: ModelCard,
    task: Arc<dyn Task>,
    /// Pictures of one part of a batch.
    part: usize,
    /// Parts of a batch.
    parts: usize,
    ema: f64,
    recompute: bool,
    options: StepOptions,
    store: ParameterStore,
    /// `None` while the size of the pictures changes, so that memory holds only one session.
    step: Option<StepSession>,
    update: Option<UpdateSession>,
    validation: Inference,
    averaged: Option<Inference>,
}

/// The session of a step for pictures of one size.
struct StepSession {
    size: [usize; 2],
    session: Session,
    outputs: Vec<TensorId>,
    loss: Vec<autodiff::Loss>,
    reported: Vec<Port>,
}

/// The session of the update with the gradients of all parts of a batch.
struct UpdateSession {
    session: Session,
    norm: TensorId,
}

/// The outcome of a step, being read back from the GPU.
pub(super) struct PendingOutcome {
    /// Outputs of the step ([`Step::outputs`]) for each part of the batch.
    parts: Vec<PendingRead>,
    /// Norm of the gradients, if all parts learn together.
    norm: Option<PendingRead>,
    loss: Vec<autodiff::Loss>,
    reported: Vec<Port>,
}

/// The outcome of a step.
pub(super) struct Outcome {
    /// Mean over the batch.
    pub(super) loss: f32,
    /// The numbers that the task reports, means over the batch.
    pub(super) numbers: Vec<(&'static str, f32)>,
    /// Norm of the gradients, if it is known.
    pub(super) norm: Option<f32>,
}

impl PendingOutcome {
    pub(super) fn wait(self) -> Result<Outcome, Error> {
        let parts = self.parts.len() as f32;
        let (mut loss, mut norm) = (0.0, None);
        let mut numbers: Vec<(&str, f32)> = self.reported.iter().map(|port| (port.name, 0.0)).collect();
        for part in self.parts {
            let values = part.wait()?;
            let mut values = values.iter().map(|value| value[0]);
            for (term, value) in self.loss.iter().zip(&mut values) {
                loss += term.weight * value / parts;
            }
            for ((_, number), value) in numbers.iter_mut().zip(&mut values) {
                *number += value / parts;
            }
            norm = values.next();
        }
        if let Some(of_all) = self.norm {
            norm = Some(of_all.wait()?[0][0]);
        }
        Ok(Outcome { loss, numbers, norm })
    }
}

/// Which weights a validation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// The weights after the last step.
    Raw,
    /// Their exponential moving averages.
    Averaged,
}

impl Engine {
    /// Builds everything for a recipe, with zero weights. `progress` is called with the number of compiled kernels and
    /// the total.
    pub(super) fn new(
        gpu: &Gpu,
        recipe: &Recipe,
        card: &ModelCard,
        task: Arc<dyn Task>,
        size: [usize; 2],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, Error> {
        let options = recipe.step_options();
        let part = recipe.part() as usize;
        let mut store = ParameterStore::new(gpu);
        let session_options = SessionOptions { progress: Some(progress), ..SessionOptions::default() };
        let step = build_step(card, part, size, &*task, &options, recipe.recompute)?;
        store.allocate(&step.graph)?;
        let update = match options.when {
            When::AtOnce | When::Together => None,
            When::AfterParts => {
                Some(UpdateSession::new(&mut store, Update::build(&step, &options)?, &session_options)?)
            }
        };
        let step = StepSession::new(&store, step, size, &session_options)?;
        // The validation's kernels can wait until the first step is done.
        step.session.warm_up()?;
        let (size, input, readings) = ([card.res as usize; 2], pixels(card), task::readings(&task));
        let validation = Inference::new(&mut store, &card.config, part, size, input, &readings, &session_options)?;
        let averaged = if recipe.ema > 0.0 {
            let mut averages = store.with_suffix(AVERAGE);
            Some(Inference::new(&mut averages, &card.config, part, size, input, &readings, &session_options)?)
        } else {
            None
        };
        Ok(Self {
            card: card.clone(),
            task,
            part,
            parts: recipe.accumulate as usize,
            ema: recipe.ema,
            recompute: recipe.recompute,
            options,
            store,
            step: Some(step),
            update,
            validation,
            averaged,
        })
    }

    /// Initialises the weights: with the values `first`, and all others randomly from the seed.
    pub(super) fn initialize(&mut self, seed: u64, first: &[(String, Vec<f32>)]) -> Result<(), Error> {
        self.store.initialize(seed)?;
        self.store.load(first)?;
        // Averages start with the values of the weights.
        let is_average = |tensor: &&Tensor| matches!(tensor.role, Role::State(StateKind::Average, _));
        let averages: Vec<String> = self.store.tensors().filter(is_average).map(|t| t.name.clone()).collect();
        for name in averages {
            let values = self.store.read(name.trim_end_matches(AVERAGE))?;
            self.store.write(&name, &values)?;
        }
        self.prepare()
    }

    /// Loads a checkpoint's state; `run` names it in messages.
    pub(super) fn resume(&mut self, run: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut weights = StateDict { tensors: checkpoint.tensors.clone(), ..StateDict::default() };
        update::adapt_loss_scale(&mut weights.tensors, self.options.precision);
        let wanted: Vec<_> = self.store.tensors().filter(|t| update::outlives_a_step(t.role)).collect();
        self.store.load(&timm::values_of(run, &weights, &wanted)?)?;
        self.prepare()
    }

    fn step(&mut self) -> &mut StepSession {
        self.step.as_mut().unwrap_or_else(|| unreachable!("set_size failed, and the run should have ended there"))
    }

    fn prepare(&mut self) -> Result<(), Error> {
        Ok(self.step().session.prepare()?)
    }

    /// Bytes of GPU memory that the sessions plan.
    pub(super) fn planned_bytes(&mut self) -> u64 {
        let update = self.update.as_ref().map_or(0, |u| u.session.plan().bytes.total_without_parameters());
        let state = self.store.tensors().map(|t| t.spec.bytes()).sum::<u64>();
        let step = self.step().session.plan().bytes.total_without_parameters();
        let mut networks = 0;
        for network in std::iter::once(&mut self.validation).chain(self.averaged.as_mut()) {
            networks += network.session().plan().bytes.total_without_parameters();
        }
        state + step + update + networks
    }

    /// Changes the size (height, width) of the training pictures.
    pub(super) fn set_size(&mut self, size: [usize; 2]) -> Result<(), Error> {
        if self.step().size == size {
            return Ok(());
        }
        self.step().session.wait()?;
        self.step = None;
        let step = build_step(&self.card, self.part, size, &*self.task, &self.options, self.recompute)?;
        self.step = Some(StepSession::new(&self.store, step, size, &SessionOptions::default())?);
        self.prepare()
    }

    /// Submits step number `step` over the parts of its batch. Dropout is drawn from `seed` and the number.
    pub(super) fn submit(&mut self, parts: &[Batch], lr: f32, seed: u64, step: u64) -> Result<PendingOutcome, Error> {
        let rates = [
            ("lr", [lr]),
            ("ema_rate", [(1.0 - ema_decay(self.ema, step)) as f32]),
            ("factor", [1.0 / self.parts as f32]),
        ];
        let rates: Vec<(&str, Elements<'_>)> = rates.iter().map(|(name, rate)| (*name, rate[..].into())).collect();
        if self.update.is_some() {
            // Parameters do not change between the parts of a step, but they have changed since the previous step.
            self.prepare()?;
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        for (i, batch) in parts.iter().enumerate() {
            // Each part has its own dropout; for an undivided batch this is the number of the step.
            let number = step * self.parts as u64 + i as u64;
            let clock = [(seed ^ (seed >> 32)) as u32, number as u32];
            let keep = [if i > 0 { 1.0 } else { 0.0 }];
            let mut feeds = rates.clone();
            feeds.extend([("pixels", batch.pixels[..].into()), ("clock", clock[..].into()), ("keep", keep[..].into())]);
            feeds.extend(batch.targets.iter());
            let s = self.step();
            s.session.feed_inputs(&feeds)?;
            s.session.run()?;
            outcomes.push(s.session.read_later(&s.outputs)?);
        }
        let norm = self.update.as_mut().map(|update| update.run(&rates)).transpose()?;
        let StepSession { loss, reported, .. } = self.step();
        Ok(PendingOutcome { loss: loss.clone(), reported: reported.clone(), parts: outcomes, norm })
    }

    /// The validation network with the current weights; `None` for averages that are not kept.
    pub(super) fn validation(&mut self, weights: Weights) -> Result<Option<&mut Inference>, Error> {
        let network = match weights {
            Weights::Raw => Some(&mut self.validation),
            Weights::Averaged => self.averaged.as_mut(),
        };
        let Some(network) = network else { return Ok(None) };
        network.prepare()?;
        Ok(Some(network))
    }

    /// Parameters and running statistics under timm's names, with the network's card.
    pub(super) fn weights(&self, weights: Weights, step: u64) -> Result<StateDict, Error> {
        let mut dict = StateDict { metadata: self.card.to_metadata(), ..StateDict::default() };
        dict.metadata.insert("num_batches_tracked".into(), step.to_string());
        let store = match weights {
            Weights::Raw => self.store.clone(),
            Weights::Averaged => self.store.with_suffix(AVERAGE),
        };
        let tensors = store.read_all(|tensor| update::is_answered_with(tensor.role))?;
        dict.tensors = tensors.into_iter().map(|(t, v)| (t.name.clone(), timm::to_torch(&t.spec, &v))).collect();
        Ok(dict)
    }

    /// All tensors that a resumed run needs.
    pub(super) fn state(&self) -> Result<std::collections::BTreeMap<String, HostTensor>, Error> {
        let tensors = self.store.read_all(|tensor| update::outlives_a_step(tensor.role))?;
        Ok(tensors.into_iter().map(|(t, v)| (t.name.clone(), timm::to_torch(&t.spec, &v))).collect())
    }
}

impl StepSession {
    fn new(store: &ParameterStore, step: Step, size: [usize; 2], options: &SessionOptions<'_>) -> Result<Self, Error> {
        let outputs = step.outputs();
        let Step { graph, loss, reported, .. } = step;
        let session = Session::new(store, graph, &outputs, options)?;
        Ok(Self { size, session, outputs, loss, reported })
    }
}

impl UpdateSession {
    fn new(store: &mut ParameterStore, update: Update, options: &SessionOptions<'_>) -> Result<Self, Error> {
        let Update { graph, norm } = update;
        store.allocate(&graph)?;
        Ok(Self { session: Session::new(store, graph, &[norm], options)?, norm })
    }

    fn run(&mut self, rates: &[(&str, Elements<'_>)]) -> Result<PendingRead, Error> {
        self.session.feed_inputs(rates)?;
        self.session.run()?;
        Ok(self.session.read_later(&[self.norm])?)
    }
}

fn pixels(card: &ModelCard) -> Input {
    Input::Pixels { mean: card.mean, std: card.std }
}

fn build_step(
    card: &ModelCard,
    pictures: usize,
    size: [usize; 2],
    task: &dyn Task,
    options: &StepOptions,
    recompute: bool,
) -> Result<Step, Error> {
    let step = Step::build(&card.config, pictures, size, pixels(card), task, options)?;
    Ok(if recompute { step.recomputing()? } else { step })
}
