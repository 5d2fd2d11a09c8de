//! How parameters learn from their gradients: in the step itself, or all together in a graph of their own.

use super::Decay;
use super::step::StepOptions;
use crate::graph::op::{Accumulate, GradientScale, MovingAverage, SgdMomentum, SquaredNorm};
use crate::graph::{self, DType, Graph, Op, Role, Spec, TensorId};
use crate::models::{PARTS, part_of};

/// Suffix of the state that holds a parameter's momentum.
pub(super) const MOMENTUM: &str = ".momentum";
/// Suffix of the state that holds the average of a parameter or a running statistic.
pub(super) const AVERAGE: &str = ".ema";
/// Suffix of the state in which a parameter's gradients add up.
const GRADIENT: &str = ".gradient";

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
    /// Multiplies the learning rate in each of [`PARTS`].
    pub lr_scales: [f32; PARTS.len()],
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
            lr_scales: [1.0; PARTS.len()],
            ema: false,
            max_norm: f32::INFINITY,
        }
    }
}

/// Numbers `[1]` that an update is fed.
#[derive(Clone, Copy, Debug)]
pub struct Feeds {
    /// Learning rate.
    pub lr: TensorId,
    /// One less the decay of the averages, where there are any.
    pub ema_rate: Option<TensorId>,
}

impl Feeds {
    pub(super) fn of(graph: &mut Graph, optimizer: &Optimizer) -> Result<Self, graph::Error> {
        let mut number = |name: &str| graph.input(name, Spec::plain([1], DType::F32));
        Ok(Self { lr: number("lr")?, ema_rate: if optimizer.ema { Some(number("ema_rate")?) } else { None } })
    }
}

/// The update of all parameters by the gradients that a [`super::When::Together`] step has added up.
pub struct Update {
    /// Norm of the gradients, then an optimiser node a parameter.
    pub graph: Graph,
    /// What it is fed.
    pub feeds: Feeds,
    /// What gradients are multiplied by before their norm is taken `[1]`: one by the parts of a batch.
    pub factor: TensorId,
    /// Global norm of the gradients `[1]` before clipping: the output. Not finite where the step was left out.
    pub norm: TensorId,
}

impl Update {
    /// The update of `step`'s parameters.
    ///
    /// # Errors
    /// None for the graph of a [`super::When::Together`] step.
    pub fn build(step: &Graph, options: &StepOptions) -> Result<Self, graph::Error> {
        let optimizer = &options.optimizer;
        let mut graph = Graph::new();
        let feeds = Feeds::of(&mut graph, optimizer)?;
        let factor = graph.input("factor", Spec::plain([1], DType::F32))?;
        let mut learning = Vec::new();
        for id in step.persistent() {
            let tensor = step.tensor(id);
            let copy = graph.add_tensor(tensor.name.clone(), tensor.spec.clone(), tensor.role)?;
            if matches!(tensor.role, Role::Parameter(_)) {
                learning.push((copy, tensor.name.clone(), normalises(step, id)));
            }
        }
        let mut total = None;
        for (_, name, _) in &learning {
            let Some(gradient) = graph.find(&format!("{name}{GRADIENT}")) else { continue };
            let inputs: Vec<TensorId> = [gradient, factor].into_iter().chain(total).collect();
            total = Some(graph.apply1(name, SquaredNorm { chained: total.is_some() }, &inputs)?);
        }
        let Some(total) = total else { unreachable!("a step learns something") };
        let scaled = graph.apply("clip", GradientScale { max_norm: optimizer.max_norm }, &[total, factor], &[])?;
        for (parameter, name, normalises) in learning {
            let Some(gradient) = graph.find(&format!("{name}{GRADIENT}")) else { continue };
            descend(&mut graph, optimizer, feeds.lr, Some(scaled[0]), parameter, gradient, normalises)?;
        }
        average(&mut graph, feeds)?;
        Ok(Self { graph, feeds, factor, norm: scaled[1] })
    }
}

/// Appends the update of one parameter by its gradient.
pub(super) fn learn(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: TensorId,
    parameter: TensorId,
    gradient: TensorId,
) -> Result<(), graph::Error> {
    let normalises = normalises(graph, parameter);
    descend(graph, optimizer, lr, None, parameter, gradient, normalises)
}

fn descend(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: TensorId,
    scale: Option<TensorId>,
    parameter: TensorId,
    gradient: TensorId,
    normalises: bool,
) -> Result<(), graph::Error> {
    let tensor = graph.tensor(parameter).clone();
    let decays = match optimizer.decay {
        Decay::All => true,
        Decay::NotNorm => !normalises,
        Decay::Kernels => tensor.spec.shape.len() > 1,
    };
    let sgd = SgdMomentum {
        momentum: optimizer.momentum,
        nesterov: optimizer.nesterov,
        weight_decay: if decays { optimizer.weight_decay } else { 0.0 },
        lr_scale: optimizer.lr_scales[part_of(&tensor.name)],
        scaled: scale.is_some(),
    };
    let velocity = graph.state(format!("{}{MOMENTUM}", tensor.name), tensor.spec, 0.0)?;
    let inputs: Vec<TensorId> = [gradient, lr].into_iter().chain(scale).collect();
    graph.apply(&tensor.name, sgd, &inputs, &[parameter, velocity]).map(drop)
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
pub(super) fn average(graph: &mut Graph, feeds: Feeds) -> Result<(), graph::Error> {
    let Some(rate) = feeds.ema_rate else { return Ok(()) };
    for id in graph.persistent().collect::<Vec<_>>() {
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
/// (TensorFlow's `ExponentialMovingAverage` with `num_updates`; fact sheet 3).
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
