//! What a network makes of its backbone's maps: classes of a picture, boxes of objects, classes of pixels, a depth.
//!
//! The tensors' names are those of torchvision, of segmentation-models-pytorch for DeepLabV3+, and this crate's own for
//! the decoder of depth and U-Net.

mod aspp;
mod decoder;
mod depth;
mod retinanet;
mod segment;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use depth::{DenseDepth, depth_of_pixels};
pub use retinanet::RetinaNet;
pub use segment::{DeepLabV3, DeepLabV3Plus, Fcn, UNet};

use super::builder::Builder;
use super::{Error, Layers};
use crate::boxes::PER_CELL;
use crate::graph::{Port, TensorId};

/// The head of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// A pool and a linear layer: one class a picture. Output: `logits` `[N, classes]`.
    #[default]
    Classifier,
    /// Boxes of objects.
    RetinaNet(RetinaNet),
    /// Classes of pixels: dilated convolutions and a pool side by side.
    DeepLabV3(DeepLabV3),
    /// Classes of pixels: DeepLabV3 with separable convolutions, and the map of stride 4 for sharper borders.
    DeepLabV3Plus(DeepLabV3Plus),
    /// Classes of pixels: two convolutions.
    Fcn(Fcn),
    /// Classes of pixels: level after level up to stride 2.
    UNet(UNet),
    /// A depth of each pixel.
    DenseDepth(DenseDepth),
}

/// The task of a network: what it predicts from a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Its class.
    #[default]
    Classify,
    /// The class of each pixel.
    Segment,
    /// Its objects, with their boxes.
    Detect,
    /// The depth of each pixel.
    Depth,
}

impl Purpose {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Segment => "segment",
            Self::Detect => "detect",
            Self::Depth => "depth",
        }
    }

    /// What such a network is called in messages.
    pub fn network(self) -> &'static str {
        match self {
            Self::Classify => "classifier",
            Self::Detect => "detector",
            Self::Segment => "segmentation network",
            Self::Depth => "depth network",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Head {
    /// What a network with this head tells.
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Classifier => Purpose::Classify,
            Self::RetinaNet(_) => Purpose::Detect,
            Self::DeepLabV3(_) | Self::DeepLabV3Plus(_) | Self::Fcn(_) | Self::UNet(_) => Purpose::Segment,
            Self::DenseDepth(_) => Purpose::Depth,
        }
    }

    /// Whether this is the classifier, which cards do not mention.
    pub(super) fn is_classifier(&self) -> bool {
        *self == Self::Classifier
    }

    /// What precedes the names of the backbone's tensors.
    pub fn backbone_prefix(&self) -> &'static str {
        match self {
            Self::Classifier => "",
            Self::RetinaNet(_) => "backbone.body.",
            _ => "backbone.",
        }
    }

    /// Names of its parts, after those of the backbone. The last one always learns.
    pub(super) fn parts(&self, layers: &Layers) -> Vec<&'static str> {
        match self {
            Self::Classifier => layers.top_parts().to_vec(),
            Self::RetinaNet(_) => vec!["fpn", "head"],
            Self::DeepLabV3(DeepLabV3 { auxiliary, .. }) | Self::Fcn(Fcn { auxiliary }) => match auxiliary {
                true => vec!["aux_classifier", "classifier"],
                false => vec!["classifier"],
            },
            Self::DeepLabV3Plus(_) | Self::UNet(_) | Self::DenseDepth(_) => vec!["decoder"],
        }
    }

    /// As [`super::Config::class_layers`], for a head for dense predictions.
    pub(super) fn class_layers(&self) -> (Vec<&'static str>, usize) {
        match self {
            Self::Classifier | Self::DenseDepth(_) => (Vec::new(), 1),
            Self::RetinaNet(_) => (vec!["head.classification_head.cls_logits"], PER_CELL),
            Self::DeepLabV3(_) | Self::Fcn(_) => (vec!["classifier.4", "aux_classifier.4"], 1),
            Self::DeepLabV3Plus(_) => (vec!["segmentation_head.0"], 1),
            Self::UNet(_) => (vec!["decoder.last"], 1),
        }
    }

    /// The fewest classes of its outputs.
    pub(super) fn fewest_classes(&self) -> usize {
        if matches!(self, Self::DenseDepth(_)) { 1 } else { 2 }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Classifier | Self::Fcn(_) => Ok(()),
            Self::RetinaNet(head) => head.validate(),
            Self::DeepLabV3(head) => head.validate(),
            Self::DeepLabV3Plus(head) => head.validate(),
            Self::UNet(head) => head.validate(),
            Self::DenseDepth(head) => head.validate(),
        }
    }

    /// Appends the layers over the backbone's levels; `size` is the input's height and width. Returns the outputs; of
    /// the auxiliary ones, which only training reads, none in inference.
    pub(super) fn build(&self, b: &mut Builder<'_>, last: TensorId, size: [usize; 2]) -> Result<Vec<Port>, Error> {
        if let Self::Classifier = self {
            let id = b.classifier(b.config.layers.classifier(), last)?;
            return Ok(vec![Port { name: "logits", id }]);
        }
        b.begin_head();
        match self {
            Self::Classifier => unreachable!("built above"),
            Self::RetinaNet(head) => head.build(b),
            Self::DeepLabV3(head) => head.build(b, last, size),
            Self::DeepLabV3Plus(head) => head.build(b, last, size),
            Self::Fcn(head) => head.build(b, last, size),
            Self::UNet(head) => head.build(b, size),
            Self::DenseDepth(head) => head.build(b),
        }
    }
}
