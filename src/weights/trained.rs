//! A weight file with all that belongs to it.

use std::path::{Path, PathBuf};

use super::{Error, ModelCard, StateDict, timm};

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
    /// Reads a safetensors file under timm's names, as timm or this program wrote it. The network is recognised from the file's card, or else
    /// from its tensors.
    ///
    /// # Errors
    /// If the file cannot be read, or belongs to no network of this crate's.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let weights = StateDict::read(path)?;
        let card = timm::recognise(path, &weights)?;
        Ok(Self { path: path.to_owned(), weights, card })
    }
}
