//! Where pictures and their classes come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::random::{Purpose, generator};
use super::split::{Split, Wanted};
use super::walk::PassedOver;
use super::{Error, Truth, cifar, folder, idx, order, shapes, shards};

/// `shapes` is one data set, the same for every run.
const SHAPES_SEED: u64 = 0;

/// A picture, 8-bit RGB, and what is known of it.
pub struct Sample {
    /// The pixels.
    pub image: image::RgbImage,
    /// What is known of it.
    pub truth: Truth,
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

    /// The class of a picture, where it is known without reading the picture.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// What a picture is called: the path of its file within the split, for instance.
    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }

    /// The same of many pictures at once.
    fn names_of(&self, indices: &[usize]) -> Vec<String> {
        indices.iter().map(|&index| self.name(index)).collect()
    }

    /// The names of all pictures, where they are at hand, to find the pictures again in another process.
    fn names(&self) -> Option<Vec<String>> {
        None
    }

    /// Whether each picture is a file of its own, which may be broken, or vanish between two runs.
    fn are_files(&self) -> bool {
        false
    }

    /// The bytes of a picture's file; `None` where pictures are not stored as picture files.
    fn bytes(&self, _index: usize) -> Option<Result<Vec<u8>, Error>> {
        None
    }

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
    /// Whether a picture mirrored left to right is still one of its class, as those of objects are and those of digits
    /// are not.
    pub mirrored: bool,
    /// Files in its folders that are no pictures.
    pub passed_over: PassedOver,
    /// What the data calls its training and its validation pictures, such as the names of their folders.
    pub split_names: [String; 2],
}

impl Dataset {
    /// Opens `shapes`, `idx:DIR`, `cifar10:DIR`, `cifar100:DIR`, `folder:DIR` or `shards:DIR` for training. `~` stands
    /// for the home folder.
    ///
    /// # Errors
    /// An unknown kind; missing, truncated or contradictory files, named.
    pub fn open(spec: &str) -> Result<Self, Error> {
        Self::open_parts(spec, Wanted::Training)
    }

    /// The same for validation alone: training pictures need not be there. A `folder:DIR` may also hold the folders of
    /// the classes itself.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_validation(spec: &str) -> Result<Self, Error> {
        Self::open_parts(spec, Wanted::Validation)
    }

    /// The same for a look at what is there, fit for training or not.
    ///
    /// # Errors
    /// As [`Self::open`], but for classes and pictures that are missing.
    pub fn open_for_inspection(spec: &str) -> Result<Self, Error> {
        Self::open_parts(spec, Wanted::Everything)
    }

    fn open_parts(spec: &str, wanted: Wanted) -> Result<Self, Error> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        if kind == "shapes" && rest.is_empty() {
            return Ok(shapes::open(SHAPES_SEED));
        }
        let open: fn(&Path, Wanted) -> Result<Self, Error> = match kind {
            "idx" => idx::open,
            "cifar10" => |directory, wanted| cifar::open(directory, cifar::Variant::Cifar10, wanted),
            "cifar100" => |directory, wanted| cifar::open(directory, cifar::Variant::Cifar100, wanted),
            "folder" => folder::open,
            "shards" => shards::open,
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

    /// What the data calls a split.
    pub fn split_name(&self, split: Split) -> &str {
        &self.split_names[split as usize]
    }

    /// The same pictures with other numbers and names of their classes: `labels[k]` is the new number of class k.
    pub(crate) fn relabelled(self, labels: &[u32], classes: Vec<String>) -> Self {
        let relabel = |source| Arc::new(Relabelled { source, labels: labels.to_owned() });
        Self { train: relabel(self.train), val: relabel(self.val), classes, ..self }
    }
}

/// A folder that exists, with the home folder in the place of `~`: a shell leaves that as it is behind a colon.
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

/// What to say of a folder that does not exist: what there is in its place.
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

/// No pictures at all: the training pictures of who only validates.
pub(super) struct Nothing;

impl Source for Nothing {
    fn len(&self) -> usize {
        0
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        unreachable!("there is no picture {index}")
    }
}

/// A source whose classes have other numbers.
struct Relabelled {
    source: Arc<dyn Source>,
    /// The new number of each class.
    labels: Vec<u32>,
}

impl Source for Relabelled {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let Sample { image, truth } = self.source.sample(index)?;
        let truth = match truth {
            Truth::Class(label) => Truth::Class(self.labels[label as usize]),
        };
        Ok(Sample { image, truth })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(index).map(|label| self.labels[label as usize])
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
