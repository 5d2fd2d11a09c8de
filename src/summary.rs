//! The cost of a network, part by part, computed from its graph. Needs no GPU.

use serde::Serialize;

use crate::gpu::Target;
use crate::graph::freeze::freeze;
use crate::graph::plan::Bytes;
use crate::graph::{Precision, Role};
use crate::kernels::Choices;
use crate::models::{Config, Error, Input, Mode, Network};
use crate::train::{Step, StepOptions, task};

/// Pictures as the program feeds them; the memory plan does not depend on mean and deviation.
const PIXELS: Input = Input::Pixels { mean: [0.5; 3], std: [0.25; 3] };

/// One part of a network: the stem, a stage, a part of the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// One of [`Config::parts`].
    pub name: &'static str,
    /// Residual blocks; 0 if the part is not a stage.
    pub blocks: usize,
    /// Shape of the result: NHWC, or `[N, classes]`.
    pub output: Vec<usize>,
    /// Number of learned parameters.
    pub params: u64,
    /// Multiply-accumulates of convolutions and linear layers, forward pass, whole batch.
    pub macs: u64,
    /// Bytes of the outputs of all layers of the unfused network, whole batch, with channel padding.
    pub activation_bytes: u64,
}

/// A network's cost for one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Sum over the parts.
    pub params: u64,
    /// Sum over the parts.
    pub macs: u64,
    /// Two per multiply-accumulate.
    pub flops: u64,
    /// Sum over the parts.
    pub activation_bytes: u64,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

impl Summary {
    /// Counts the inference graph for `batch` pictures of `size` (height, width) pixels, before fusion.
    ///
    /// # Errors
    /// If the configuration is out of range, or the pictures are too small.
    pub fn new(config: &Config, batch: usize, size: [usize; 2]) -> Result<Self, Error> {
        let network = Network::build(config, batch, size, PIXELS, Mode::Inference)?;
        let depths = config.layers.depths();
        let ends = network.parts.names().iter().zip(network.parts.ends());
        let mut parts: Vec<Part> = ends
            .enumerate()
            .map(|(i, (name, &end))| {
                let blocks = i.checked_sub(1).and_then(|stage| depths.get(stage)).copied().unwrap_or(0);
                let output = network.graph.spec(end).shape.clone();
                Part { name, blocks, output, params: 0, macs: 0, activation_bytes: 0 }
            })
            .collect();
        add_up(&network, &mut parts);
        let sum = |of: fn(&Part) -> u64| parts.iter().map(of).sum::<u64>();
        let macs = sum(|p| p.macs);
        Ok(Self {
            params: sum(|p| p.params),
            macs,
            flops: 2 * macs,
            activation_bytes: sum(|p| p.activation_bytes),
            parts,
        })
    }
}

/// Adds up what belongs to each part.
fn add_up(network: &Network, parts: &mut [Part]) {
    let (graph, of) = (&network.graph, |name: &str| network.parts.of(name));
    for (tensor, part) in graph.tensors().iter().filter_map(|tensor| Some((tensor, of(&tensor.name)?))) {
        match tensor.role {
            Role::Parameter(_) => parts[part].params += tensor.spec.elements() as u64,
            Role::Activation => parts[part].activation_bytes += tensor.spec.bytes(),
            _ => {}
        }
    }
    for (node, part) in graph.nodes().iter().filter_map(|node| Some((node, of(&node.name)?))) {
        parts[part].macs += node.cost(graph).macs;
    }
}

/// The fused inference graph for `batch` pictures, with weights that are folded while they are loaded.
///
/// # Errors
/// The errors of [`Summary::new`].
pub fn inference(config: &Config, batch: usize, size: [usize; 2], precision: Precision) -> Result<Network, Error> {
    let mut network = Network::build(config, batch, size, PIXELS, Mode::Inference)?;
    let outputs = network.output_ids();
    network.graph.retain_ancestors(&outputs);
    network.graph = freeze(network.graph, &outputs, precision)?.graph;
    Ok(network)
}

/// The graph of one training step on `batch` pictures: stochastic gradient descent with Nesterov momentum; in mixed
/// precision if `precision` is f16; with recomputation ([`Step::recomputing`]) if `recompute` is set.
///
/// # Errors
/// The errors of [`Summary::new`].
pub fn training_step(
    config: &Config,
    batch: usize,
    size: [usize; 2],
    precision: Precision,
    recompute: bool,
) -> Result<Step, Error> {
    let options = StepOptions { precision, ..StepOptions::default() };
    let step = Step::build(config, batch, size, PIXELS, &*task::of_config(config), &options)?;
    if recompute { step.recomputing() } else { Ok(step) }
}

/// Bytes that a session plans for [`inference`] on a GPU of 64 compute units, without a tuning.
///
/// # Errors
/// The errors of [`Summary::new`].
pub fn inference_bytes(config: &Config, batch: usize, size: [usize; 2], precision: Precision) -> Result<Bytes, Error> {
    let network = inference(config, batch, size, precision)?;
    Ok(Choices::TABLE.plan(network.graph.clone(), &network.output_ids(), Target::TILES)?.bytes)
}

/// Bytes that a session plans for a [`training_step`] on a GPU of 64 compute units, without a tuning.
///
/// # Errors
/// The errors of [`Summary::new`].
pub fn training_bytes(
    config: &Config,
    batch: usize,
    size: [usize; 2],
    precision: Precision,
    recompute: bool,
) -> Result<Bytes, Error> {
    let step = training_step(config, batch, size, precision, recompute)?;
    let outputs = step.outputs();
    Ok(Choices::TABLE.plan(step.graph, &outputs, Target::TILES)?.bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::models::Preset;

    /// RS-50 at 160 px: timm's number of parameters, and the GMACs of convolutions and linear layers alone.
    #[test]
    fn parts_add_up_to_timms_parameters() {
        let config = Preset::find("resnet-rs-50").unwrap().config(1000);
        let summary = Summary::new(&config, 1, [160, 160]).unwrap();
        assert_eq!(summary.params, 35_691_912);
        assert_eq!(format!("{:.3}", summary.macs as f64 / 1e9), "2.279");
        assert_eq!(summary.flops, 2 * summary.macs);
        let shapes: Vec<_> = summary.parts.iter().map(|p| (p.name, p.blocks, &p.output[1..])).collect();
        assert_eq!(
            shapes,
            [
                ("stem", 0, &[40, 40, 64][..]),
                ("layer1", 3, &[40, 40, 256]),
                ("layer2", 4, &[20, 20, 512]),
                ("layer3", 6, &[10, 10, 1024]),
                ("layer4", 3, &[5, 5, 2048]),
                ("fc", 0, &[1000]),
            ]
        );
        // The classifier, and the stem's four convolutions with their batch norms.
        let params = |i: usize| summary.parts[i].params;
        assert_eq!(params(5), 2048 * 1000 + 1000);
        assert_eq!(params(0), 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * (32 + 32 + 64 + 64));
        assert_eq!(summary.parts[5].macs, 2048 * 1000);
        // The pooled features and the logits.
        assert_eq!(summary.parts[5].activation_bytes, (2048 + 1000) * 4);
    }

    #[test]
    fn cost_grows_with_the_batch_and_parameters_do_not() {
        let config = Preset::find("small").unwrap().config(10);
        let [one, four] = [1, 4].map(|batch| Summary::new(&config, batch, [32, 32]).unwrap());
        assert_eq!(four.macs, 4 * one.macs);
        assert_eq!(four.activation_bytes, 4 * one.activation_bytes);
        assert_eq!(four.params, one.params);
        let [full, half] =
            [Precision::F32, Precision::F16].map(|precision| inference_bytes(&config, 4, [32, 32], precision).unwrap());
        let training = training_bytes(&config, 4, [32, 32], Precision::F32, false).unwrap();
        // Folding replaces batch norm's four vectors by one bias, which is small beside the weights; biases stay f32.
        assert!(full.parameters < training.parameters && full.state == 0, "{full:?}");
        let share = half.parameters as f64 / full.parameters as f64;
        assert!((0.5..0.51).contains(&share), "{share}");
        assert!(training.state >= training.parameters, "{training:?}");
        assert!(training.total() > full.total());
        // Maps halve as well. Pooled features and gates stay f32: a fortieth of the maps here. Partial sums stay f32
        // too, but a batch of 1024 fills a GPU without splitting sums.
        let [full, half] = [Precision::F32, Precision::F16]
            .map(|precision| inference_bytes(&config, 1024, [32, 32], precision).unwrap().slots as f64);
        let share = half / full;
        assert!((0.5..0.52).contains(&share), "{share}");
    }
}
