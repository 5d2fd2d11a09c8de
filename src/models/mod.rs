//! Networks as graphs: ResNet-RS and every switch of its authors' studies, the ResNets before it, and EfficientNet; and
//! the heads with which they find objects, segment pictures and estimate depths.

mod builder;
mod config;
mod efficientnet;
mod head;
mod network;
mod parts;
mod preset;
mod resnet;

pub use config::{Config, Layers};
pub use efficientnet::EfficientNet;
pub use head::{DeepLabV3, DeepLabV3Plus, DenseDepth, Fcn, Head, Purpose, RetinaNet, UNet, depth_of_pixels};
pub use network::{Input, Level, Mode, Network, Norm, output};
pub use parts::Parts;
pub(crate) use preset::current_name;
pub use preset::{IMAGENET_MEAN_STD, PRESETS, Preset};
pub use resnet::{ActivationChoice, DropPathSchedule, ResNet, Shortcut, Stem, StemDownsampling, WIDTHS};

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
        /// The value given.
        got: String,
    },
    /// The model's family does not have this setting.
    #[error("{model} has no {field}, which is a ResNet's: leave it out, or choose a ResNet")]
    NotOfFamily {
        /// The model.
        model: &'static str,
        /// The setting.
        field: &'static str,
    },
    /// A head needs more levels than the backbone has.
    #[error("the head needs maps of {wanted} strides, the backbone has {found}: choose another model or another head")]
    Levels {
        /// Levels that the head needs.
        wanted: usize,
        /// Levels of the backbone.
        found: usize,
    },
    /// A task needs an output that the network does not have.
    #[error("the network has no output {name:?}; it has {}", outputs.join(", "))]
    NoOutput {
        /// The output.
        name: &'static str,
        /// The outputs that it has.
        outputs: Vec<&'static str>,
    },
    /// The graph refuses a shape, for instance because the picture is too small for the network.
    #[error(transparent)]
    Graph(#[from] graph::Error),
}

fn known() -> String {
    PRESETS.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")
}
