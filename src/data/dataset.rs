//! Where pictures and their classes come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::random::{Purpose, generator};
use super::split::{Split, Wanted};
use super::walk::PassedOver;
use super::{Error, IGNORED, Truth, TruthKind, cifar, coco, depth, folder, idx, masks, order, shapes, shards, voc};

/// `shapes` is the same data set in every run.
const SHAPES_SEED: u64 = 0;

/// A picture, 8-bit RGB, and its truth.
pub struct Sample {
    /// The pixels.
    pub image: image::RgbImage,
    /// What is known about the picture.
    pub truth: Truth,
}

/// Pictures by index.
pub trait Source: Send + Sync {
    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there are no pictures.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One picture, `index` below [`Source::len`].
    ///
    /// # Errors
    /// If its file cannot be read or is no picture.
    fn sample(&self, index: usize) -> Result<Sample, Error>;

    /// The class of a picture, if it is known without reading the picture.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// The truth of a picture whose width and height are known, if its pixels are not needed for that.
    fn truth(&self, _index: usize, _size: [u32; 2]) -> Option<Result<Truth, Error>> {
        None
    }

    /// The name of a picture, for instance the path of its file within the split.
    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }

    /// The names of many pictures at once.
    fn names_of(&self, indices: &[usize]) -> Vec<String> {
        indices.iter().map(|&index| self.name(index)).collect()
    }

    /// The names of all pictures, if they are in memory. Another process finds the pictures again by them.
    fn names(&self) -> Option<Vec<String>> {
        None
    }

    /// Whether each picture is a file of its own, which may be broken, or vanish between two runs.
    fn are_files(&self) -> bool {
        false
    }

    /// The bytes of a picture's file; `None` if pictures are not stored as picture files.
    fn bytes(&self, _index: usize) -> Option<Result<Vec<u8>, Error>> {
        None
    }

    /// The order in which a shuffled epoch reads the pictures, each of them once. It is a function of seed and epoch
    /// alone, so that a resumed run can start in the middle. A full shuffle, unless random access is expensive.
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
    /// Side of every picture in pixels, if all have the same.
    pub native_res: Option<u32>,
    /// Whether a picture mirrored left to right still belongs to its class: true of objects, false of digits.
    pub mirrored: bool,
    /// Files in its folders that are not pictures.
    pub passed_over: PassedOver,
    /// The data's own names of the training and the validation split, such as the names of their folders.
    pub split_names: [String; 2],
}

impl Dataset {
    /// Opens `shapes`, `idx:DIR`, `cifar10:DIR`, `cifar100:DIR`, `folder:DIR`, `shards:DIR`, `voc:DIR`, `coco:DIR`,
    /// `masks:DIR`, `ade20k:DIR`, `depth:DIR` or `nyu:DIR` for training, with truths of this kind. `~` stands for the
    /// home folder.
    ///
    /// # Errors
    /// An unknown data set, or one without such truths; missing, truncated or contradictory files, named.
    pub fn open(spec: &str, truth: TruthKind) -> Result<Self, Error> {
        Self::open_parts(spec, truth, Wanted::Training)
    }

    /// Opens a data set for validation alone: training pictures may be missing. A `folder:DIR` may also hold the
    /// folders of the classes directly.
    ///
    /// # Errors
    /// The errors of [`Self::open`].
    pub fn open_validation(spec: &str, truth: TruthKind) -> Result<Self, Error> {
        Self::open_parts(spec, truth, Wanted::Validation)
    }

    /// Opens a data set to inspect it, whether or not it is fit for training.
    ///
    /// # Errors
    /// The errors of [`Self::open`], except for missing classes and pictures.
    pub fn open_for_inspection(spec: &str, truth: TruthKind) -> Result<Self, Error> {
        Self::open_parts(spec, truth, Wanted::Everything)
    }

    /// The kind of truth that a data set is made for: objects in `voc:DIR`, for instance.
    pub fn usual_truth(spec: &str) -> TruthKind {
        match spec.split_once(':').map_or(spec, |(kind, _)| kind) {
            "voc" | "coco" => TruthKind::Objects,
            "masks" | "ade20k" => TruthKind::Mask,
            "depth" | "nyu" => TruthKind::Depth,
            _ => TruthKind::Class,
        }
    }

    fn open_parts(spec: &str, truth: TruthKind, wanted: Wanted) -> Result<Self, Error> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let open: fn(&Path, Wanted) -> Result<Self, Error> = match (kind, truth) {
            ("shapes", truth) if rest.is_empty() => return Ok(shapes::open(SHAPES_SEED, truth)),
            ("idx", TruthKind::Class) => idx::open,
            ("cifar10", TruthKind::Class) => {
                |directory, wanted| cifar::open(directory, cifar::Variant::Cifar10, wanted)
            }
            ("cifar100", TruthKind::Class) => {
                |directory, wanted| cifar::open(directory, cifar::Variant::Cifar100, wanted)
            }
            ("folder", TruthKind::Class) => folder::open,
            ("shards", TruthKind::Class) => shards::open,
            ("voc", TruthKind::Objects) => voc::open_objects,
            ("voc", TruthKind::Mask) => voc::open_masks,
            ("coco", TruthKind::Objects) => coco::open,
            ("masks", TruthKind::Mask) => masks::open,
            ("ade20k", TruthKind::Mask) => masks::open_ade20k,
            ("depth", TruthKind::Depth) => depth::open,
            ("nyu", TruthKind::Depth) => depth::open_nyu,
            (
                "idx" | "cifar10" | "cifar100" | "folder" | "shards" | "voc" | "coco" | "masks" | "ade20k" | "depth"
                | "nyu",
                _,
            ) => {
                return Err(Error::NoTruth { spec: spec.to_owned(), truth });
            }
            _ => return Err(Error::unknown_kind(spec)),
        };
        if rest.is_empty() {
            return Err(Error::unknown_kind(spec));
        }
        open(&existing(rest)?, wanted)
    }

    /// The pictures of a split.
    pub fn split(&self, split: Split) -> &Arc<dyn Source> {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
        }
    }

    /// The data's own name of a split.
    pub fn split_name(&self, split: Split) -> &str {
        &self.split_names[split as usize]
    }

    /// The same pictures with renumbered and renamed classes: `labels[k]` is the new number of class k.
    pub(crate) fn relabelled(self, labels: &[u32], classes: Vec<String>) -> Self {
        let relabel = |source| Arc::new(Relabelled { source, labels: labels.to_owned() });
        Self { train: relabel(self.train), val: relabel(self.val), classes, ..self }
    }
}

/// Checks that a folder exists, and replaces `~` by the home folder: a shell does not expand it after a colon.
fn existing(text: &str) -> Result<PathBuf, Error> {
    let below_home = |rest: &Path| Some(std::env::home_dir()?.join(rest));
    let path = Path::new(text);
    let directory = path.strip_prefix("~").ok().and_then(below_home).unwrap_or_else(|| path.to_owned());
    let problem = match directory.metadata() {
        Ok(about) if about.is_dir() => return Ok(directory),
        Ok(_) => "is a file: give the folder that holds the data; unpack an archive first".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing(&directory),
        Err(error) => return Err(Error::Read { path: directory, source: error }),
    };
    Err(Error::invalid(directory, problem))
}

/// The message for a folder that does not exist: it names what is there instead.
fn missing(directory: &Path) -> String {
    let here = |above: &'_ Path| if above.as_os_str().is_empty() { PathBuf::from(".") } else { above.to_owned() };
    match directory.ancestors().skip(1).map(here).find(|above| above.is_dir()) {
        Some(above) => format!("there is no such folder; in {} {}", above.display(), super::walk::contents(&above)),
        None => "there is no such folder".to_owned(),
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = (self.train.len(), self.val.len());
        f.debug_struct("Dataset").field("classes", &self.classes).field("train, val", &sizes).finish_non_exhaustive()
    }
}

/// An empty split: stands in for the training pictures in validation alone.
pub(super) struct Nothing;

impl Source for Nothing {
    fn len(&self) -> usize {
        0
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        unreachable!("there is no picture {index}")
    }
}

/// A source with renumbered classes.
struct Relabelled {
    source: Arc<dyn Source>,
    /// The new number of each class.
    labels: Vec<u32>,
}

impl Relabelled {
    fn relabelled(&self, truth: Truth) -> Truth {
        match truth {
            Truth::Class(label) => Truth::Class(self.labels[label as usize]),
            Truth::Objects(mut objects) => {
                objects.iter_mut().for_each(|object| object.class = self.labels[object.class as usize]);
                Truth::Objects(objects)
            }
            Truth::Mask(mut mask) => {
                let counted = mask.iter_mut().filter(|class| **class != IGNORED);
                counted.for_each(|class| *class = self.labels[usize::from(*class)] as u8);
                Truth::Mask(mask)
            }
            truth @ (Truth::Unknown | Truth::Depth(_)) => truth,
        }
    }
}

impl Source for Relabelled {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let Sample { image, truth } = self.source.sample(index)?;
        Ok(Sample { image, truth: self.relabelled(truth) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(index).map(|label| self.labels[label as usize])
    }

    fn truth(&self, index: usize, size: [u32; 2]) -> Option<Result<Truth, Error>> {
        Some(self.source.truth(index, size)?.map(|truth| self.relabelled(truth)))
    }

    fn name(&self, index: usize) -> String {
        self.source.name(index)
    }

    fn names_of(&self, indices: &[usize]) -> Vec<String> {
        self.source.names_of(indices)
    }

    fn names(&self) -> Option<Vec<String>> {
        self.source.names()
    }

    fn are_files(&self) -> bool {
        self.source.are_files()
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        self.source.bytes(index)
    }

    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        self.source.order(seed, epoch)
    }
}
