//! A training step as one graph: forward, backward, and what becomes of each gradient as soon as it is complete.

use super::update::{self, Optimizer};
use crate::graph::{self, DType, Graph, Spec, TensorId, autodiff, recompute};
use crate::models::{self, Config, Input, Mode, Network, Training};

/// When parameters learn from their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Each as soon as its gradient is complete, whose memory is free again then.
    #[default]
    AtOnce,
    /// All together, by an [`super::Update`], once the gradients of a whole batch are added up: where a batch is computed in
    /// parts, or the step depends on the norm of all gradients.
    Together,
}

/// What a training step does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepOptions {
    /// Loss, labels, and what is frozen.
    pub training: Training,
    /// How parameters learn.
    pub optimizer: Optimizer,
    /// When they do.
    pub when: When,
}

/// A training step's graph and what it is fed.
pub struct Step {
    /// Forward, backward and, unless parameters learn together, update.
    pub graph: Graph,
    /// Pictures: `pixels` or `input`.
    pub input: TensorId,
    /// `[N]`, u32.
    pub labels: TensorId,
    /// Where labels are mixed: the second ones `[N]`, u32, and the shares of the first ones `[N]`.
    pub mixed: Option<[TensorId; 2]>,
    /// `[2]`, u32: seed, step.
    pub clock: TensorId,
    /// What the update is fed.
    pub feeds: Feeds,
    /// Mean loss `[1]`: the output.
    pub loss: TensorId,
}

/// What is fed besides pictures and labels.
#[derive(Clone, Copy, Debug)]
pub enum Feeds {
    /// Parameters learn at once.
    AtOnce(update::Feeds),
    /// Gradients are added up: `keep` `[1]`, 0 for the first part of a batch, which overwrites, and 1 for the others.
    Together {
        /// Whether to add.
        keep: TensorId,
    },
}

impl Feeds {
    /// The learning rate's tensor.
    ///
    /// # Panics
    /// If parameters learn together, which is the update's business then.
    pub fn lr(&self) -> TensorId {
        match self {
            Feeds::AtOnce(feeds) => feeds.lr,
            Feeds::Together { .. } => panic!("the update is fed the learning rate"),
        }
    }
}

impl Step {
    /// Builds the step for `batch` pictures of `size` (height, width) pixels.
    pub fn build(
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        options: &StepOptions,
    ) -> Result<Self, models::Error> {
        let network = Network::build(config, batch, size, input, Mode::Training(options.training))?;
        let Network { mut graph, input, training: Some(ends), .. } = network else {
            unreachable!("a network built for training has a loss");
        };
        let feeds = with_updates(&mut graph, ends.loss, options)?;
        let models::TrainingEnds { labels, mixed, clock, loss } = ends;
        Ok(Self { graph, input, labels, mixed, clock, feeds, loss })
    }

    /// The same step, to the bit, in less memory and more time: most activations are computed twice instead of kept.
    ///
    /// # Errors
    /// As [`Step::build`].
    pub fn recomputing(mut self) -> Result<Self, models::Error> {
        recompute::rebuild_activations(&mut self.graph)?;
        Ok(self)
    }
}

/// Appends the backward pass and what happens to each gradient.
fn with_updates(graph: &mut Graph, loss: TensorId, options: &StepOptions) -> Result<Feeds, graph::Error> {
    let optimizer = &options.optimizer;
    match options.when {
        When::AtOnce => {
            let feeds = update::Feeds::of(graph, optimizer)?;
            autodiff::differentiate(graph, loss, |graph, parameter, gradient| {
                update::learn(graph, optimizer, feeds.lr, parameter, gradient)
            })?;
            update::average(graph, feeds)?;
            Ok(Feeds::AtOnce(feeds))
        }
        When::Together => {
            let keep = graph.input("keep", Spec::plain([1], DType::F32))?;
            autodiff::differentiate(graph, loss, |graph, parameter, gradient| {
                update::gather(graph, keep, parameter, gradient)
            })?;
            Ok(Feeds::Together { keep })
        }
    }
}
