//! Pictures and their classes: sources, evaluation and training transforms, and the loader that decodes ahead. Without
//! the feature `train` it holds what inference needs: the evaluation transform and, with `pictures`, the decoding of
//! files.

#[cfg(feature = "train")]
mod annotated;
#[cfg(feature = "train")]
mod augment;
#[cfg(feature = "train")]
mod broken;
#[cfg(feature = "train")]
mod cifar;
#[cfg(feature = "train")]
mod classes;
#[cfg(feature = "train")]
mod coco;
#[cfg(feature = "pictures")]
mod content;
#[cfg(feature = "train")]
mod dataset;
#[cfg(feature = "pictures")]
mod decode;
#[cfg(feature = "train")]
mod depth;
#[cfg(feature = "pictures")]
mod error;
#[cfg(feature = "train")]
mod folder;
mod geometry;
#[cfg(feature = "pictures")]
mod gif;
#[cfg(feature = "train")]
mod idx;
#[cfg(feature = "train")]
mod inspect;
#[cfg(feature = "pictures")]
mod jpeg;
#[cfg(feature = "train")]
mod loader;
mod maps;
#[cfg(feature = "train")]
mod mask;
#[cfg(feature = "train")]
mod masks;
#[cfg(feature = "train")]
mod order;
#[cfg(feature = "pictures")]
mod orientation;
#[cfg(feature = "train")]
mod pairs;
#[cfg(feature = "train")]
mod random;
mod resize;
#[cfg(feature = "train")]
mod selection;
#[cfg(feature = "train")]
mod shapes;
#[cfg(feature = "train")]
mod shards;
#[cfg(feature = "train")]
mod split;
#[cfg(feature = "pictures")]
mod tiff;
#[cfg(feature = "train")]
mod truth;
#[cfg(feature = "train")]
mod values;
#[cfg(feature = "train")]
mod voc;
#[cfg(feature = "pictures")]
mod walk;

#[cfg(feature = "train")]
pub use self::{
    augment::{Augment, Augmentation, Convention, RandAugment},
    broken::{Broken, find_broken},
    classes::{ClassMatch, match_classes},
    dataset::{Dataset, Sample, Source},
    inspect::{
        ClassCounts, DepthFacts, Duplicates, Inspection, MaskFacts, Named, ObjectFacts, Quartiles, Sizes, TruthFacts,
        inspect,
    },
    loader::{Batch, Batches, LoaderOptions, Transform},
    selection::{Changes, as_before},
    split::Split,
    truth::{Encode, Mixed, Targets, Truth, TruthKind},
};
#[cfg(feature = "pictures")]
pub use decode::decode;
#[cfg(feature = "pictures")]
pub(crate) use decode::decode_bytes;
#[cfg(feature = "pictures")]
pub use error::Error;
pub use geometry::Geometry;
pub use maps::{ClassMap, DepthMap, IGNORED};
pub(crate) use resize::pack;
pub use resize::{CropMode, Interpolation, Placement, Region, View, evaluation_crop, evaluation_geometry, rows_read};
#[cfg(feature = "pictures")]
pub use walk::{Found, PassedOver, pictures_in};

#[cfg(feature = "train")]
pub use crate::boxes::Object;
#[cfg(feature = "train")]
use crate::models::IMAGENET_MEAN_STD;
