//! Where pictures and their classes come from.

use std::path::Path;
use std::sync::Arc;

use super::random::{Purpose, generator};
use super::{Error, cifar, folder, idx, order, shapes, shards};

/// `shapes` is one data set, the same for every run.
const SHAPES_SEED: u64 = 0;

/// A picture, 8-bit RGB, and its class.
pub struct Sample {
    /// The pixels.
    pub image: image::RgbImage,
    /// Index into [`Dataset::classes`].
    pub label: u32,
}

/// Pictures by number.
pub trait Source: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One picture, `index` below [`Source::len`].
    ///
    /// # Errors
    /// If its file cannot be read or is no picture.
    fn sample(&self, index: usize) -> Result<Sample, Error>;

    /// In which order a shuffled epoch reads the pictures, each of them once: a function of seed and epoch alone, so that a
    /// resumed run enters in the middle. A full shuffle, unless pictures are dear to read from just anywhere.
    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        order::shuffled(self.len(), &mut generator(seed, Purpose::Shuffle, epoch, 0))
    }
}

/// What `--data` names.
#[derive(Clone)]
pub struct Dataset {
    /// Pictures to learn from.
    pub train: Arc<dyn Source>,
    /// Pictures to validate with.
    pub val: Arc<dyn Source>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Mean of each colour over the data set, on a scale from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each colour.
    pub std: [f32; 3],
    /// Side of every picture in pixels, where all have the same.
    pub native_res: Option<u32>,
}

impl Dataset {
    /// Opens `shapes`, `idx:DIR`, `cifar10:DIR`, `cifar100:DIR`, `folder:DIR` or `shards:DIR`.
    ///
    /// # Errors
    /// An unknown kind; missing, truncated or contradictory files, named.
    pub fn open(spec: &str) -> Result<Self, Error> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let directory = Path::new(rest);
        match (kind, rest.is_empty()) {
            ("shapes", true) => Ok(shapes::open(SHAPES_SEED)),
            ("idx", false) => idx::open(directory),
            ("cifar10", false) => cifar::open(directory, cifar::Variant::Cifar10),
            ("cifar100", false) => cifar::open(directory, cifar::Variant::Cifar100),
            ("folder", false) => folder::open(directory),
            ("shards", false) => shards::open(directory),
            _ => Err(Error::UnknownKind { spec: spec.to_owned() }),
        }
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = (self.train.len(), self.val.len());
        f.debug_struct("Dataset").field("classes", &self.classes).field("train, val", &sizes).finish_non_exhaustive()
    }
}
