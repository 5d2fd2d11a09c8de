//! What a training run computes with: the session of its step, perhaps one that updates, and the networks that validate.

use std::path::Path;

use super::step::{Gradients, Step, StepOptions, When};
use super::update::{self, AVERAGE, Learning, Rates, Update};
use super::{Checkpoint, Recipe, ema_decay};
use crate::Error;
use crate::data::Batch;
use crate::exec::{ParameterStore, PendingRead, Session, SessionOptions};
use crate::gpu::Gpu;
use crate::graph::TensorId;
use crate::inference::Inference;
use crate::models::Input;
use crate::weights::{HostTensor, ModelCard, StateDict, timm};

/// Sessions over one store of parameters.
pub(super) struct Engine {
    card: ModelCard,
    /// Pictures of one part of a batch.
    part: usize,
    /// Parts of a batch.
    parts: usize,
    ema: f64,
    recompute: bool,
    options: StepOptions,
    store: ParameterStore,
    /// `None` while the size of the pictures changes, so that memory holds one of them.
    step: Option<StepSession>,
    update: Option<UpdateSession>,
    validation: Inference,
    averaged: Option<Inference>,
}

/// The session of a step for pictures of one size.
struct StepSession {
    res: u32,
    session: Session,
    input: TensorId,
    labels: TensorId,
    mixed: Option<[TensorId; 2]>,
    clock: TensorId,
    gradients: Gradients,
    /// Loss, top-1 and, where it is known, the norm of the gradients.
    outputs: Vec<TensorId>,
}

/// The session of an update by the gradients of all parts of a batch.
struct UpdateSession {
    session: Session,
    learning: Learning,
}

/// What a step has come to, on its way from the GPU.
pub(super) struct PendingOutcome {
    /// Of each part: loss, top-1 and, where the part has learnt from it, the norm of its gradients.
    parts: Vec<PendingRead>,
    /// Where all parts learn together.
    norm: Option<PendingRead>,
}

/// What a step has come to.
pub(super) struct Outcome {
    /// Mean over the batch.
    pub(super) loss: f32,
    /// Share of the batch whose likeliest class was right.
    pub(super) top1: f32,
    /// Norm of the gradients, where it is known.
    pub(super) norm: Option<f32>,
}

impl PendingOutcome {
    pub(super) fn wait(self) -> Result<Outcome, Error> {
        let parts = self.parts.len() as f32;
        let mut outcome = Outcome { loss: 0.0, top1: 0.0, norm: None };
        for part in self.parts {
            let values = part.wait()?;
            outcome.loss += values[0][0] / parts;
            outcome.top1 += values[1][0] / parts;
            outcome.norm = values.get(2).map(|norm| norm[0]);
        }
        if let Some(norm) = self.norm {
            outcome.norm = Some(norm.wait()?[0][0]);
        }
        Ok(outcome)
    }
}

/// The weights that a validation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// Those of the last step.
    Raw,
    /// Their exponential moving averages.
    Averaged,
}

impl Engine {
    /// Builds everything for a recipe, with zeros for weights. `progress` is told how many of how many kernels are compiled.
    pub(super) fn new(
        gpu: &Gpu,
        recipe: &Recipe,
        card: &ModelCard,
        res: u32,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Self, Error> {
        let options = recipe.step_options();
        let part = recipe.part() as usize;
        let mut store = ParameterStore::new(gpu);
        let session_options = SessionOptions { progress: Some(progress), ..SessionOptions::default() };
        let step = build_step(card, part, res, &options, recipe.recompute)?;
        store.allocate(&step.graph)?;
        let update = match options.when {
            When::AtOnce | When::Together => None,
            When::AfterParts => {
                Some(UpdateSession::new(&mut store, Update::build(&step.graph, &options)?, &session_options)?)
            }
        };
        let step = StepSession::new(&store, step, res, &session_options)?;
        // The validation's kernels can wait until the first step is done.
        step.session.warm_up()?;
        let (size, input) = ([card.res as usize; 2], pixels(card));
        let validation = Inference::new(&mut store, &card.config, part, size, input, &session_options)?;
        let averaged = if recipe.ema > 0.0 {
            let mut averages = store.with_suffix(AVERAGE);
            Some(Inference::new(&mut averages, &card.config, part, size, input, &session_options)?)
        } else {
            None
        };
        Ok(Self {
            card: card.clone(),
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

    /// Gives the weights their first values: drawn from the seed, and where there are others, those.
    pub(super) fn initialize(&mut self, seed: u64, first: &[(String, Vec<f32>)]) -> Result<(), Error> {
        self.store.initialize(seed)?;
        self.store.load(first)?;
        // Averages begin where the weights do.
        let averages: Vec<String> =
            self.store.tensors().map(|t| t.name.clone()).filter(|n| n.ends_with(AVERAGE)).collect();
        for name in averages {
            let values = self.store.read(name.trim_end_matches(AVERAGE))?;
            self.store.write(&name, &values)?;
        }
        self.prepare()
    }

    /// Takes over a checkpoint's state; `run` names it in messages.
    pub(super) fn resume(&mut self, run: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut weights = StateDict { tensors: checkpoint.tensors.clone(), ..StateDict::default() };
        update::adapt_loss_scale(&mut weights.tensors, self.options.precision);
        let wanted: Vec<_> = self.store.tensors().filter(|t| update::outlives_a_step(&t.name)).collect();
        self.store.load(&timm::values_of(run, &weights, &wanted)?)?;
        self.prepare()
    }

    fn step(&mut self) -> &mut StepSession {
        self.step.as_mut().unwrap_or_else(|| unreachable!("a run ends that cannot build its step"))
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

    /// Changes the size of the training pictures.
    pub(super) fn set_res(&mut self, res: u32) -> Result<(), Error> {
        if self.step().res == res {
            return Ok(());
        }
        self.step().session.wait()?;
        self.step = None;
        let step = build_step(&self.card, self.part, res, &self.options, self.recompute)?;
        self.step = Some(StepSession::new(&self.store, step, res, &SessionOptions::default())?);
        self.prepare()
    }

    /// Submits the step of a number, over the parts of its batch. `seed` and the number are what dropout is drawn from.
    pub(super) fn submit(&mut self, parts: &[Batch], lr: f32, seed: u64, step: u64) -> Result<PendingOutcome, Error> {
        let ema_rate = [(1.0 - ema_decay(self.ema, step)) as f32];
        let rates = Rates { lr: [lr], ema_rate, factor: [1.0 / self.parts as f32] };
        if self.update.is_some() {
            // Within a step of parts the parameters stand still; they have moved since the one before.
            self.prepare()?;
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        for (i, batch) in parts.iter().enumerate() {
            // Each part drops other features; a whole batch's numbers are those of its step.
            let number = step * self.parts as u64 + i as u64;
            let clock = [(seed ^ (seed >> 32)) as u32, number as u32];
            let s = self.step();
            let mut words = vec![(s.input, &batch.pixels[..]), (s.labels, &batch.labels[..]), (s.clock, &clock[..])];
            let mut floats: Vec<(TensorId, &[f32])> = Vec::new();
            if let Some([others, shares]) = s.mixed {
                words.push((others, &batch.others));
                floats.push((shares, &batch.shares));
            }
            let keep = [if i > 0 { 1.0 } else { 0.0 }];
            match &s.gradients {
                Gradients::Learned(learning) => floats.extend(learning.feeds(&rates)),
                Gradients::AddedUp { keep: id } => floats.push((*id, &keep)),
            }
            s.session.feed(&floats, &words)?;
            s.session.run()?;
            outcomes.push(s.session.read_later(&s.outputs)?);
        }
        let norm = self.update.as_mut().map(|update| update.run(&rates)).transpose()?.flatten();
        Ok(PendingOutcome { parts: outcomes, norm })
    }

    /// The network that validates, with the weights as they are now; `None` for averages that are not kept.
    pub(super) fn validation(&mut self, weights: Weights) -> Result<Option<&mut Inference>, Error> {
        let network = match weights {
            Weights::Raw => Some(&mut self.validation),
            Weights::Averaged => self.averaged.as_mut(),
        };
        let Some(network) = network else { return Ok(None) };
        network.prepare()?;
        Ok(Some(network))
    }

    /// Parameters and running statistics under timm's names, with the card that says what they are.
    pub(super) fn weights(&self, weights: Weights, step: u64) -> Result<StateDict, Error> {
        let mut dict = StateDict { metadata: self.card.to_metadata(), ..StateDict::default() };
        dict.metadata.insert("num_batches_tracked".into(), step.to_string());
        let store = match weights {
            Weights::Raw => self.store.clone(),
            Weights::Averaged => self.store.with_suffix(AVERAGE),
        };
        let tensors = store.read_all(|tensor| !update::is_internal(&tensor.name))?;
        dict.tensors = tensors.into_iter().map(|(t, v)| (t.name.clone(), timm::to_torch(&t.spec, &v))).collect();
        Ok(dict)
    }

    /// Everything that a run goes on from.
    pub(super) fn state(&self) -> Result<std::collections::BTreeMap<String, HostTensor>, Error> {
        let tensors = self.store.read_all(|tensor| update::outlives_a_step(&tensor.name))?;
        Ok(tensors.into_iter().map(|(t, v)| (t.name.clone(), timm::to_torch(&t.spec, &v))).collect())
    }
}

impl StepSession {
    fn new(store: &ParameterStore, step: Step, res: u32, options: &SessionOptions<'_>) -> Result<Self, Error> {
        let outputs = step.outputs();
        let Step { graph, input, labels, mixed, clock, gradients, .. } = step;
        let session = Session::new(store, graph, &outputs, options)?;
        Ok(Self { res, session, input, labels, mixed, clock, gradients, outputs })
    }
}

impl UpdateSession {
    fn new(store: &mut ParameterStore, update: Update, options: &SessionOptions<'_>) -> Result<Self, Error> {
        let Update { graph, learning } = update;
        store.allocate(&graph)?;
        let outputs: Vec<TensorId> = learning.norm().into_iter().collect();
        Ok(Self { session: Session::new(store, graph, &outputs, options)?, learning })
    }

    fn run(&mut self, rates: &Rates) -> Result<Option<PendingRead>, Error> {
        self.session.feed(&self.learning.feeds(rates), &[])?;
        self.session.run()?;
        let norm = self.learning.norm().map(|norm| self.session.read_later(&[norm]));
        Ok(norm.transpose()?)
    }
}

fn pixels(card: &ModelCard) -> Input {
    Input::Pixels { mean: card.mean, std: card.std }
}

fn build_step(
    card: &ModelCard,
    pictures: usize,
    res: u32,
    options: &StepOptions,
    recompute: bool,
) -> Result<Step, Error> {
    let step = Step::build(&card.config, pictures, [res as usize; 2], pixels(card), options)?;
    Ok(if recompute { step.recomputing()? } else { step })
}
