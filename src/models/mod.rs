//! Networks as graphs: ResNet-RS and every switch of its authors' studies.

mod config;
mod resnet;

pub use config::{
    ActivationChoice, Config, DropPathSchedule, IMAGENET_MEAN_STD, PRESETS, Preset, Shortcut, Stem, StemDownsampling,
    WIDTHS,
};
pub use resnet::{Input, Mode, Network, PARTS, Training, TrainingEnds, part_of};

use crate::graph;

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No preset has that name.
    #[error("there is no model {name:?}; known are {}", known())]
    UnknownModel {
        /// The name asked for.
        name: String,
    },
    /// A field of the configuration is out of range.
    #[error("{field} must be {range}, got {got}")]
    Config {
        /// The field.
        field: &'static str,
        /// What it accepts.
        range: &'static str,
        /// What it was given.
        got: String,
    },
    /// The graph refuses a shape, for instance a picture too small for the network.
    #[error(transparent)]
    Graph(#[from] graph::Error),
}

fn known() -> String {
    PRESETS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
}
