//! A weight file with its card.

use std::path::{Path, PathBuf};

use super::{Error, ModelCard, StateDict, Told, description, timm};
use crate::files;

/// A trained network in memory, from which [`crate::Classifier`] and [`crate::Features`] are made.
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
    /// Its layers, and how pictures become its input. Changes to it take effect, for instance a larger side.
    pub card: ModelCard,
}

impl TrainedNetwork {
    /// Reads a safetensors file under timm's names, as timm or this program wrote it, or the `model.safetensors` of a
    /// folder. The network is recognised from the file's card, or else from its tensors and timm's `config.json` beside
    /// it, which says how pictures are prepared and what the classes are called.
    ///
    /// # Errors
    /// If the file cannot be read, belongs to no network of this crate, or is not what `config.json` describes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_as(path.as_ref(), Told::default())
    }

    /// [`Self::read`] for a caller who knows some things better.
    pub(crate) fn read_as(path: &Path, told: Told) -> Result<Self, Error> {
        let path = weight_file(path)?;
        let weights = timm::read(&path)?;
        let card = description::card(&path, &weights, told)?;
        Ok(Self { path, weights, card })
    }
}

/// The weight file of a path: in a folder it has the same name as on the hub.
pub(crate) fn weight_file(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    // PyTorch's own files are refused, with a way to convert them.
    let names = ["model.safetensors", "pytorch_model.bin"];
    if let Some(file) = names.map(|name| path.join(name)).into_iter().find(|file| file.exists()) {
        return Ok(file);
    }
    let mut found = files::names(path, ".safetensors")?;
    found.sort();
    Err(Error::Folder { path: path.to_owned(), found })
}
