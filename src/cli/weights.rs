//! Weights as the command line names them.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Error, Global};
use crate::weights::TrainedNetwork;
use crate::weights::hub::{self, HubOptions};

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

impl Source {
    /// Reads the weights, fetched if they are on the hub.
    pub(super) fn load(&self, global: &Global) -> Result<TrainedNetwork, Error> {
        match self {
            Self::File(path) => Ok(TrainedNetwork::read(path)?),
            Self::Hub(repository) => {
                let progress = global.progress_in_bytes("downloading");
                let options = HubOptions { progress: Some(&progress), ..HubOptions::default() };
                Ok(hub::fetch(repository, &options)?)
            }
        }
    }

    /// The file alone, for whoever reads it later.
    pub(super) fn file(&self, global: &Global) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Hub(_) => Ok(self.load(global)?.path),
        }
    }
}
