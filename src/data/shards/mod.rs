//! `shards:DIR`: tar files in WebDataset's layout, for data sets that are too large for memory or for one file per
//! picture.
//!
//! Opening reads the tars' headers and classes and keeps where each picture lies, 16 bytes a sample. Pictures are read
//! on demand. An epoch goes through the shards in random order and shuffles within a window, so that reading is nearly
//! sequential. Samples should be shuffled before the shards are written: a shard of one class stays together.

mod scan;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::dataset::Nothing;
use super::decode::decode_bytes;
use super::random::{Purpose, generator};
use super::split::{Split, Wanted, plain_names};
use super::walk::{PassedOver, contents, visible};
use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source, Truth, classes, order};
use crate::files;
use scan::{Entry, Scan};

/// Samples in the shuffle buffer: 450 MB of ImageNet's pictures, so that read-ahead data stays in the page cache.
const BUFFER_SAMPLES: usize = 4096;

/// Endings of compressed tars, and the programs that unpack them.
const COMPRESSED: [(&str, &str); 7] = [
    (".tar.gz", "gzip -d"),
    (".tgz", "gzip -d"),
    (".tar.zst", "zstd -d"),
    (".tar.xz", "xz -d"),
    (".tar.bz2", "bzip2 -d"),
    (".tar.lz4", "lz4 -d"),
    (".tar.z", "uncompress"),
];

/// Opens a folder with `train-*.tar` and `val-*.tar`, or `train/*.tar` and `val/*.tar`; the other names of
/// [`Split::names`] count as well, also in the middle of a file name (`imagenet1k-validation-00.tar`). Classes are
/// numbers or names. Names come from `classes.txt`, or else from the training samples. Validation alone needs only the
/// validation shards.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let listed = directory.join("classes.txt");
    let listed = if listed.exists() { Some(files::lines(&listed)?) } else { None };
    let train_paths = list(directory, Split::Train, &[])?;
    // A name with words of both splits, such as speed-test-train-0.tar, belongs to training.
    let val_paths = list(directory, Split::Val, &train_paths)?;
    let train = match wanted {
        Wanted::Validation if train_paths.is_empty() => None,
        _ => Some(Shards::open(directory, Split::Train, train_paths, listed.as_deref())?),
    };
    let val = match wanted {
        Wanted::Everything if val_paths.is_empty() => Shards::default(),
        _ => Shards::open(directory, Split::Val, val_paths, listed.as_deref())?,
    };

    let mut given: Vec<String> = train.as_ref().unwrap_or(&val).names.clone();
    if wanted == Wanted::Everything {
        given.extend(val.names.iter().cloned());
    }
    classes::sort(&mut given);
    given.dedup();
    let splits = [train.as_ref(), Some(&val)].into_iter().flatten();
    let numbered = splits.filter(|shards| !shards.is_empty()).any(|shards| shards.names.is_empty());
    if numbered && listed.is_none() && !given.is_empty() {
        let problem = "classes are numbers in some shards and names in others: write all of them alike";
        return Err(Error::invalid(directory, problem));
    }
    let (train, val) = (train.map(|train| train.numbered_by(&given)).transpose()?, val.numbered_by(&given)?);
    let learnt = train.as_ref().map(Shards::classes);
    if let (Some(learnt), Wanted::Training) = (&learnt, wanted)
        && learnt.iter().filter(|&&learnt| learnt).count() < 2
    {
        return Err(Error::invalid(directory, "the training shards have fewer than 2 classes: add samples of others"));
    }
    let names = listed.or(Some(given).filter(|given| !given.is_empty()));
    if let (Some(learnt), true) = (&learnt, wanted != Wanted::Everything)
        && let Some(at) = val.entries.iter().position(|entry| learnt.get(entry.label as usize) != Some(&true))
    {
        let class = val.entries[at].label;
        let name = names.as_ref().map_or(String::new(), |names| format!(" ({})", names[class as usize]));
        let problem =
            format!("class {class}{name} is in no training shard: add samples of it to those, or remove this one");
        return Err(Error::invalid(val.member(at), problem));
    }
    let mut passed_over = train.as_ref().map(|train| train.passed_over.clone()).unwrap_or_default();
    passed_over.extend(&val.passed_over);
    let count = learnt.map_or(0, |learnt| learnt.len()).max(val.classes().len());
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: train.map_or_else(|| Arc::new(Nothing) as Arc<dyn Source>, |train| Arc::new(train)),
        val: Arc::new(val),
        classes: names.unwrap_or_else(|| (0..count).map(|class| class.to_string()).collect()),
        mean,
        std,
        native_res: None,
        mirrored: true,
        passed_over,
        split_names: plain_names(),
    })
}

/// One split.
#[derive(Default)]
struct Shards {
    /// The files, sorted, with the numbers of their samples.
    shards: Vec<(PathBuf, Range<usize>)>,
    entries: Vec<Entry>,
    /// Names of classes, which the entries' labels index; empty if the labels are the classes' numbers.
    names: Vec<String>,
    passed_over: PassedOver,
}

impl Shards {
    fn open(directory: &Path, split: Split, paths: Vec<PathBuf>, listed: Option<&[String]>) -> Result<Self, Error> {
        if paths.is_empty() {
            let problem = format!(
                "no shards {0}-*.tar or {0}/*.tar here; {1}. Names with {2} between dashes or dots count as well",
                split.name(),
                contents(directory),
                split.names().join(", ")
            );
            return Err(Error::invalid(directory, problem));
        }
        let listed: Option<HashMap<&str, u32>> =
            listed.map(|names| names.iter().map(String::as_str).zip(0..).collect());
        let scanned: Vec<Result<Scan, Error>> =
            paths.par_iter().map(|path| scan::scan(path, listed.as_ref())).collect();
        let (mut shards, mut entries) = (Vec::new(), Vec::new());
        let (mut names, mut passed_over): (HashMap<String, u32>, _) = (HashMap::new(), PassedOver::default());
        let mut numbered = false;
        for (path, scanned) in paths.into_iter().zip(scanned) {
            let scanned = scanned?;
            numbered |= listed.is_none() && scanned.names.is_empty() && !scanned.entries.is_empty();
            if numbered && !(names.is_empty() && scanned.names.is_empty()) {
                let problem = "its classes are numbers and those of other shards names, or the other way round: write \
                               all of them alike";
                return Err(Error::invalid(path, problem));
            }
            // Maps the shard's numbering of names to the split's.
            let of_name = |name: String| {
                let next = names.len() as u32;
                *names.entry(name).or_insert(next)
            };
            let renumbered: Vec<u32> = scanned.names.into_iter().map(of_name).collect();
            let start = entries.len();
            let label = |label: u32| renumbered.get(label as usize).copied().unwrap_or(label);
            entries.extend(scanned.entries.into_iter().map(|entry| Entry { label: label(entry.label), ..entry }));
            shards.push((path, start..entries.len()));
            passed_over.extend(&scanned.passed_over);
        }
        if entries.is_empty() {
            let split = split.name();
            let problem = format!("the {split} shards hold no samples: members KEY.jpg and KEY.cls are needed");
            return Err(Error::invalid(directory, problem));
        }
        entries.shrink_to_fit();
        Ok(Self { shards, entries, names: scan::in_order(names), passed_over })
    }

    /// Renumbers the labels as indices into these names, if the classes have names.
    fn numbered_by(mut self, names: &[String]) -> Result<Self, Error> {
        let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let at: Vec<Option<u32>> = self.names.iter().map(|name| numbers.get(name.as_str()).copied()).collect();
        if let Some(unknown) = at.iter().position(Option::is_none) {
            let index = self.entries.iter().position(|entry| entry.label as usize == unknown).unwrap_or(0);
            let problem = format!(
                "class {} is in no training shard: add samples of it to those, or remove this one",
                self.names[unknown]
            );
            return Err(Error::invalid(self.member(index), problem));
        }
        if !self.names.is_empty() {
            let at: Vec<u32> = at.into_iter().flatten().collect();
            self.entries.iter_mut().for_each(|entry| entry.label = at[entry.label as usize]);
        }
        Ok(self)
    }

    /// Whether each class has samples, up to the last class that has any.
    fn classes(&self) -> Vec<bool> {
        let count = self.entries.iter().map(|entry| entry.label as usize + 1).max().unwrap_or(0);
        let mut found = vec![false; count];
        self.entries.iter().for_each(|entry| found[entry.label as usize] = true);
        found
    }

    /// The file that holds a sample.
    fn shard(&self, index: usize) -> &Path {
        &self.shards[self.shards.partition_point(|(_, samples)| samples.end <= index)].0
    }

    /// The bytes of a picture. Opens the shard each time, since a process may not keep that many files open.
    fn read(&self, index: usize) -> Result<Vec<u8>, Error> {
        let (shard, entry) = (self.shard(index), &self.entries[index]);
        let mut bytes = vec![0; entry.length as usize];
        let read = File::open(shard).and_then(|mut file| {
            file.seek(SeekFrom::Start(entry.offset))?;
            file.read_exact(&mut bytes)
        });
        read.map_err(Error::read(shard))?;
        Ok(bytes)
    }

    /// The name of a sample's picture, for messages. Names are not kept in memory, so this searches the shard.
    fn member(&self, index: usize) -> PathBuf {
        let shard = self.shard(index);
        let offset = self.entries[index].offset;
        scan::members_at(shard, &[offset]).remove(&offset).unwrap_or_else(|| shard.to_owned())
    }
}

impl Source for Shards {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let bytes = self.read(index)?;
        let image = decode_bytes(&bytes).map_err(|problem| Error::Picture { path: self.member(index), problem })?;
        Ok(Sample { image, truth: Truth::Class(self.entries[index].label) })
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.entries[index].label)
    }

    /// Its path below the folder that the shard is in.
    fn name(&self, index: usize) -> String {
        self.names_of(&[index]).swap_remove(0)
    }

    /// Each shard is searched once.
    fn names_of(&self, indices: &[usize]) -> Vec<String> {
        let mut by_shard: BTreeMap<&Path, Vec<u64>> = BTreeMap::new();
        for &index in indices {
            by_shard.entry(self.shard(index)).or_default().push(self.entries[index].offset);
        }
        let members = by_shard.into_iter().map(|(shard, offsets)| (shard, scan::members_at(shard, &offsets)));
        let members: HashMap<&Path, HashMap<u64, PathBuf>> = members.collect();
        let name = |&index: &usize| {
            let shard = self.shard(index);
            let member = members[shard].get(&self.entries[index].offset).map_or(shard, PathBuf::as_path);
            let folder = shard.parent().unwrap_or(Path::new(""));
            member.strip_prefix(folder).unwrap_or(member).to_string_lossy().into_owned()
        };
        indices.iter().map(name).collect()
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.names_of(&(0..self.len()).collect::<Vec<_>>()))
    }

    fn are_files(&self) -> bool {
        true
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        Some(self.read(index))
    }

    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let samples: Vec<Range<usize>> = self.shards.iter().map(|(_, samples)| samples.clone()).collect();
        order::buffered(&samples, BUFFER_SAMPLES, &mut generator(seed, Purpose::Shuffle, epoch, 0))
    }
}

/// A split's shards, sorted by name: those whose file names contain the split's name, and all in a folder of that name,
/// except those of another split. A split has several names; the first with shards counts.
fn list(directory: &Path, split: Split, others: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let beside = visible(directory)?;
    for wanted in split.names() {
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            name.split(|c: char| !c.is_alphanumeric()).any(|part| part == *wanted)
        };
        let mut paths: Vec<PathBuf> = beside.iter().filter(is_it).filter(|path| path.is_file()).cloned().collect();
        for folder in beside.iter().filter(|path| path.file_name().is_some_and(|n| n.eq_ignore_ascii_case(wanted))) {
            if folder.is_dir() {
                paths.extend(visible(folder)?);
            }
        }
        if let Some((path, how)) = paths.iter().find_map(|path| Some((path, unpacking(path)?))) {
            let problem = format!(
                "is compressed, so that nothing in it can be read by its place: unpack it to .tar ({how} {}), which \
                 takes hardly more room, since pictures are compressed already",
                path.file_name().unwrap_or_default().to_string_lossy()
            );
            return Err(Error::invalid(path, problem));
        }
        let is_tar = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tar"));
        paths.retain(|path| is_tar(path) && !others.contains(path));
        if !paths.is_empty() {
            return Ok(paths);
        }
    }
    Ok(Vec::new())
}

/// The command that unpacks a compressed tar.
fn unpacking(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    COMPRESSED.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, how)| *how)
}

#[cfg(test)]
mod tests;
