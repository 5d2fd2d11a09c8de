//! Optimisers, which turn gradients into steps of their parameters.

use super::update::Learner;
use crate::graph::op::{ParameterRates, SgdMomentum};
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
    /// Appends the steps of parameters, as one node, and the states that they need. `lr` `[1]` is the learning rate,
    /// `scale` `[2]` a [`GradientScale`](crate::graph::op::GradientScale)'s result.
    pub(super) fn step(
        &self,
        graph: &mut Graph,
        learners: &[Learner],
        lr: TensorId,
        scale: Option<TensorId>,
    ) -> Result<(), Error> {
        let gradients = learners.iter().map(|learner| learner.gradient);
        let inputs: Vec<TensorId> = [lr].into_iter().chain(scale).chain(gradients).collect();
        match *self {
            Self::Sgd(Sgd { momentum, nesterov }) => {
                let mut updates = Vec::with_capacity(2 * learners.len());
                for learner in learners {
                    let tensor = graph.tensor(learner.parameter).clone();
                    let name = format!("{}{MOMENTUM}", tensor.name);
                    updates.push(learner.parameter);
                    updates.push(graph.state(name, tensor.spec, StateKind::Momentum, 0.0)?);
                }
                let rates =
                    |&Learner { weight_decay, lr_scale, .. }: &Learner| ParameterRates { weight_decay, lr_scale };
                let parameters = learners.iter().map(rates).collect();
                let sgd = SgdMomentum { momentum, nesterov, scaled: scale.is_some(), parameters };
                graph.apply("sgd", sgd, &inputs, &updates).map(drop)
            }
        }
    }
}
