//! A training step as one graph: forward, backward, and what becomes of each gradient.

use super::update::{self, Learning, Optimizer};
use crate::graph::half::store_half_maps;
use crate::graph::{self, DType, Graph, Precision, Spec, TensorId, autodiff, recompute};
use crate::models::{self, Config, Input, Mode, Network, Training};

/// When parameters learn from their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Each as soon as its gradient is complete, whose memory is free again then.
    #[default]
    AtOnce,
    /// All together once every gradient is known: where what a step does depends on all of them.
    Together,
    /// All together, by an [`super::Update`], once the gradients of all parts of a batch are added up.
    AfterParts,
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
    /// How maps and their gradients are stored.
    pub precision: Precision,
}

impl StepOptions {
    /// When parameters learn: never at once where what a step does depends on all gradients, since they are clipped, or since a
    /// step that overflows is left out as a whole.
    fn when(&self) -> When {
        let depends_on_all = self.precision == Precision::F16 || self.optimizer.max_norm.is_finite();
        match self.when {
            When::AtOnce if depends_on_all => When::Together,
            when => when,
        }
    }
}

/// A training step's graph and what it is fed.
pub struct Step {
    /// Forward, backward and, unless the batch has other parts, update.
    pub graph: Graph,
    /// Pictures: `pixels` or `input`.
    pub input: TensorId,
    /// `[N]`, u32.
    pub labels: TensorId,
    /// Where labels are mixed: the second ones `[N]`, u32, and the shares of the first ones `[N]`.
    pub mixed: Option<[TensorId; 2]>,
    /// `[2]`, u32: seed, step.
    pub clock: TensorId,
    /// What becomes of the gradients.
    pub gradients: Gradients,
    /// Mean loss `[1]`: an output.
    pub loss: TensorId,
    /// Share of the pictures whose likeliest class is right `[1]`: an output.
    pub top1: TensorId,
}

/// What becomes of a step's gradients.
#[derive(Clone, Copy, Debug)]
pub enum Gradients {
    /// Parameters learn from them.
    Learned(Learning),
    /// They are added up: `keep` `[1]` is fed 0 for the first part of a batch, which overwrites, and 1 for the others.
    AddedUp {
        /// Whether to add.
        keep: TensorId,
    },
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
        let gradients = differentiate(&mut graph, ends.loss, options)?;
        if options.precision == Precision::F16 {
            store_half_maps(&mut graph)?;
        }
        let models::TrainingEnds { labels, mixed, clock, loss, top1 } = ends;
        Ok(Self { graph, input, labels, mixed, clock, gradients, loss, top1 })
    }

    /// The same step, to the bit, in less memory and more time: most activations are computed twice instead of kept.
    ///
    /// # Errors
    /// As [`Step::build`].
    pub fn recomputing(mut self) -> Result<Self, models::Error> {
        recompute::rebuild_activations(&mut self.graph)?;
        Ok(self)
    }

    /// What is to be read after a run: the loss, top-1, and the norm of the gradients where learning knows it, in that order.
    pub fn outputs(&self) -> Vec<TensorId> {
        [self.loss, self.top1].into_iter().chain(self.learning().and_then(|learning| learning.norm())).collect()
    }

    /// What its parameters learn by, if they learn in this graph.
    pub fn learning(&self) -> Option<Learning> {
        match self.gradients {
            Gradients::Learned(learning) => Some(learning),
            Gradients::AddedUp { .. } => None,
        }
    }
}

/// Appends the backward pass and what happens to the gradients.
fn differentiate(graph: &mut Graph, loss: TensorId, options: &StepOptions) -> Result<Gradients, graph::Error> {
    let optimizer = &options.optimizer;
    let loss_scale = match options.precision {
        Precision::F32 => None,
        Precision::F16 => Some(update::add_loss_scale(graph)?),
    };
    match options.when() {
        When::AtOnce => {
            let learning = Learning::add_to(graph, optimizer)?;
            autodiff::differentiate(graph, loss, None, |graph, parameter, gradient| {
                update::learn(graph, optimizer, learning.lr, parameter, gradient)
            })?;
            update::average(graph, learning.ema_rate)?;
            Ok(Gradients::Learned(learning))
        }
        When::Together => {
            let mut learners = Vec::new();
            autodiff::differentiate(graph, loss, loss_scale, |graph, parameter, gradient| {
                learners.push(update::Learner::new(graph, optimizer, parameter, gradient));
                Ok(())
            })?;
            Ok(Gradients::Learned(update::learn_together(graph, optimizer, &learners, loss_scale)?))
        }
        When::AfterParts => {
            let keep = graph.input("keep", Spec::plain([1], DType::F32))?;
            autodiff::differentiate(graph, loss, loss_scale, |graph, parameter, gradient| {
                update::gather(graph, keep, parameter, gradient)
            })?;
            Ok(Gradients::AddedUp { keep })
        }
    }
}
