//! Weights of whole networks, derived from the tensors' names.
#![allow(dead_code, reason = "not every target that mounts this file needs both forms")]

use resnet_rs::data::{CropMode, Interpolation};
use resnet_rs::models::{Config, Head, Input, Mode, Network, ResNet};
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

/// The golden files' network with this head, for this number of classes, which are shown whole pictures.
pub(crate) fn with_head(head: Head, classes: usize, output_stride: usize) -> TrainedNetwork {
    let depths = if output_stride < 32 { [1, 1, 2, 2] } else { [1; 4] };
    let config = Config { output_stride, head, ..Config::new(ResNet::rs(depths, 0.25), classes) };
    let names = (0..classes).map(|class| format!("kind {class}")).collect();
    let (crop_mode, interpolation) = (CropMode::Border, Interpolation::Bilinear);
    let card = ModelCard { res: 64, crop_pct: 1.0, crop_mode, interpolation, ..ModelCard::for_preset_of(config) };
    let card = ModelCard { classes: if classes > 1 { names } else { Vec::new() }, ..card };
    let mut network = network(&card);
    if let Some(bias) = network.weights.tensors.get_mut("head.classification_head.cls_logits.bias") {
        // So that about an eighth of all scores is above the threshold.
        bias.data.fill(-2.0);
    }
    network.weights.metadata = card.to_metadata();
    network
}
