//! Weights, as named on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Error, Global};
use crate::weights::hub::{self, HubOptions};
use crate::weights::{TrainedNetwork, weight_file};

/// A file or folder, or a repository on the Hugging Face hub. A file whose name begins with `hf:` is given as
/// `./hf:...`.
#[derive(Clone, Debug, PartialEq)]
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

/// The stride of a network's last map.
pub(super) fn output_stride(text: &str) -> Result<usize, String> {
    let stride = text.parse().ok().filter(|stride| matches!(stride, 8 | 16 | 32));
    stride.ok_or_else(|| "an output stride is 8, 16 or 32".to_owned())
}

impl Source {
    /// Reads the weights, and downloads them first if they are on the hub.
    pub(super) fn load(&self, global: &Global) -> Result<TrainedNetwork, Error> {
        self.load_as(global, false)
    }

    /// As [`Self::load`], where `insisted` means that the user named the network.
    pub(super) fn load_as(&self, global: &Global, insisted: bool) -> Result<TrainedNetwork, Error> {
        match self {
            Self::File(path) => Ok(TrainedNetwork::read_as(path, insisted)?),
            Self::Hub(repository) => {
                let progress = global.progress_in_bytes("downloading");
                let options = HubOptions { progress: Some(&progress), ..HubOptions::default() };
                Ok(hub::fetch_as(repository, &options, insisted)?)
            }
        }
    }

    /// The path of the file, to be read later.
    pub(super) fn file(&self, global: &Global) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(weight_file(path)?),
            Self::Hub(_) => Ok(self.load(global)?.path),
        }
    }
}
