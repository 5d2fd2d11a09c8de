//! Weights, as named on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Error, Global};
use crate::models::{Config, Head, Purpose};
use crate::weights::hub::{self, HubOptions};
use crate::weights::{ModelCard, Told, TrainedNetwork, weight_file};

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

/// What weights do not tell unless this program wrote them.
#[derive(Args)]
pub(super) struct Untold {
    /// Stride of a segmentation network's last map, px, which the weights cannot tell unless this program wrote them
    #[arg(long, value_name = "8|16|32", value_parser = output_stride)]
    output_stride: Option<usize>,
    /// Largest depth of a depth network, metres, which the weights cannot tell unless this program wrote them
    #[arg(long, value_name = "M", value_parser = max_depth)]
    max_depth: Option<f32>,
}

impl Untold {
    pub(super) fn told(&self) -> Told {
        Told { output_stride: self.output_stride.is_some(), max_depth: self.max_depth.is_some(), ..Told::default() }
    }

    /// Puts what the user has told into a network's settings. Refuses what the network has no use for, and warns if its
    /// file tells otherwise.
    pub(super) fn complete(&self, network: &mut TrainedNetwork) -> Result<(), Error> {
        let known = ModelCard::from_metadata(&network.path, &network.weights.metadata)?;
        let config = &mut network.card.config;
        let purpose = config.head.purpose();
        let flags = [
            ("--output-stride", self.output_stride.is_some(), Purpose::Segment),
            ("--max-depth", self.max_depth.is_some(), Purpose::Depth),
        ];
        if let Some((flag, _, fitting)) = flags.into_iter().find(|(_, given, fitting)| *given && *fitting != purpose) {
            let (fitting, found) = (fitting.network(), purpose.network());
            return Err(Error::usage(format!("{flag} is for a {fitting}; these weights are those of a {found}")));
        }
        config.output_stride = self.output_stride.unwrap_or(config.output_stride);
        if let Head::DenseDepth(head) = &mut config.head {
            head.max_m = self.max_depth.unwrap_or(head.max_m);
        }
        let told = |config: &Config| (config.output_stride, config.head);
        if known.is_some_and(|known| told(&known.config) != told(config)) {
            log::warn!(
                "{} says that it was trained with another --output-stride or --max-depth: its answers will be wrong",
                network.path.display()
            );
        }
        Ok(())
    }
}

fn output_stride(text: &str) -> Result<usize, String> {
    let stride = text.parse().ok().filter(|stride| matches!(stride, 8 | 16 | 32));
    stride.ok_or_else(|| "an output stride is 8, 16 or 32".to_owned())
}

fn max_depth(text: &str) -> Result<f32, String> {
    let metres = text.parse().ok().filter(|metres| (0.01..=1e4).contains(metres));
    metres.ok_or_else(|| "the largest depth is from 0.01 to 10000 m".to_owned())
}

impl Source {
    /// Reads the weights, and downloads them first if they are on the hub.
    pub(super) fn load(&self, global: &Global) -> Result<TrainedNetwork, Error> {
        self.load_as(global, Told::default())
    }

    /// As [`Self::load`], where the user has told some things.
    pub(super) fn load_as(&self, global: &Global, told: Told) -> Result<TrainedNetwork, Error> {
        Ok(TrainedNetwork::read_as(&self.file(global)?, told)?)
    }

    /// The path of the file, to be read later. A file on the hub is downloaded first.
    pub(super) fn file(&self, global: &Global) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(weight_file(path)?),
            Self::Hub(repository) => {
                let progress = global.progress_in_bytes("downloading");
                let options = HubOptions { progress: Some(&progress), ..HubOptions::default() };
                Ok(hub::fetch_file(repository, &options)?)
            }
        }
    }
}
