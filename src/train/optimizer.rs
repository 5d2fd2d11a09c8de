//! Optimisers, which turn a gradient into a step of its parameter.

use super::update::Learner;
use crate::graph::op::SgdMomentum;
use crate::graph::{Error, Graph, StateKind, TensorId};

/// Suffix of the state that holds a parameter's momentum.
const MOMENTUM: &str = ".momentum";

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
}

/// Stochastic gradient descent with momentum, as in PyTorch ([`SgdMomentum`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Momentum: share of the last step's direction that is kept, in `[0, 1)`.
    pub momentum: f32,
    /// Whether the momentum is Nesterov's, which looks one step ahead.
    pub nesterov: bool,
}

impl Default for Optimizer {
    /// Nesterov momentum 0.9.
    fn default() -> Self {
        Self::Sgd(Sgd { momentum: 0.9, nesterov: true })
    }
}

impl Optimizer {
    /// Appends the step of one parameter, and the states that it needs. `lr` `[1]` is the learning rate, `scale` `[2]`
    /// a [`GradientScale`](crate::graph::op::GradientScale)'s result.
    pub(super) fn step(
        &self,
        graph: &mut Graph,
        learner: &Learner,
        lr: TensorId,
        scale: Option<TensorId>,
    ) -> Result<(), Error> {
        let Learner { parameter, gradient, weight_decay, lr_scale } = *learner;
        let tensor = graph.tensor(parameter).clone();
        let inputs: Vec<TensorId> = [gradient, lr].into_iter().chain(scale).collect();
        match *self {
            Self::Sgd(Sgd { momentum, nesterov }) => {
                let sgd = SgdMomentum { momentum, nesterov, weight_decay, lr_scale, scaled: scale.is_some() };
                let name = format!("{}{MOMENTUM}", tensor.name);
                let velocity = graph.state(name, tensor.spec, StateKind::Momentum, 0.0)?;
                graph.apply(&tensor.name, sgd, &inputs, &[parameter, velocity]).map(drop)
            }
        }
    }
}
