//! A weight file with all that belongs to it.

use std::path::{Path, PathBuf};

use super::{Error, ModelCard, StateDict, description, timm};
use crate::files;

/// A trained network, in memory: what [`crate::Classifier`] and [`crate::Features`] are made of.
///
/// ```no_run
/// use resnet_rs::weights::TrainedNetwork;
///
/// let network = TrainedNetwork::read("resnetrs50.safetensors")?;
/// println!("{} tensors, {} px", network.weights.tensors.len(), network.card.res);
/// # Ok::<(), resnet_rs::weights::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrainedNetwork {
    /// Where it comes from, for messages.
    pub path: PathBuf,
    /// Its tensors, under timm's names.
    pub weights: StateDict,
    /// Its layers, and how pictures become its input. What is changed here, a larger side for instance, counts.
    pub card: ModelCard,
}

impl TrainedNetwork {
    /// Reads a safetensors file under timm's names, as timm or this program wrote it, or the `model.safetensors` of a
    /// folder. The network is recognised from the file's card, or else from its tensors and timm's `config.json` beside
    /// it, which says how pictures are prepared and what the classes are called.
    ///
    /// # Errors
    /// If the file cannot be read, belongs to no network of this crate's, or is not what `config.json` describes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_as(path.as_ref(), false)
    }

    /// The same; `insisted` if the caller knows the architecture better than `config.json`.
    pub(crate) fn read_as(path: &Path, insisted: bool) -> Result<Self, Error> {
        let path = weight_file(path)?;
        let weights = timm::read(&path)?;
        let card = description::card(&path, &weights, insisted)?;
        Ok(Self { path, weights, card })
    }
}

/// The weights of a path: a folder's are called as on the hub.
pub(crate) fn weight_file(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    // What PyTorch wrote is refused with a way to convert it.
    let names = ["model.safetensors", "pytorch_model.bin"];
    if let Some(file) = names.map(|name| path.join(name)).into_iter().find(|file| file.exists()) {
        return Ok(file);
    }
    let mut found = files::names(path, ".safetensors")?;
    found.sort();
    Err(Error::Folder { path: path.to_owned(), found })
}
