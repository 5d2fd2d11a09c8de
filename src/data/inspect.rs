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
use super::{Dataset, Error, Sample, Source, Split};
use crate::words::{self, listed};

/// Aspect ratio beyond which a square crop cuts off most of a picture.
const ODD_RATIO: f64 = 4.0;

/// The most names of classes that a line lists.
const MOST_NAMES: usize = 10;

/// The fault of a data set without training pictures.
const NOTHING_TO_LEARN: &str = "no training pictures: put most of each class into train/CLASS. Folders of classes \
                                alone, without train or val around them, are taken for validation";

/// What [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Pictures of each class by split.
    pub classes: Vec<ClassCounts>,
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
    /// Readable pictures with one side more than four times the other.
    pub odd_shapes: Vec<Named>,
    /// Pictures that cannot be read.
    pub broken: Vec<Named>,
    /// Sets of pictures that are equal pixel by pixel.
    pub duplicates: Vec<Duplicates>,
    /// Other files in the data's folders.
    pub passed_over: PassedOver,
}

/// A class and how many pictures it has, broken ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Its name.
    pub name: String,
    /// Training pictures.
    pub train: usize,
    /// Validation pictures.
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
    /// Whether they have different classes: then some labels are wrong.
    pub across_classes: bool,
}

/// Facts on a readable picture.
struct Seen {
    split: Split,
    index: usize,
    label: u32,
    size: [u32; 2],
    /// Hash of its size and pixels.
    hash: u64,
    facts: Option<Facts>,
}

/// Reads every picture of both splits once, on all cores. `progress` is called with the number done and the total.
pub fn inspect(dataset: &Dataset, progress: &(dyn Fn(usize, usize) + Sync)) -> Inspection {
    let total = dataset.train.len() + dataset.val.len();
    let done = AtomicUsize::new(0);
    let of_split = |split: Split| {
        let source = dataset.split(split);
        let one = |index: usize| {
            let seen = look(&**source, split, index).map_err(|error| Broken::new(&**source, index, &error));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            seen
        };
        (0..source.len()).into_par_iter().map(one).collect::<Vec<Result<Seen, Broken>>>()
    };
    let (mut seen, mut broken) = (Vec::new(), Vec::new());
    for split in [Split::Train, Split::Val] {
        for picture in of_split(split) {
            match picture {
                Ok(picture) => seen.push(picture),
                Err(b) => broken.push(Named { picture: within(dataset, split, &b.picture), note: b.problem }),
            }
        }
    }
    let count = |is: fn(&Facts) -> bool| seen.iter().filter(|s| s.facts.as_ref().is_some_and(is)).count();
    let mut formats = BTreeMap::new();
    seen.iter().filter_map(|s| s.facts).for_each(|facts| *formats.entry(facts.format).or_default() += 1);
    let by_size = by_size(&seen);
    let groups = groups(&seen);
    let odd: Vec<&Seen> = seen.iter().filter(|seen| is_odd(seen.size)).collect();
    let ends = [by_size.first(), by_size.last()].into_iter().flatten();
    let names = names(dataset, groups.iter().flatten().chain(&odd).chain(ends).copied());
    let name = |seen: &Seen| names[&(seen.split, seen.index)].clone();
    Inspection {
        classes: class_counts(dataset),
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
        odd_shapes: odd.iter().map(|s| Named { picture: name(s), note: size(s.size) }).collect(),
        broken,
        duplicates: groups.iter().map(|group| Duplicates::of(group, group.iter().map(|s| name(s)).collect())).collect(),
        passed_over: dataset.passed_over.clone(),
    }
}

fn look(source: &dyn Source, split: Split, index: usize) -> Result<Seen, Error> {
    let (picture, label, facts) = match (source.bytes(index), source.label(index)) {
        (Some(bytes), Some(label)) => {
            let unusable = |problem| Error::Picture { path: source.name(index).into(), problem };
            let (picture, facts) = decode_bytes_with_facts(&bytes?).map_err(unusable)?;
            (picture, label, Some(facts))
        }
        _ => {
            let Sample { image, truth } = source.sample(index)?;
            let label = truth.class().unwrap_or_else(|| unreachable!("it was opened for its classes"));
            (image, label, None)
        }
    };
    let size = [picture.width(), picture.height()];
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(u64::from(size[0]) << 32 | u64::from(size[1]));
    hasher.write(picture.as_raw());
    Ok(Seen { split, index, label, size, hash: hasher.finish(), facts })
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

fn class_counts(dataset: &Dataset) -> Vec<ClassCounts> {
    let empty = |name: &String| ClassCounts { name: name.clone(), train: 0, val: 0 };
    let mut counts: Vec<ClassCounts> = dataset.classes.iter().map(empty).collect();
    for split in [Split::Train, Split::Val] {
        let source = dataset.split(split);
        for label in (0..source.len()).filter_map(|index| source.label(index)) {
            let class = &mut counts[label as usize];
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
            across_classes: group.iter().any(|seen| seen.label != first.label),
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

impl Inspection {
    /// Pictures of a split, broken ones included.
    pub fn pictures(&self, split: Split) -> usize {
        let of_class = |class: &ClassCounts| if split == Split::Train { class.train } else { class.val };
        self.classes.iter().map(of_class).sum()
    }

    /// Names of some classes.
    fn names(&self, which: impl Fn(&ClassCounts) -> bool) -> Vec<&str> {
        self.classes.iter().filter(|class| which(class)).map(|class| class.name.as_str()).collect()
    }

    /// What must be fixed before training on these pictures makes sense, one line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut add = |count: usize, fault: String| {
            if count > 0 {
                faults.push(fault)
            }
        };
        // A number without any picture, like EMNIST's 0, is not a class that somebody has named.
        let is_nothing = |class: &ClassCounts| class.val == 0 && class.name.parse::<u32>().is_ok();
        let untrained: Vec<&str> = self.names(|class| class.train == 0 && !is_nothing(class));
        let fault = match self.pictures(Split::Train) {
            0 => NOTHING_TO_LEARN.to_owned(),
            _ => format!("no training pictures of {}", listed(untrained.iter(), MOST_NAMES)),
        };
        add(untrained.len(), fault);
        add(usize::from(self.classes.len() < 2), "fewer than 2 classes: there is nothing to tell apart".to_owned());
        add(usize::from(self.pictures(Split::Val) == 0), "no validation pictures".to_owned());
        add(self.broken.len(), format!("{} cannot be read", pictures(self.broken.len())));
        let leaks: usize = self.duplicates.iter().filter(|group| group.across_splits).count();
        add(leaks, format!("{} in both splits, so that the validation is too good", pictures(leaks)));
        let torn = self.duplicates.iter().filter(|group| group.across_classes).count();
        add(torn, format!("{} in several classes, of which one at most is right", pictures(torn)));
        faults
    }

    /// What else a person should know, one line each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let mut add = |count: usize, remark: String| {
            if count > 0 {
                remarks.push(remark)
            }
        };
        let unvalidated = self.names(|class| class.val == 0 && class.train > 0);
        if self.pictures(Split::Val) > 0 {
            add(unvalidated.len(), format!("no validation pictures of {}", listed(unvalidated.iter(), MOST_NAMES)));
        }
        let counts = || self.classes.iter().map(|class| class.train).filter(|&train| train > 0);
        if let (Some(fewest), Some(most)) = (counts().min(), counts().max()) {
            let uneven = usize::from(most >= 10 * fewest);
            add(uneven, format!("classes differ much in size: {fewest} to {most} training pictures"));
        }
        let repeated = self.duplicates.iter().filter(|group| !group.across_splits && !group.across_classes);
        let repeated: usize = repeated.map(|group| group.pictures.len() - 1).sum();
        add(repeated, format!("{} repeated within a class of a split", pictures(repeated)));
        let odd = self.odd_shapes.len();
        add(
            odd,
            format!("{} more than {ODD_RATIO} times as long as wide: a square crop sees little of them", pictures(odd)),
        );
        let all: usize = self.formats.values().sum();
        add(usize::from(self.grey < all) * self.grey, format!("{} grey among coloured ones", pictures(self.grey)));
        add(self.cmyk, format!("{} in CMYK, converted to RGB", pictures(self.cmyk)));
        add(self.alpha, format!("{} with transparency, which is ignored", pictures(self.alpha)));
        add(self.deep, format!("{} of more than 8 bits a channel, reduced to 8", pictures(self.deep)));
        add(usize::from(!self.passed_over.is_empty()), format!("passed over: {}", self.passed_over));
        remarks
    }
}

fn pictures(number: usize) -> String {
    words::count(number, "picture")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use image::{Rgb, RgbImage};

    use super::super::TruthKind;
    use super::*;

    fn picture(value: u8, [width, height]: [u32; 2]) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([value, x as u8, y as u8]))
    }

    fn put(folder: &Path, place: &str, picture: &RgbImage) {
        let path = folder.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    }

    fn look_at(folder: &Path) -> Inspection {
        let dataset = Dataset::open_for_inspection(&format!("folder:{}", folder.display()), TruthKind::Class).unwrap();
        inspect(&dataset, &|_, _| ())
    }

    #[test]
    fn sound_data_has_no_faults() {
        let folder = tempfile::tempdir().unwrap();
        for (at, place) in ["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"].iter().enumerate() {
            put(folder.path(), place, &picture(at as u8, [8, 6 + at as u32]));
        }
        let found = look_at(folder.path());
        assert_eq!((found.faults(), found.remarks()), (vec![], vec![]));
        let class = |name: &str| ClassCounts { name: name.into(), train: 1, val: 1 };
        assert_eq!(found.classes, [class("a"), class("b")]);
        let sizes = found.sizes.unwrap();
        assert_eq!((sizes.smallest, sizes.median), (("train/a/1.png".into(), [8, 6]), [8, 8]));
        assert_eq!(sizes.largest, ("val/b/1.png".into(), [8, 9]));
        assert_eq!(found.formats, BTreeMap::from([("PNG", 4)]));
    }

    #[test]
    fn folders_of_classes_alone_are_told_where_to_go() {
        let folder = tempfile::tempdir().unwrap();
        for (class, value) in [("cat", 1), ("dog", 2)] {
            put(folder.path(), &format!("{class}/{value}.png"), &picture(value, [8, 8]));
        }
        assert_eq!(look_at(folder.path()).faults(), [NOTHING_TO_LEARN]);
    }

    #[test]
    fn every_fault_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let [one, two, three] = [1, 2, 3].map(|value| picture(value, [8, 8]));
        for (place, picture) in [
            // In both splits, whatever the format.
            ("train/a/1.png", &one),
            ("val/a/copy.bmp", &one),
            // In two classes.
            ("train/a/2.png", &two),
            ("train/b/2.png", &two),
            // Twice in one.
            ("train/b/3.png", &three),
            ("train/b/deeper/4.png", &three),
            ("val/only-here/5.png", &picture(5, [8, 8])),
            ("train/a/long.png", &picture(6, [50, 10])),
        ] {
            put(path, place, picture);
        }
        image::GrayImage::new(8, 8).save(path.join("train/a/grey.png")).unwrap();
        std::fs::write(path.join("train/a/broken.jpg"), "").unwrap();
        std::fs::write(path.join("train/a/notes.txt"), "").unwrap();
        std::fs::create_dir(path.join("train/never")).unwrap();
        let found = look_at(path);
        assert_eq!(found.broken.len(), 1);
        assert_eq!(found.broken[0].picture, "train/a/broken.jpg");
        assert_eq!(
            found.faults(),
            [
                "no training pictures of never, only-here",
                "1 picture cannot be read",
                "1 picture in both splits, so that the validation is too good",
                "1 picture in several classes, of which one at most is right",
            ]
        );
        assert_eq!(
            found.remarks(),
            [
                "no validation pictures of b",
                "1 picture repeated within a class of a split",
                "1 picture more than 4 times as long as wide: a square crop sees little of them",
                "1 picture grey among coloured ones",
                "passed over: 1 .txt",
            ]
        );
        let pictures: Vec<&[String]> = found.duplicates.iter().map(|group| &group.pictures[..]).collect();
        assert_eq!(
            pictures,
            [
                &["train/a/1.png", "val/a/copy.bmp"].map(String::from)[..],
                &["train/a/2.png", "train/b/2.png"].map(String::from),
                &["train/b/3.png", "train/b/deeper/4.png"].map(String::from),
            ]
        );
        assert_eq!(found.odd_shapes[0], Named { picture: "train/a/long.png".into(), note: "50 x 10 px".into() });
    }
}
