//! A training step as one graph: forward, backward, and the optimiser's update of every parameter.

use crate::graph::op::SgdMomentum;
use crate::graph::{self, DType, Graph, Spec, TensorId, autodiff, recompute};
use crate::models::{self, Config, Input, Mode, Network};

use super::Decay;

/// Suffix of the state that holds a parameter's momentum.
pub(super) const MOMENTUM: &str = ".momentum";

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
}

/// A training step's graph and what it is fed.
pub struct Step {
    /// Forward, backward and update.
    pub graph: Graph,
    /// Pictures: `pixels` or `input`.
    pub input: TensorId,
    /// `[N]`, u32.
    pub labels: TensorId,
    /// `[2]`, u32: seed, step.
    pub clock: TensorId,
    /// Learning rate `[1]`.
    pub lr: TensorId,
    /// Mean loss `[1]`: the output.
    pub loss: TensorId,
}

impl Step {
    /// Builds the step for `batch` pictures of `size` (height, width) pixels.
    pub fn build(
        config: &Config,
        batch: usize,
        size: [usize; 2],
        input: Input,
        label_smoothing: f32,
        optimizer: &Optimizer,
    ) -> Result<Self, models::Error> {
        let network = Network::build(config, batch, size, input, Mode::Training { label_smoothing })?;
        let Network { mut graph, input, training: Some(ends), .. } = network else {
            unreachable!("a network built for training has a loss");
        };
        let lr = graph.input("lr", Spec::plain([1], DType::F32)).map_err(models::Error::from)?;
        let update = |graph: &mut Graph, parameter, gradient| update(graph, optimizer, lr, parameter, gradient);
        autodiff::differentiate(&mut graph, ends.loss, update)?;
        Ok(Self { graph, input, labels: ends.labels, clock: ends.clock, lr, loss: ends.loss })
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

fn update(
    graph: &mut Graph,
    optimizer: &Optimizer,
    lr: TensorId,
    parameter: TensorId,
    gradient: TensorId,
) -> Result<(), graph::Error> {
    let tensor = graph.tensor(parameter).clone();
    let decays = match optimizer.decay {
        Decay::All => true,
        Decay::Kernels => tensor.spec.shape.len() > 1,
    };
    let weight_decay = if decays { optimizer.weight_decay } else { 0.0 };
    let velocity = graph.state(format!("{}{MOMENTUM}", tensor.name), tensor.spec, 0.0)?;
    let sgd = SgdMomentum { momentum: optimizer.momentum, nesterov: optimizer.nesterov, weight_decay };
    graph.apply(&tensor.name, sgd, &[gradient, lr], &[parameter, velocity]).map(drop)
}
