//! Optimisers, which turn gradients into steps of their parameters.

use super::update::Learner;
use crate::graph::op::{self, BiasCorrection, ParameterRates, SgdMomentum};
use crate::graph::{DType, Error, Graph, Spec, StateKind, TensorId};

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

/// Stochastic gradient descent with momentum, as in PyTorch ([`SgdMomentum`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Momentum: share of the last step's direction that is kept, in `[0, 1)`.
    pub momentum: f32,
    /// Whether the momentum is Nesterov's, which looks one step ahead.
    pub nesterov: bool,
}

/// AdamW, as in PyTorch ([`op::AdamW`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decays of the mean of gradients and of the mean of their squares, each in `[0, 1)`.
    pub decays: [f32; 2],
    /// Keeps steps finite where all gradients have been 0; above 0.
    pub eps: f32,
}

impl AdamW {
    /// PyTorch's epsilon.
    pub const EPS: f32 = 1e-8;
}

impl Default for AdamW {
    /// PyTorch's settings.
    fn default() -> Self {
        Self { decays: [0.9, 0.999], eps: Self::EPS }
    }
}

impl Default for Optimizer {
    /// SGD with Nesterov momentum 0.9.
    fn default() -> Self {
        Self::Sgd(Sgd { momentum: 0.9, nesterov: true })
    }
}

/// What an optimiser's steps of all parameters share.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    optimizer: Optimizer,
    /// The inputs before the gradients.
    leading: Vec<TensorId>,
    scaled: bool,
}

impl Optimizer {
    /// Suffixes of the states that a parameter has.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Sgd(_) => &["momentum"],
            Self::AdamW(_) => &["mean", "mean_square"],
        }
    }

    /// Appends what comes before the steps of parameters. `lr` `[1]` is the learning rate, `scale` `[2]` a
    /// [`GradientScale`](op::GradientScale)'s result.
    pub(super) fn begin(self, graph: &mut Graph, lr: TensorId, scale: Option<TensorId>) -> Result<Steps, Error> {
        let mut leading = vec![lr];
        if let Self::AdamW(AdamW { decays, .. }) = self {
            let spec = Spec::plain([2], DType::F32);
            let corrections = graph.state("bias_correction".into(), spec, StateKind::Momentum, 0.0)?;
            let correction = BiasCorrection { decays, scaled: scale.is_some() };
            graph.apply("bias_correction", correction, scale.as_slice(), &[corrections])?;
            leading.push(corrections);
        }
        leading.extend(scale);
        Ok(Steps { optimizer: self, leading, scaled: scale.is_some() })
    }
}

impl Steps {
    /// Appends the steps of parameters, as one node, and the states that they need.
    pub(super) fn append(&self, graph: &mut Graph, learners: &[Learner]) -> Result<(), Error> {
        let gradients = learners.iter().map(|learner| &learner.gradient);
        let inputs: Vec<TensorId> = self.leading.iter().chain(gradients).copied().collect();
        let mut updates = Vec::new();
        for learner in learners {
            let tensor = graph.tensor(learner.parameter).clone();
            updates.push(learner.parameter);
            for state in self.optimizer.states() {
                let name = format!("{}.{state}", tensor.name);
                updates.push(graph.state(name, tensor.spec.clone(), StateKind::Momentum, 0.0)?);
            }
        }
        let rates = |&Learner { weight_decay, lr_scale, .. }: &Learner| ParameterRates { weight_decay, lr_scale };
        let (parameters, scaled) = (learners.iter().map(rates).collect(), self.scaled);
        match self.optimizer {
            Optimizer::Sgd(Sgd { momentum, nesterov }) => {
                let sgd = SgdMomentum { momentum, nesterov, scaled, parameters };
                graph.apply("sgd", sgd, &inputs, &updates).map(drop)
            }
            Optimizer::AdamW(AdamW { decays, eps }) => {
                let adamw = op::AdamW { decays, eps, scaled, parameters };
                graph.apply("adamw", adamw, &inputs, &updates).map(drop)
            }
        }
    }
}
