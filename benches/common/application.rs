//! Shared by the benchmarks of the front door: their arguments, `[MODEL [COUNT]]`, and a network to load.

use std::error::Error;

use resnet_rs::Gpu;
use resnet_rs::exec::ParameterStore;
use resnet_rs::models::{Input, Mode, Network, Preset};
use resnet_rs::weights::{ModelCard, StateDict, TrainedNetwork, timm};

/// Name of the network (resnet-rs-50 by default), and a number that is at least 1.
pub(crate) fn arguments(default: usize) -> Result<(String, usize), Box<dyn Error + Send + Sync>> {
    // Cargo adds --bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let model = arguments.next().unwrap_or_else(|| "resnet-rs-50".into());
    let count = arguments.next().map_or(Ok(default), |count| count.parse())?;
    Ok((model, count.max(1)))
}

/// A network for ImageNet's classes with initial weights.
pub(crate) fn untrained(gpu: &Gpu, model: &str) -> Result<TrainedNetwork, Box<dyn Error + Send + Sync>> {
    let preset = Preset::find(model)?;
    // EfficientNet-RS has the layers of EfficientNet, so its side is set here.
    let card =
        ModelCard { res: preset.res, crop_pct: preset.crop_pct, ..ModelCard::for_preset_of(preset.config(1000)) };
    let graph = Network::build(&card.config, 1, [card.res as usize; 2], Input::Tensor, Mode::Inference)?.graph;
    let mut store = ParameterStore::new(gpu);
    store.allocate(&graph)?;
    store.initialize(1)?;
    let tensors = store.read_all(|_| true)?.into_iter();
    let tensors = tensors.map(|(tensor, values)| (tensor.name.clone(), timm::to_torch(&tensor.spec, &values)));
    let weights = StateDict { tensors: tensors.collect(), ..StateDict::default() };
    Ok(TrainedNetwork { path: "initial weights".into(), weights, card })
}
