//! Pictures and their classes: sources, evaluation and training transforms, and the loader that decodes ahead. Without the feature
//! `train`, the evaluation transform alone.

#[cfg(feature = "train")]
mod augment;
#[cfg(feature = "train")]
mod cifar;
#[cfg(feature = "train")]
mod dataset;
#[cfg(feature = "train")]
mod error;
#[cfg(feature = "train")]
mod folder;
#[cfg(feature = "train")]
mod idx;
#[cfg(feature = "train")]
mod loader;
#[cfg(feature = "train")]
mod order;
#[cfg(feature = "train")]
mod random;
mod resize;
#[cfg(feature = "train")]
mod shapes;
#[cfg(feature = "train")]
mod shards;

#[cfg(feature = "train")]
pub use self::{
    augment::{Augment, Augmentation, Convention, RandAugment},
    dataset::{Dataset, Sample, Source},
    error::Error,
    folder::{decode, pictures_in},
    loader::{Batch, Batches, LoaderOptions, Transform},
};
pub(crate) use resize::pack;
pub use resize::{Region, evaluation_crop, evaluation_part};

#[cfg(feature = "train")]
use crate::models::IMAGENET_MEAN_STD;
