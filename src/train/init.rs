//! The weights of a file that a run starts from.

use std::path::Path;

use crate::Error;
use crate::data::{ClassMatch, match_classes};
use crate::models::{Input, Layers, Mode, Network, Preset, ResNet};
use crate::weights::{HostTensor, ModelCard, TrainedNetwork, timm};
use crate::{train, weights};

/// The file's values by the names of a card's network, in this crate's order. Classes of the file are found again by
/// their names. The classifier's values are left out if the file's is for other classes.
///
/// # Errors
/// A file that cannot be read, or weights of another network.
pub(super) fn read(path: &Path, card: &ModelCard) -> Result<Vec<(String, Vec<f32>)>, Error> {
    let (mut weights, theirs) = match TrainedNetwork::read(path) {
        Ok(TrainedNetwork { weights, card, .. }) => (weights, Some(card)),
        // Networks of one's own making are not recognised, and may fit all the same.
        Err(weights::Error::Mismatch { .. }) => (timm::read(path)?, None),
        Err(error) => return Err(error.into()),
    };
    if let Some(flags) = theirs.as_ref().and_then(|theirs| other_network(&theirs.config.layers, &card.config.layers)) {
        return Err(train::Error::OtherNetwork { path: path.to_owned(), flags }.into());
    }
    let graph = Network::build(&card.config, 1, [card.res as usize; 2], Input::Tensor, Mode::Inference)?.graph;
    let mut wanted: Vec<_> = graph.persistent().map(|id| graph.tensor(id)).collect();
    let classifier = card.config.layers.classifier();
    let in_classifier = |name: &str| name.strip_prefix(classifier).is_some_and(|rest| rest.starts_with('.'));
    let count = weights.tensors.get(&format!("{classifier}.weight")).and_then(|t| t.shape.first().copied());
    let names = theirs.map_or(Vec::new(), |theirs| theirs.classes);
    match count.map(|count| (count, match_classes(&names, count, &card.classes))) {
        None => {}
        Some((count, ClassMatch::Same)) if card.classes.len() == count => {}
        Some((count, ClassMatch::ByName(rows))) if rows.len() == count => {
            log::warn!("{} has the data's classes in another order: they are matched by name", path.display());
            let of_classifier = weights.tensors.iter_mut().filter(|(name, _)| in_classifier(name));
            of_classifier.for_each(|(_, tensor)| take_rows(tensor, &rows));
        }
        Some((count, ClassMatch::ByNumber(how))) if card.classes.len() == count => {
            log::warn!("{}: {how}", path.display());
        }
        Some((count, other)) => {
            let why = match other {
                ClassMatch::Different(why) => why,
                _ => format!("the network tells {count} classes apart, the data has {}", card.classes.len()),
            };
            log::warn!("{}: {why}: the classifier starts anew", path.display());
            wanted.retain(|tensor| !in_classifier(&tensor.name));
            weights.tensors.retain(|name, _| !in_classifier(name));
        }
    }
    Ok(timm::values_of(path, &weights, &wanted)?)
}

/// Puts these rows of a matrix, or elements of a vector, in the place of all.
fn take_rows(tensor: &mut HostTensor, rows: &[u32]) {
    let length = tensor.data.len() / rows.len();
    let row = |&row: &u32| &tensor.data[row as usize * length..][..length];
    tensor.data = rows.iter().flat_map(row).copied().collect();
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
