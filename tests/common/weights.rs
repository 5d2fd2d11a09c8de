//! Whole networks' weights, made from their names.

use resnet_rs::models::{Config, Input, Mode, Network};
use resnet_rs::weights::{HostTensor, StateDict, timm};

use crate::golden::SEED;
use crate::synth;

/// The golden files' weights of a network, as a file of timm's holds them.
pub(crate) fn synthetic(config: &Config, branch_gamma: f32) -> StateDict {
    let graph = Network::build(config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
    let tensor = |id| {
        let tensor = graph.tensor(id);
        let shape = timm::torch_shape(&tensor.spec);
        let data = synth::fill(&tensor.name, &shape, SEED, branch_gamma);
        (tensor.name.clone(), HostTensor { shape, data })
    };
    StateDict { tensors: graph.persistent().map(tensor).collect(), ..StateDict::default() }
}
