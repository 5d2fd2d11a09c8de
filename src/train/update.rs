//! How parameters learn from their gradients: each by itself, or all together by the norm of all gradients.

use std::collections::BTreeMap;

use super::Decay;
use super::step::StepOptions;
use crate::graph::op::{Accumulate, AdaptLossScale, GradientScale, MovingAverage, SgdMomentum, SquaredNorm, Unscale};
use crate::graph::{self, DType, Graph, Op, Precision, Role, Spec, TensorId};
use crate::models::{MOST_PARTS, part_of};
use crate::weights::HostTensor;

/// Suffix of the state that holds a parameter's momentum.
const MOMENTUM: &str = ".momentum";
/// Suffix of the state that holds the average of a parameter or a running statistic.
pub(super) const AVERAGE: &str = ".ema";
/// Suffix of the state in which a parameter's gradients add up.
const GRADIENT: &str = ".gradient";
/// State of mixed precision.
const LOSS_SCALE: &str = "loss_scale";
const LOSS_SCALE_STEPS: &str = "loss_scale.steps";
/// PyTorch's `GradScaler` begins with these.
const FIRST_LOSS_SCALE: f32 = 65_536.0;
const GROWTH_STEPS: u32 = 2000;

/// Whether a tensor serves training alone, and no network that answers.
pub(super) fn is_internal(tensor: &str) -> bool {
    tensor.ends_with(MOMENTUM)
        || tensor.ends_with(AVERAGE)
        || tensor.starts_with(LOSS_SCALE)
        || !outlives_a_step(tensor)
}

/// Whether a run goes on from a state; gradients are made anew by every step.
pub(super) fn outlives_a_step(tensor: &str) -> bool {
    !tensor.ends_with(GRADIENT)
}

/// Settings of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// Share of the last step's direction that is kept.
    pub momentum: f32,
    /// Whether to look one step ahead.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f32,
    /// Which parameters it applies to.
    pub decay: Decay,
    /// Multiplies the learning rate in each of the network's parts ([`crate::models::Layers::parts`]).
    pub lr_scales: [f32; MOST_PARTS],
    /// Whether averages of parameters and running statistics are kept.
    pub ema: bool,
    /// The largest global norm of the gradients that is not scaled down, where they learn together; infinity for none.
    pub max_norm: f32,
}

impl Default for Optimizer {
    /// Nesterov momentum 0.9 and nothing else.
    fn default() -> Self {
        Self {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.0,
            decay: Decay::All,
            lr_scales: [1.0; MOST_PARTS],
            ema: false,
            max_norm: f32::INFINITY,
        }
    }
}

/// What learning is fed and what it tells.
#[derive(Clone, Copy, Debug)]
pub struct Learning {
    /// Learning rate `[1]`.
    pub lr: TensorId,
    /// One less the decay of the averages `[1]`, where there are any.
    pub ema_rate: Option<TensorId>,
    /// Where parameters learn together.
    pub global_norm: Option<GlobalNorm>,
}

/// The norm of all gradients.
#[derive(Clone, Copy, Debug)]
pub struct GlobalNorm {
    /// Fed: what gradients are multiplied by before their norm is taken `[1]`, one by the parts of a batch.
    pub factor: TensorId,
    /// An output: the global norm of the gradients `[1]` before clipping. Not finite where the step was left out.
    pub norm: TensorId,
}

/// The numbers that learning is fed, each `[1]`; see [`Learning`].
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Learning rate.
    pub lr: [f32; 1],
    /// One less the decay of the averages.
    pub ema_rate: [f32; 1],
    /// One by the parts of a batch.
    pub factor: [f32; 1],
}

impl Learning {
    pub(super) fn add_to(graph: &mut Graph, optimizer: &Optimizer) -> Result<Self, graph::Error> {
        let lr = number(graph, "lr")?;
        let ema_rate = if optimizer.ema { Some(number(graph, "ema_rate")?) } else { None };
        Ok(Self { lr, ema_rate, global_norm: None })
    }

    /// The norm of the gradients, which is to be read after a run.
    pub fn norm(&self) -> Option<TensorId> {
        self.global_norm.map(|global_norm| global_norm.norm)
    }

    /// What to feed.
    pub fn feeds<'a>(&self, rates: &'a Rates) -> Vec<(TensorId, &'a [f32])> {
        let mut feeds = vec![(self.lr, &rates.lr[..])];
        feeds.extend(self.ema_rate.map(|id| (id, &rates.ema_rate[..])));
        feeds.extend(self.global_norm.map(|global_norm| (global_norm.factor, &rates.factor[..])));
        feeds
    }
}

fn number(graph: &mut Graph, name: &str) -> Result<TensorId, graph::Error> {
    graph.input(name, Spec::plain([1], DType::F32))
}

/// Adds the state of mixed precision `[1]`: what the loss is multiplied by, so that small gradients stay within f16.
pub(super) fn add_loss_scale(graph: &mut Graph) -> Result<TensorId, graph::Error> {
    graph.state(LOSS_SCALE.into(), Spec::plain([1], DType::F32), FIRST_LOSS_SCALE)
}

/// Has a checkpoint's state hold what mixed precision goes on from, or nothing of it: a run may go on in the other precision.
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

/// A parameter with its gradient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learner {
    parameter: TensorId,
    gradient: TensorId,
    weight_decay: f32,
}

impl Learner {
    pub(super) fn new(graph: &Graph, optimizer: &Optimizer, parameter: TensorId, gradient: TensorId) -> Self {
        Self { parameter, gradient, weight_decay: weight_decay(graph, optimizer, parameter) }
    }
}

/// The weight decay of a parameter of a network.
fn weight_decay(network: &Graph, optimizer: &Optimizer, parameter: TensorId) -> f32 {
    let decays = match optimizer.decay {
        Decay::All => true,
        Decay::NotNorm => !normalises(network, parameter),
        Decay::Kernels => network.spec(parameter).shape.len() > 1,
    };
    if decays { optimizer.weight_decay } else { 0.0 }
}

/// The update of all parameters by the gradients that a [`super::When::AfterParts`] step has added up.
pub struct Update {
    /// Norm of the gradients, then an optimiser node a parameter.
    pub graph: Graph,
    /// What it is fed and what it tells.
    pub learning: Learning,
}

impl Update {
    /// The update of `step`'s parameters.
    ///
    /// # Errors
    /// None for the graph of a [`super::When::AfterParts`] step.
    pub fn build(step: &Graph, options: &StepOptions) -> Result<Self, graph::Error> {
        let mut graph = Graph::new();
        for id in step.persistent() {
            let tensor = step.tensor(id);
            graph.add_tensor(tensor.name.clone(), tensor.spec.clone(), tensor.role)?;
        }
        let learner = |id: TensorId| {
            let name = &step.tensor(id).name;
            let (parameter, gradient) = (graph.find(name)?, graph.find(&format!("{name}{GRADIENT}"))?);
            Some(Learner { parameter, gradient, weight_decay: weight_decay(step, &options.optimizer, id) })
        };
        let learners: Vec<Learner> = step.persistent().filter_map(learner).collect();
        let loss_scale = graph.find(LOSS_SCALE);
        let learning = learn_together(&mut graph, &options.optimizer, &learners, loss_scale)?;
        Ok(Self { graph, learning })
    }
}

/// Appends the update of all parameters by the norm of all gradients.
pub(super) fn learn_together(
    graph: &mut Graph,
    optimizer: &Optimizer,
    learners: &[Learner],
    loss_scale: Option<TensorId>,
) -> Result<Learning, graph::Error> {
    let learning = Learning::add_to(graph, optimizer)?;
    let fed = number(graph, "factor")?;
    let factor = match loss_scale {
        Some(scale) => graph.apply1(LOSS_SCALE, Unscale, &[fed, scale])?,
        None => fed,
    };
    let mut total = None;
    for learner in learners {
        let name = graph.tensor(learner.parameter).name.clone();
        let inputs: Vec<TensorId> = [learner.gradient, factor].into_iter().chain(total).collect();
        total = Some(graph.apply1(&name, SquaredNorm { chained: total.is_some() }, &inputs)?);
    }
    let Some(total) = total else { unreachable!("a step learns something") };
    let scaled = graph.apply("clip", GradientScale { max_norm: optimizer.max_norm }, &[total, factor], &[])?;
    for learner in learners {
        descend(graph, optimizer, learning.lr, Some(scaled[0]), learner)?;
    }
    if let Some(scale) = loss_scale {
        let steps = graph.state(LOSS_SCALE_STEPS.into(), Spec::plain([1], DType::F32), 0.0)?;
        graph.apply(LOSS_SCALE, AdaptLossScale { growth_steps: GROWTH_STEPS }, &[scaled[0]], &[scale, steps])?;
    }
    average(graph, learning.ema_rate)?;
    Ok(Learning { global_norm: Some(GlobalNorm { factor: fed, norm: scaled[1] }), ..learning })
}

/// Appends the update of one parameter by its gradient alone.
pub(super) fn learn(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: TensorId,
    parameter: TensorId,
    gradient: TensorId,
) -> Result<(), graph::Error> {
    let learner = Learner::new(graph, optimizer, parameter, gradient);
    descend(graph, optimizer, lr, None, &learner)
}

fn descend(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: TensorId,
    scale: Option<TensorId>,
    learner: &Learner,
) -> Result<(), graph::Error> {
    let tensor = graph.tensor(learner.parameter).clone();
    let sgd = SgdMomentum {
        momentum: optimizer.momentum,
        nesterov: optimizer.nesterov,
        weight_decay: learner.weight_decay,
        lr_scale: optimizer.lr_scales[part_of(&tensor.name)],
        scaled: scale.is_some(),
    };
    let velocity = graph.state(format!("{}{MOMENTUM}", tensor.name), tensor.spec, 0.0)?;
    let inputs: Vec<TensorId> = [learner.gradient, lr].into_iter().chain(scale).collect();
    graph.apply(&tensor.name, sgd, &inputs, &[learner.parameter, velocity]).map(drop)
}

/// Whether a parameter is a batch norm's.
fn normalises(graph: &Graph, parameter: TensorId) -> bool {
    graph.nodes().iter().any(|node| matches!(node.op, Op::BatchNorm(_)) && node.inputs.contains(&parameter))
}

/// Appends the addition of one gradient to those of the batch's other parts.
pub(super) fn gather(
    graph: &mut Graph,
    keep: TensorId,
    parameter: TensorId,
    gradient: TensorId,
) -> Result<(), graph::Error> {
    let tensor = graph.tensor(parameter).clone();
    let sum = graph.state(format!("{}{GRADIENT}", tensor.name), tensor.spec, 0.0)?;
    graph.apply(&tensor.name, Accumulate, &[gradient, keep], &[sum]).map(drop)
}

/// Appends the averages of every parameter and running statistic, if they are wanted.
pub(super) fn average(graph: &mut Graph, rate: Option<TensorId>) -> Result<(), graph::Error> {
    let Some(rate) = rate else { return Ok(()) };
    // All tensors, not only those that other nodes use: in an update by parts nothing else uses the statistics.
    for id in graph.ids() {
        let tensor = graph.tensor(id).clone();
        let learns = matches!(tensor.role, Role::Parameter(_)) || is_statistic(&tensor.name);
        if learns {
            let average = graph.state(format!("{}{AVERAGE}", tensor.name), tensor.spec, 0.0)?;
            graph.apply(&tensor.name, MovingAverage, &[id, rate], &[average])?;
        }
    }
    Ok(())
}

/// Whether a state is a running statistic of a batch norm.
fn is_statistic(tensor: &str) -> bool {
    tensor.ends_with(".running_mean") || tensor.ends_with(".running_var")
}

/// Decay of the averages after `updates` updates: it grows from 0.1, so that the first weights are soon forgotten
/// (TensorFlow's `ExponentialMovingAverage` with `num_updates`, which tensorflow/tpu's ResNet-RS is trained with).
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
