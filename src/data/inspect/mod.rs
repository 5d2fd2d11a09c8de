//! Inspection of every picture of a data set: what a person should know before spending hours on training.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use rayon::prelude::*;
use serde::Serialize;

use super::broken::Broken;
use super::decode::{Facts, decode_bytes_with_facts};
use super::walk::PassedOver;
use super::{Dataset, Error, Sample, Source, Split, Truth, TruthKind};

pub use depths::DepthFacts;
pub use masks::MaskFacts;
pub use objects::{ObjectFacts, Quartiles};

mod depths;
mod lines;
mod masks;
mod objects;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;

/// Aspect ratio beyond which a square crop cuts off most of a picture.
const ODD_RATIO: f64 = 4.0;

/// What [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Training pictures, broken ones included.
    pub train: usize,
    /// Validation pictures, broken ones included.
    pub val: usize,
    /// How often each class occurs by split.
    pub classes: Vec<ClassCounts>,
    /// What else the truths tell; `None` for classes of pictures.
    #[serde(flatten)]
    pub truths: Option<TruthFacts>,
    /// Readable pictures by file format; empty if pictures are not files.
    pub formats: BTreeMap<&'static str, usize>,
    /// Sizes of the readable pictures, smallest first; `None` if there are none.
    pub sizes: Option<Sizes>,
    /// Pictures without colours.
    pub grey: usize,
    /// CMYK pictures, which are converted to RGB.
    pub cmyk: usize,
    /// Pictures with an alpha channel, which is dropped.
    pub alpha: usize,
    /// Pictures with more than 8 bits a channel, which are reduced to 8.
    pub deep: usize,
    /// Pictures that their EXIF data or XMP turn or mirror.
    pub turned: usize,
    /// Readable pictures with one side more than four times the other.
    pub odd_shapes: Vec<Named>,
    /// Pictures that cannot be read.
    pub broken: Vec<Named>,
    /// Readable pictures whose truth cannot be used: its file is missing or damaged, or does not fit the picture.
    pub without_truth: Vec<Named>,
    /// Sets of pictures that are equal pixel by pixel.
    pub duplicates: Vec<Duplicates>,
    /// Other files in the data's folders.
    pub passed_over: PassedOver,
}

/// What an inspection finds in truths other than classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TruthFacts {
    /// In objects.
    Objects(ObjectFacts),
    /// In masks.
    Masks(MaskFacts),
    /// In depths.
    Depths(DepthFacts),
}

/// A class and how many pictures it has, broken ones included; or how many objects, or how many pictures that show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Its name.
    pub name: String,
    /// In training.
    pub train: usize,
    /// In validation.
    pub val: usize,
}

/// A picture and a remark on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Named {
    /// Split and name: `train/cat/001.jpg`.
    pub picture: String,
    /// Its size, or what is wrong with it.
    pub note: String,
}

/// The range of sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The picture with the fewest pixels: its name, and its width and height.
    pub smallest: (String, [u32; 2]),
    /// Width and height of the picture with the median number of pixels.
    pub median: [u32; 2],
    /// The picture with the most pixels.
    pub largest: (String, [u32; 2]),
}

/// Pictures that are equal pixel by pixel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Split and name of each.
    pub pictures: Vec<String>,
    /// Whether they lie in both splits: then the validation results are too good.
    pub across_splits: bool,
    /// Whether they are of different classes: then some labels are wrong.
    pub across_classes: bool,
}

/// Facts on a readable picture.
struct Seen {
    split: Split,
    index: usize,
    known: Known,
    size: [u32; 2],
    /// Hash of its size and pixels.
    hash: u64,
    facts: Option<Facts>,
}

/// What is kept of a picture's truth.
enum Known {
    Nothing,
    Class(u32),
    Objects(objects::Boxes),
    Mask(masks::Pixels),
    Depth(depths::Range),
}

impl Known {
    fn of(truth: &Truth, size: [u32; 2]) -> Self {
        match truth {
            Truth::Unknown => Self::Nothing,
            Truth::Class(class) => Self::Class(*class),
            Truth::Objects(objects) => Self::Objects(objects::Boxes::of(objects, size)),
            Truth::Mask(mask) => Self::Mask(masks::Pixels::of(mask)),
            Truth::Depth(depth) => Self::Depth(depths::Range::of(depth)),
        }
    }

    /// Whether there may be something to say about this picture alone.
    fn is_noted(&self) -> bool {
        match self {
            Self::Nothing | Self::Class(_) => false,
            Self::Objects(boxes) => boxes.is_odd(),
            Self::Mask(pixels) => pixels.is_empty(),
            Self::Depth(range) => range.is_empty(),
        }
    }

    /// The classes that occur, each as often as it counts.
    fn classes(&self) -> Vec<u32> {
        match self {
            Self::Class(class) => vec![*class],
            Self::Objects(boxes) => boxes.classes(),
            Self::Mask(pixels) => pixels.classes(),
            Self::Nothing | Self::Depth(_) => vec![],
        }
    }
}

/// Why a picture is not seen.
enum Unseen {
    /// It cannot be read.
    Broken(Error),
    /// What is known of it cannot be used.
    WithoutTruth(Error),
}

/// Reads every picture of both splits once, on all cores. `truth` is what the data set was opened for. `progress` is
/// called with the number done and the total.
pub fn inspect(dataset: &Dataset, truth: TruthKind, progress: &(dyn Fn(usize, usize) + Sync)) -> Inspection {
    let total = dataset.train.len() + dataset.val.len();
    let done = AtomicUsize::new(0);
    let of_split = |split: Split| {
        let source = dataset.split(split);
        let one = |index: usize| {
            let seen = look(&**source, split, index);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            seen.map_err(|unseen| (index, unseen))
        };
        (0..source.len()).into_par_iter().map(one).collect::<Vec<Result<Seen, (usize, Unseen)>>>()
    };
    let (mut seen, mut broken, mut without_truth) = (Vec::new(), Vec::new(), Vec::new());
    for split in [Split::Train, Split::Val] {
        let source = &**dataset.split(split);
        for picture in of_split(split) {
            match picture {
                Ok(picture) => seen.push(picture),
                Err((index, Unseen::Broken(error))) => {
                    let Broken { picture, problem, .. } = Broken::new(source, index, &error);
                    broken.push(Named { picture: within(dataset, split, &picture), note: problem });
                }
                Err((index, Unseen::WithoutTruth(error))) => {
                    let picture = within(dataset, split, &source.name(index));
                    without_truth.push(Named { picture, note: error.to_string() });
                }
            }
        }
    }
    let count = |is: fn(&Facts) -> bool| seen.iter().filter(|s| s.facts.as_ref().is_some_and(is)).count();
    let mut formats = BTreeMap::new();
    seen.iter().filter_map(|s| s.facts).for_each(|facts| *formats.entry(facts.format).or_default() += 1);
    let by_size = by_size(&seen);
    let groups = groups(&seen);
    let odd: Vec<&Seen> = seen.iter().filter(|seen| is_odd(seen.size)).collect();
    let noted: Vec<&Seen> = seen.iter().filter(|seen| seen.known.is_noted()).collect();
    let ends = [by_size.first(), by_size.last()].into_iter().flatten();
    let names = names(dataset, groups.iter().flatten().chain(&odd).chain(&noted).chain(ends).copied());
    let name = |seen: &Seen| names[&(seen.split, seen.index)].clone();
    Inspection {
        train: dataset.train.len(),
        val: dataset.val.len(),
        classes: class_counts(dataset, &seen, truth),
        truths: match truth {
            TruthKind::Class => None,
            TruthKind::Objects => Some(TruthFacts::Objects(ObjectFacts::of(&seen, &dataset.classes, &name))),
            TruthKind::Mask => Some(TruthFacts::Masks(MaskFacts::of(&seen, dataset.classes.len(), &name))),
            TruthKind::Depth => Some(TruthFacts::Depths(DepthFacts::of(&seen, &name))),
        },
        formats,
        sizes: by_size.first().zip(by_size.last()).map(|(smallest, largest)| Sizes {
            smallest: (name(smallest), smallest.size),
            median: by_size[by_size.len() / 2].size,
            largest: (name(largest), largest.size),
        }),
        grey: count(|facts| facts.grey),
        cmyk: count(|facts| facts.cmyk),
        alpha: count(|facts| facts.alpha),
        deep: count(|facts| facts.deep),
        turned: count(|facts| facts.turned),
        odd_shapes: odd.iter().map(|s| Named { picture: name(s), note: size(s.size) }).collect(),
        broken,
        without_truth,
        duplicates: groups.iter().map(|group| Duplicates::of(group, group.iter().map(|s| name(s)).collect())).collect(),
        passed_over: dataset.passed_over.clone(),
    }
}

fn look(source: &dyn Source, split: Split, index: usize) -> Result<Seen, Unseen> {
    let (picture, facts, truth) = match source.bytes(index) {
        Some(bytes) => {
            let unusable = |problem| Unseen::Broken(Error::Picture { path: source.name(index).into(), problem });
            let bytes = bytes.map_err(Unseen::Broken)?;
            let (picture, facts) = decode_bytes_with_facts(&bytes).map_err(unusable)?;
            let truth = source.label(index).map(|label| Ok(Truth::Class(label)));
            let truth = truth.or_else(|| source.truth(index, picture.dimensions().into()));
            let truth = truth.unwrap_or_else(|| source.sample(index).map(|sample| sample.truth));
            (picture, Some(facts), truth.map_err(Unseen::WithoutTruth)?)
        }
        None => {
            let Sample { image, truth } = source.sample(index).map_err(Unseen::Broken)?;
            (image, None, truth)
        }
    };
    let size = [picture.width(), picture.height()];
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(u64::from(size[0]) << 32 | u64::from(size[1]));
    hasher.write(picture.as_raw());
    Ok(Seen { split, index, known: Known::of(&truth, size), size, hash: hasher.finish(), facts })
}

/// A picture's name, preceded by its split's.
fn within(dataset: &Dataset, split: Split, picture: &str) -> String {
    format!("{}/{picture}", dataset.split_name(split))
}

/// The names of these pictures. A shard is searched once for all of its pictures.
fn names<'s>(dataset: &Dataset, seen: impl Iterator<Item = &'s Seen>) -> HashMap<(Split, usize), String> {
    let wanted: BTreeSet<(Split, usize)> = seen.map(|seen| (seen.split, seen.index)).collect();
    let of_split = |split: Split| {
        let indices: Vec<usize> = wanted.iter().filter(|(of, _)| *of == split).map(|&(_, index)| index).collect();
        let names = dataset.split(split).names_of(&indices);
        let named = move |(index, name): (usize, String)| ((split, index), within(dataset, split, &name));
        indices.into_iter().zip(names).map(named).collect::<Vec<_>>()
    };
    [Split::Train, Split::Val].into_iter().flat_map(of_split).collect()
}

/// How often each class occurs. Classes of pictures are known of broken ones too.
fn class_counts(dataset: &Dataset, seen: &[Seen], truth: TruthKind) -> Vec<ClassCounts> {
    let empty = |name: &String| ClassCounts { name: name.clone(), train: 0, val: 0 };
    let mut counts: Vec<ClassCounts> = dataset.classes.iter().map(empty).collect();
    for split in [Split::Train, Split::Val] {
        let source = dataset.split(split);
        let occurring: Vec<u32> = match truth {
            TruthKind::Class => (0..source.len()).filter_map(|index| source.label(index)).collect(),
            _ => seen.iter().filter(|seen| seen.split == split).flat_map(|seen| seen.known.classes()).collect(),
        };
        for class in occurring {
            let class = &mut counts[class as usize];
            *(if split == Split::Train { &mut class.train } else { &mut class.val }) += 1;
        }
    }
    counts
}

/// The pictures by the number of their pixels.
fn by_size(seen: &[Seen]) -> Vec<&Seen> {
    let mut by_size: Vec<&Seen> = seen.iter().collect();
    by_size.sort_by_key(|seen| u64::from(seen.size[0]) * u64::from(seen.size[1]));
    by_size
}

/// Pictures that are equal, in groups.
fn groups(seen: &[Seen]) -> Vec<Vec<&Seen>> {
    let mut by_hash: HashMap<u64, Vec<&Seen>> = HashMap::with_capacity(seen.len());
    seen.iter().for_each(|seen| by_hash.entry(seen.hash).or_default().push(seen));
    let mut groups: Vec<Vec<&Seen>> = by_hash.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_by_key(|group| (group[0].split, group[0].index));
    groups
}

impl Duplicates {
    fn of(group: &[&Seen], pictures: Vec<String>) -> Self {
        let first = group[0];
        Self {
            pictures,
            across_splits: group.iter().any(|seen| seen.split != first.split),
            across_classes: group.iter().any(|seen| match (&seen.known, &first.known) {
                (Known::Class(class), Known::Class(other)) => class != other,
                _ => false,
            }),
        }
    }
}

fn is_odd([width, height]: [u32; 2]) -> bool {
    f64::from(width.max(height)) > ODD_RATIO * f64::from(width.min(height))
}

/// A size in words.
pub(crate) fn size([width, height]: [u32; 2]) -> String {
    format!("{width} x {height} px")
}
