//! The weights of a file that a run starts from.

use std::path::Path;

use crate::Error;
use crate::models::{Input, Layers, Mode, Network, Preset, ResNet};
use crate::train;
use crate::weights::{ModelCard, StateDict, timm};

/// The file's values by the names of a card's network, in this crate's order. The classifier's are left out if the file's is for
/// another number of classes.
///
/// # Errors
/// A file that cannot be read, or weights of another network.
pub(super) fn read(path: &Path, card: &ModelCard) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let mut weights = StateDict::read(path)?;
    if let Some(flags) = timm::recognise(path, &weights)
        .ok()
        .and_then(|theirs| other_network(&theirs.config.layers, &card.config.layers))
    {
        return Err(train::Error::OtherNetwork { path: path.to_owned(), flags }.into());
    }
    let graph = Network::build(&card.config, 1, [card.res as usize; 2], Input::Tensor, Mode::Inference)?.graph;
    let mut wanted: Vec<_> = graph.persistent().map(|id| graph.tensor(id)).collect();
    let classifier = card.config.layers.classifier();
    let theirs = weights.tensors.get(&format!("{classifier}.weight")).and_then(|t| t.shape.first().copied());
    if let Some(theirs) = theirs.filter(|&classes| classes != card.config.classes) {
        let (path, ours) = (path.display(), card.config.classes);
        log::warn!("{path} has {theirs} classes and the data {ours}: the classifier starts anew");
        let in_head = |name: &str| name.strip_prefix(classifier).is_some_and(|rest| rest.starts_with('.'));
        wanted.retain(|tensor| !in_head(&tensor.name));
        weights.tensors.retain(|name, _| !in_head(name));
    }
    Ok(timm::values_of(path, &weights, &wanted)?)
}

/// The flags that choose their network, if it has other blocks than ours.
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
