//! A training step as one graph: forward pass, backward pass, and the use of each gradient.

use super::task::{Loss, Task};
use super::update::{self, Learner, Learning};
use crate::graph::half::store_half_maps;
use crate::graph::{self, DType, Graph, Port, Precision, Spec, TensorId, autodiff, recompute};
use crate::models::{self, Config, Input, Mode, Network, Norm, Parts};

/// When parameters learn from their gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// A few at a time, soon after their gradients are complete, so that the gradients' memory is free again.
    #[default]
    AtOnce,
    /// All together once every gradient is known, if the step depends on all of them.
    Together,
    /// All together, in an [`super::Update`], once the gradients of all parts of a batch are added up.
    AfterParts,
}

/// The options of a training step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOptions {
    /// Number of leading parts of the network that do not learn ([`Mode::Training`]).
    pub frozen: usize,
    /// How the backbone's other parts normalise.
    pub norm: Norm,
    /// How parameters learn.
    pub learning: Learning,
    /// When parameters learn.
    pub when: When,
    /// How maps and their gradients are stored.
    pub precision: Precision,
}

impl StepOptions {
    /// When parameters learn: not at once if the step depends on all gradients, because they are clipped or because a
    /// step that overflows is skipped as a whole.
    fn when(&self) -> When {
        let depends_on_all = self.precision == Precision::F16 || self.learning.max_norm.is_finite();
        match self.when {
            When::AtOnce if depends_on_all => When::Together,
            when => when,
        }
    }
}

/// A training step as a graph.
///
/// Before each run, feed the pictures (`pixels` or `input`), the task's targets, and `clock` `[2]`, u32: seed and step.
/// If parameters learn in this graph, also feed the inputs of [`Learning`]; else feed `keep` `[1]`: 0 for the first
/// part of a batch, which overwrites the sums of gradients, and 1 for later parts.
pub struct Step {
    /// Forward pass, backward pass and, unless the batch is computed in parts, update.
    pub graph: Graph,
    /// The terms of the loss, each `[1]`.
    pub loss: Vec<autodiff::Loss>,
    /// The other numbers that the task reports, each `[1]`.
    pub reported: Vec<Port>,
    /// Norm of the gradients `[1]` before clipping, if parameters learn together. Not finite if the step was skipped.
    pub norm: Option<TensorId>,
    /// The parts of the network.
    pub parts: Parts,
}

impl Step {
    /// Builds the step for `batch` pictures of `size` (height, width) pixels.
    ///
    /// # Errors
    /// If the network cannot be built or lacks outputs that the task needs.
    pub fn build(
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        task: &dyn Task,
        options: &StepOptions,
    ) -> Result<Self, models::Error> {
        let mode = Mode::Training { frozen: options.frozen, norm: options.norm };
        let Network { mut graph, outputs, parts, .. } = Network::build(config, batch, size, input, mode)?;
        let loss = task.loss(&mut graph, &outputs)?;
        let norm = differentiate(&mut graph, &loss, &parts, options)?;
        if options.precision == Precision::F16 {
            store_half_maps(&mut graph)?;
        }
        let Loss { terms, reported } = loss;
        Ok(Self { graph, loss: terms, reported, norm, parts })
    }

    /// The same step, to the bit, with less memory and more time: most activations are computed twice instead of kept.
    ///
    /// # Errors
    /// The errors of [`Step::build`].
    pub fn recomputing(mut self) -> Result<Self, models::Error> {
        recompute::rebuild_activations(&mut self.graph)?;
        Ok(self)
    }

    /// The outputs to read after a run, each `[1]`: the terms of the loss, the task's other numbers, the norm of the
    /// gradients.
    pub fn outputs(&self) -> Vec<TensorId> {
        let terms = self.loss.iter().map(|term| term.id);
        terms.chain(self.reported.iter().map(|port| port.id)).chain(self.norm).collect()
    }
}

/// Appends the backward pass and the use of the gradients. Returns their norm, if it is known.
fn differentiate(
    graph: &mut Graph,
    loss: &Loss,
    parts: &Parts,
    options: &StepOptions,
) -> Result<Option<TensorId>, graph::Error> {
    let learning = &options.learning;
    let loss_scale = match options.precision {
        Precision::F32 => None,
        Precision::F16 => Some(update::add_loss_scale(graph)?),
    };
    match options.when() {
        When::AtOnce => {
            learning.at_once(graph, |graph, steps| {
                in_groups(graph, &loss.terms, None, |graph, gradients| {
                    let learner = |&(parameter, gradient)| learning.learner(graph, parts, parameter, gradient);
                    let learners: Vec<Learner> = gradients.iter().map(learner).collect();
                    steps.append(graph, &learners)
                })
            })?;
            Ok(None)
        }
        When::Together => {
            let mut learners = Vec::new();
            autodiff::differentiate(graph, &loss.terms, loss_scale, |graph, parameter, gradient| {
                learners.push(learning.learner(graph, parts, parameter, gradient));
                Ok(())
            })?;
            Ok(Some(learning.together(graph, &learners, loss_scale)?))
        }
        When::AfterParts => {
            let keep = graph.input("keep", Spec::plain([1], DType::F32))?;
            in_groups(graph, &loss.terms, loss_scale, |graph, gradients| update::gather(graph, keep, gradients))?;
            Ok(None)
        }
    }
}

/// Bytes of gradients that may wait until more are complete. The more wait, the fewer launches use them, but the longer
/// their memory is taken.
const WAITING_BYTES: u64 = 4 << 20;

/// Appends the backward pass. Calls `use_gradients` with a few parameters and their gradients, pairs (parameter,
/// gradient), whenever more than [`WAITING_BYTES`] of gradients are complete, and at the end.
fn in_groups(
    graph: &mut Graph,
    losses: &[autodiff::Loss],
    scale: Option<TensorId>,
    mut use_gradients: impl FnMut(&mut Graph, &[(TensorId, TensorId)]) -> Result<(), graph::Error>,
) -> Result<(), graph::Error> {
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    autodiff::differentiate(graph, losses, scale, |graph, parameter, gradient| {
        waiting.push((parameter, gradient));
        bytes += graph.spec(gradient).bytes();
        if bytes <= WAITING_BYTES {
            return Ok(());
        }
        bytes = 0;
        use_gradients(graph, &std::mem::take(&mut waiting))
    })?;
    if waiting.is_empty() { Ok(()) } else { use_gradients(graph, &waiting) }
}
