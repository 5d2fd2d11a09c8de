//! Weights as the command line names them.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Error, Global};
use crate::weights::{ModelCard, StateDict, timm};

/// A file, or a repository on the Hugging Face hub. A file whose name begins with `hf:` is given as `./hf:...`.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    /// `OWNER/NAME` or `OWNER/NAME@REVISION`.
    Hub(String),
}

impl From<OsString> for Source {
    fn from(text: OsString) -> Self {
        match text.to_str().and_then(|text| text.strip_prefix("hf:")) {
            Some(repository) => Self::Hub(repository.to_owned()),
            None => Self::File(text.into()),
        }
    }
}

/// Weights, the file that they came from, and their network.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) weights: StateDict,
    pub(super) card: ModelCard,
}

impl Source {
    /// Reads the weights, fetched if they are on the hub.
    pub(super) fn load(&self, global: &Global) -> Result<Loaded, Error> {
        match self {
            Self::File(path) => {
                let weights = StateDict::read(path)?;
                let card = timm::recognise(path, &weights)?;
                Ok(Loaded { path: path.clone(), weights, card })
            }
            Self::Hub(repository) => fetch(repository, global),
        }
    }

    /// The file alone, for whoever reads it later.
    pub(super) fn file(&self, global: &Global) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Hub(repository) => Ok(fetch(repository, global)?.path),
        }
    }
}

#[cfg(feature = "hub")]
fn fetch(repository: &str, global: &Global) -> Result<Loaded, Error> {
    use crate::weights::hub::{self, HubOptions, HubWeights};

    let progress = global.progress_in_bytes("downloading");
    let options = HubOptions { progress: Some(&progress), ..HubOptions::default() };
    let HubWeights { path, weights, card } = hub::fetch(repository, &options)?;
    Ok(Loaded { path, weights, card })
}

#[cfg(not(feature = "hub"))]
fn fetch(repository: &str, _global: &Global) -> Result<Loaded, Error> {
    Err(Error::usage(format!(
        "hf:{repository}: this program was built without downloads; build it with `cargo build --release --features \
         hub`, or download the repository's model.safetensors and give its path"
    )))
}
