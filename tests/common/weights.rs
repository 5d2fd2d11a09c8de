//! Weights of whole networks, derived from the tensors' names.
#![allow(dead_code, reason = "not every target that mounts this file needs both forms")]

use resnet_rs::models::{Config, Input, Mode, Network};
use resnet_rs::weights::{HostTensor, ModelCard, StateDict, TrainedNetwork, timm};

use crate::golden::{BRANCH_GAMMA, SEED};
use crate::synth;

/// The golden files' weights of a network, in timm's file format.
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

/// The golden files' ResNet of a card, with the card.
pub(crate) fn network(card: &ModelCard) -> TrainedNetwork {
    let weights = synthetic(&card.config, BRANCH_GAMMA);
    TrainedNetwork { path: "synthetic".into(), weights, card: card.clone() }
}
