//! The update of parameters: a few at a time, or all together with the norm of all gradients.

use std::collections::BTreeMap;

use super::Decay;
use super::optimizer::{Optimizer, Steps};
use super::step::{Step, StepOptions};
use crate::graph::op::{Accumulate, AdaptLossScale, GradientScale, MovingAverage, SquaredNorm, Unscale};
use crate::graph::{self, DType, Graph, Op, Precision, Role, Spec, StateKind, TensorId};
use crate::models::Parts;
use crate::weights::HostTensor;

/// Suffix of the state with the moving average of a parameter or a running statistic.
pub(super) const AVERAGE: &str = ".ema";
/// Suffix of the state in which the gradients of a parameter are added up.
const GRADIENT: &str = ".gradient";
/// State of the global norm.
const SQUARED_NORMS: &str = "squared_norms";
/// States of mixed precision.
const LOSS_SCALE: &str = "loss_scale";
const LOSS_SCALE_STEPS: &str = "loss_scale.steps";
/// PyTorch's `GradScaler` begins with these.
const FIRST_LOSS_SCALE: f32 = 65_536.0;
const GROWTH_STEPS: u32 = 2000;

/// Whether an inference network reads a tensor; other tensors serve training alone.
pub(super) fn is_answered_with(role: Role) -> bool {
    match role {
        Role::State(kind, _) => kind.is_answered_with(),
        _ => role.is_persistent(),
    }
}

/// Whether a checkpoint needs a tensor.
pub(super) fn outlives_a_step(role: Role) -> bool {
    match role {
        Role::State(kind, _) => kind.outlives_a_step(),
        _ => role.is_persistent(),
    }
}

/// How parameters learn.
///
/// A graph in which parameters learn has the inputs `lr` `[1]`, the learning rate; with averages `ema_rate` `[1]`, one
/// minus their decay; and if they learn together `factor` `[1]`, the factor of the gradients: one divided by the number
/// of parts of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Learning {
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Weight decay: an L2 penalty of SGD, a share of the learning rate of AdamW.
    pub weight_decay: f32,
    /// Parameters that decay.
    pub decay: Decay,
    /// Factors of the learning rate by part of the network ([`Parts::names`]); 1 for missing entries.
    pub lr_scales: Vec<f32>,
    /// Whether averages of parameters and running statistics are kept.
    pub ema: bool,
    /// Global norm above which the gradients are scaled down to it, if they learn together; infinity for no limit.
    pub max_norm: f32,
}

impl Default for Learning {
    /// The default optimiser, without decay, averages or clipping.
    fn default() -> Self {
        Self {
            optimizer: Optimizer::default(),
            weight_decay: 0.0,
            decay: Decay::All,
            lr_scales: Vec::new(),
            ema: false,
            max_norm: f32::INFINITY,
        }
    }
}

impl Learning {
    /// The learner of a network's parameter and its gradient.
    pub(super) fn learner(&self, network: &Graph, parts: &Parts, parameter: TensorId, gradient: TensorId) -> Learner {
        let decays = match self.decay {
            Decay::All => true,
            Decay::NotNorm => !normalises(network, parameter),
            Decay::Kernels => network.spec(parameter).shape.len() > 1,
        };
        let part = parts.of(&network.tensor(parameter).name);
        let lr_scale = part.and_then(|part| self.lr_scales.get(part)).copied().unwrap_or(1.0);
        Learner { parameter, gradient, weight_decay: if decays { self.weight_decay } else { 0.0 }, lr_scale }
    }

    /// Appends updates that do not depend on other gradients: calls `learn` to append the steps of all parameters.
    pub(super) fn at_once(
        &self,
        graph: &mut Graph,
        learn: impl FnOnce(&mut Graph, &Steps) -> Result<(), graph::Error>,
    ) -> Result<(), graph::Error> {
        let (lr, ema_rate) = self.rates(graph)?;
        let steps = self.optimizer.begin(graph, lr, None)?;
        learn(graph, &steps)?;
        average(graph, ema_rate)
    }

    /// Appends the update of all parameters with the norm of all gradients. Returns that norm `[1]`, before clipping;
    /// it is not finite if the step is skipped.
    pub(super) fn together(
        &self,
        graph: &mut Graph,
        learners: &[Learner],
        loss_scale: Option<TensorId>,
    ) -> Result<TensorId, graph::Error> {
        let (lr, ema_rate) = self.rates(graph)?;
        let fed = number(graph, "factor")?;
        let factor = match loss_scale {
            Some(scale) => graph.apply1(LOSS_SCALE, Unscale, &[fed, scale])?,
            None => fed,
        };
        let gradients = learners.iter().map(|learner| learner.gradient);
        let count = gradients.clone().map(|gradient| SquaredNorm::sums(graph.spec(gradient))).sum::<usize>();
        let sums = graph.state(SQUARED_NORMS.into(), Spec::plain([count], DType::F32), StateKind::SquaredNorms, 0.0)?;
        let inputs: Vec<TensorId> = [factor].into_iter().chain(gradients).collect();
        graph.apply("norm", SquaredNorm, &inputs, &[sums])?;
        let scaled = graph.apply("clip", GradientScale { max_norm: self.max_norm }, &[sums, factor], &[])?;
        self.optimizer.begin(graph, lr, Some(scaled[0]))?.append(graph, learners)?;
        if let Some(scale) = loss_scale {
            let steps = loss_scale_state(graph, LOSS_SCALE_STEPS, 0.0)?;
            graph.apply(LOSS_SCALE, AdaptLossScale { growth_steps: GROWTH_STEPS }, &[scaled[0]], &[scale, steps])?;
        }
        average(graph, ema_rate)?;
        Ok(scaled[1])
    }

    /// Adds the learning rate as an input and, if there are averages, their rate.
    fn rates(&self, graph: &mut Graph) -> Result<(TensorId, Option<TensorId>), graph::Error> {
        let lr = number(graph, "lr")?;
        Ok((lr, if self.ema { Some(number(graph, "ema_rate")?) } else { None }))
    }
}

fn number(graph: &mut Graph, name: &str) -> Result<TensorId, graph::Error> {
    graph.input(name, Spec::plain([1], DType::F32))
}

/// Adds the loss scale of mixed precision `[1]` as a state: the factor of the loss that keeps small gradients within
/// f16's range.
pub(super) fn add_loss_scale(graph: &mut Graph) -> Result<TensorId, graph::Error> {
    loss_scale_state(graph, LOSS_SCALE, FIRST_LOSS_SCALE)
}

fn loss_scale_state(graph: &mut Graph, name: &str, first: f32) -> Result<TensorId, graph::Error> {
    graph.state(name.to_owned(), Spec::plain([1], DType::F32), StateKind::LossScale, first)
}

/// Adds the loss scale to a checkpoint's state, or removes it: a run may be resumed in the other precision.
pub(super) fn adapt_loss_scale(tensors: &mut BTreeMap<String, HostTensor>, precision: Precision) {
    match precision {
        Precision::F32 => tensors.retain(|name, _| !name.starts_with(LOSS_SCALE)),
        Precision::F16 => {
            for (name, first) in [(LOSS_SCALE, FIRST_LOSS_SCALE), (LOSS_SCALE_STEPS, 0.0)] {
                let tensor = || HostTensor { shape: vec![1], data: vec![first] };
                tensors.entry(name.to_owned()).or_insert_with(tensor);
            }
        }
    }
}

/// A parameter with its gradient and its settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learner {
    pub(super) parameter: TensorId,
    pub(super) gradient: TensorId,
    pub(super) weight_decay: f32,
    pub(super) lr_scale: f32,
}

/// Whether a parameter belongs to a batch norm.
fn normalises(graph: &Graph, parameter: TensorId) -> bool {
    graph.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm(_)) && node.inputs.contains(&parameter))
}

/// The update of all parameters with the gradients that a [`super::When::AfterParts`] step has added up.
pub struct Update {
    /// Norm of the gradients, then the optimiser. Its inputs are those of [`Learning`].
    pub graph: Graph,
    /// Norm of the gradients `[1]`, as [`Step::norm`].
    pub norm: TensorId,
}

impl Update {
    /// The update of `step`'s parameters.
    ///
    /// # Errors
    /// None for a [`super::When::AfterParts`] step.
    pub fn build(step: &Step, options: &StepOptions) -> Result<Self, graph::Error> {
        let (network, mut graph) = (&step.graph, Graph::new());
        for id in network.persistent() {
            let tensor = network.tensor(id);
            graph.add_tensor(tensor.name.clone(), tensor.spec.clone(), tensor.role)?;
        }
        let learner = |id: TensorId| {
            let name = &network.tensor(id).name;
            let (parameter, gradient) = (graph.find(name)?, graph.find(&format!("{name}{GRADIENT}"))?);
            Some(Learner { parameter, gradient, ..options.learning.learner(network, &step.parts, id, id) })
        };
        let learners: Vec<Learner> = network.persistent().filter_map(learner).collect();
        let loss_scale = graph.find(LOSS_SCALE);
        let norm = options.learning.together(&mut graph, &learners, loss_scale)?;
        Ok(Self { graph, norm })
    }
}

/// Appends the addition of parameters' gradients, pairs (parameter, gradient), to those of the batch's other parts.
pub(super) fn gather(
    graph: &mut Graph,
    keep: TensorId,
    gradients: &[(TensorId, TensorId)],
) -> Result<(), graph::Error> {
    let (mut inputs, mut sums) = (vec![keep], Vec::with_capacity(gradients.len()));
    for &(parameter, gradient) in gradients {
        let tensor = graph.tensor(parameter).clone();
        inputs.push(gradient);
        sums.push(graph.state(format!("{}{GRADIENT}", tensor.name), tensor.spec, StateKind::Gradient, 0.0)?);
    }
    graph.apply("gather", Accumulate, &inputs, &sums).map(drop)
}

/// Appends the averages of every parameter and running statistic, if averages are kept.
fn average(graph: &mut Graph, rate: Option<TensorId>) -> Result<(), graph::Error> {
    let Some(rate) = rate else { return Ok(()) };
    let (mut inputs, mut averages) = (vec![rate], Vec::new());
    // All tensors, not only those that other nodes use: in an update after parts no other node uses the statistics.
    for id in graph.ids() {
        let tensor = graph.tensor(id).clone();
        if matches!(tensor.role, Role::Parameter(_) | Role::State(StateKind::Statistic, _)) {
            inputs.push(id);
            averages.push(graph.state(format!("{}{AVERAGE}", tensor.name), tensor.spec, StateKind::Average, 0.0)?);
        }
    }
    graph.apply("average", MovingAverage, &inputs, &averages).map(drop)
}

/// Decay of the averages after `updates` updates: it grows from 0.1, so that the first weights are soon forgotten
/// (TensorFlow's `ExponentialMovingAverage` with `num_updates`, with which tensorflow/tpu trains ResNet-RS).
pub fn ema_decay(decay: f64, updates: u64) -> f64 {
    let n = updates as f64;
    decay.min((1.0 + n) / (10.0 + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_forget_the_beginning() {
        let points = [
            (0, 0.1),
            (1, 2.0 / 11.0),
            (10, 11.0 / 20.0),
            (90, 0.91),
            (990, 0.991),
            (9_990, 0.9991),
            (89_980, 89_981.0 / 89_990.0),
            (89_990, 0.9999),
            (100_000, 0.9999),
            (109_200, 0.9999),
        ];
        for (updates, expected) in points {
            assert!((ema_decay(0.9999, updates) - expected).abs() < 1e-12, "{updates}");
        }
    }
}
