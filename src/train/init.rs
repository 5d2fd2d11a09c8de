//! Reads the weights that a run starts from.

use std::mem::discriminant;
use std::path::Path;

use super::task::Task;
use super::trainer::Observer;
use crate::Error;
use crate::graph::Tensor;
use crate::models::{Input, Layers, Mode, Network, Preset, ResNet};
use crate::weights::{HostTensor, ModelCard, StateDict, TrainedNetwork, timm};
use crate::{train, weights};

/// The file's values under the names of the card's network, in this crate's order, as far as they fit the task's data.
/// If only a backbone is taken, a note says so.
///
/// # Errors
/// A file that cannot be read, or weights of another network.
pub(super) fn read(
    path: &Path,
    task: &dyn Task,
    card: &ModelCard,
    observer: &dyn Observer,
) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let (mut weights, theirs) = match TrainedNetwork::read(path) {
        Ok(TrainedNetwork { weights, card, .. }) => (weights, Some(card)),
        // Custom networks are not recognised, but may fit nevertheless.
        Err(weights::Error::Mismatch { .. }) => (timm::read(path)?, None),
        Err(error) => return Err(error.into()),
    };
    // The file's layers, and the prefix of its backbone's names if it has no head or that of another task.
    let (layers, backbone) = match &theirs {
        Some(ModelCard { config, .. }) => {
            let is_other = discriminant(&config.head) != discriminant(&card.config.head);
            (Some(config.layers), is_other.then(|| config.head.backbone_prefix()))
        }
        None => timm::headless(path, &weights).unzip(),
    };
    if let Some(flags) = layers.and_then(|layers| other_network(&layers, &card.config.layers)) {
        return Err(train::Error::OtherNetwork { path: path.to_owned(), flags }.into());
    }
    if let Some(theirs) = theirs.as_ref().filter(|theirs| (theirs.mean, theirs.std) != (card.mean, card.std)) {
        let (path, ModelCard { mean, std, .. }) = (path.display(), theirs);
        observer.note(&format!(
            "{path}: its pictures were standardised with the mean {mean:?} and deviation {std:?}, those of this data \
             with {:?} and {:?}",
            card.mean, card.std
        ));
    }
    let network = Network::build(&card.config, 1, [card.res as usize; 2], Input::Tensor, Mode::Inference)?;
    let mut wanted: Vec<_> = network.graph.persistent().map(|id| network.graph.tensor(id)).collect();
    match backbone {
        Some(prefix) => {
            let stages = card.config.layers.stages().len();
            wanted.retain(|tensor| network.parts.of(&tensor.name).is_some_and(|part| part < stages));
            take_backbone(&mut weights, [prefix, card.config.head.backbone_prefix()], &wanted);
            let (path, count) = (path.display(), wanted.len());
            observer.note(&format!("{path}: its backbone is taken, {count} tensors; the head starts anew"));
        }
        None => {
            let anew = task.adapt_weights(path, &mut weights, theirs.as_ref(), card);
            wanted.retain(|tensor| !anew.iter().any(|prefix| tensor.name.starts_with(prefix)));
        }
    }
    Ok(timm::values_of(path, &weights, &wanted)?)
}

/// Keeps the backbone's tensors of a network with another head, under the names that they have in this one.
fn take_backbone(weights: &mut StateDict, [theirs, ours]: [&str; 2], wanted: &[&Tensor]) {
    let renamed = |(name, tensor): (String, HostTensor)| {
        let name = format!("{ours}{}", name.strip_prefix(theirs)?);
        wanted.iter().any(|wanted| wanted.name == name).then_some((name, tensor))
    };
    weights.tensors = std::mem::take(&mut weights.tensors).into_iter().filter_map(renamed).collect();
}

/// The flags that choose the file's network, if its blocks differ from those of this run.
fn other_network(theirs: &Layers, ours: &Layers) -> Option<String> {
    if theirs.same_tensors(ours) {
        return None;
    }
    Some(match (Preset::matching(theirs), theirs) {
        (Some(preset), _) => format!("--model {}", preset.name),
        (None, Layers::ResNet(ResNet { depths: [a, b, c, d], width, se_ratio, .. })) => {
            format!("--depths {a},{b},{c},{d} --width {width} --se-ratio {se_ratio}")
        }
        (None, Layers::EfficientNet(layers)) => format!("--width {} (of depth {})", layers.width, layers.depth),
    })
}
