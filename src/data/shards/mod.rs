//! `shards:DIR`: tar files in WebDataset's layout, for data sets that are too large for memory or for a file a picture.
//!
//! Opening reads the tars' headers and classes and keeps where each picture lies, 16 bytes a sample. Pictures are read when asked
//! for. An epoch goes through the shards in random order and shuffles within a window, so that reading is nearly sequential;
//! whoever writes shards should shuffle the samples first, since shards of one class each stay together.

mod scan;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::decode::{decode_bytes, visible};
use super::random::{Purpose, generator};
use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source, order};
use scan::{Classes, Entry};

/// Samples in the shuffle buffer: 450 MB of ImageNet's pictures, so that what is read ahead stays in the page cache.
const BUFFER_SAMPLES: usize = 4096;

/// Endings, after `.tar`, of what compression makes.
const COMPRESSED: [&str; 6] = [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar.lz4"];

/// Opens a folder with `train-*.tar` and `val-*.tar`, or `train/*.tar` and `val/*.tar`. Classes are the lines of `classes.txt`, or
/// numbers. Every class needs pictures to learn from if there are any to validate with.
pub(super) fn open(directory: &Path) -> Result<Dataset, Error> {
    let named = class_names(&directory.join("classes.txt"))?;
    let limit = named.as_ref().map_or(Classes::Numbered, |names| Classes::Named(names.len()));
    let train = Shards::open(directory, "train", limit)?;
    let val = Shards::open(directory, "val", limit)?;

    let count = train.entries.iter().map(|entry| entry.label as usize + 1).max().unwrap_or(0);
    let mut learnt = vec![false; count];
    for entry in &train.entries {
        learnt[entry.label as usize] = true;
    }
    if learnt.iter().filter(|&&learnt| learnt).count() < 2 {
        return Err(Error::invalid(directory, "the training shards have fewer than 2 classes: add samples of others"));
    }
    if let Some(at) = val.entries.iter().position(|entry| learnt.get(entry.label as usize) != Some(&true)) {
        let class = val.entries[at].label;
        let name = named.as_ref().map_or(String::new(), |names| format!(" ({})", names[class as usize]));
        let problem =
            format!("class {class}{name} is in no training shard: add samples of it to those, or remove this one");
        return Err(Error::invalid(val.member(at), problem));
    }
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(train),
        val: Arc::new(val),
        classes: named.unwrap_or_else(|| (0..count).map(|class| class.to_string()).collect()),
        mean,
        std,
        native_res: None,
    })
}

/// One split.
struct Shards {
    /// The files, sorted, with the numbers of their samples.
    shards: Vec<(PathBuf, Range<usize>)>,
    entries: Vec<Entry>,
}

impl Shards {
    fn open(directory: &Path, split: &str, classes: Classes) -> Result<Self, Error> {
        let paths = list(directory, split)?;
        let scanned: Vec<Result<Vec<Entry>, Error>> = paths.par_iter().map(|path| scan::scan(path, classes)).collect();
        let (mut shards, mut entries) = (Vec::new(), Vec::new());
        for (path, scanned) in paths.into_iter().zip(scanned) {
            let start = entries.len();
            entries.extend(scanned?);
            shards.push((path, start..entries.len()));
        }
        if entries.is_empty() {
            let problem = format!("the {split} shards hold no samples: members KEY.jpg and KEY.cls are needed");
            return Err(Error::invalid(directory, problem));
        }
        entries.shrink_to_fit();
        Ok(Self { shards, entries })
    }

    /// The file that holds a sample.
    fn shard(&self, index: usize) -> &Path {
        &self.shards[self.shards.partition_point(|(_, samples)| samples.end <= index)].0
    }

    /// What a sample's picture is called, for messages: names are not kept, so the shard is searched.
    fn member(&self, index: usize) -> PathBuf {
        let shard = self.shard(index);
        scan::member_at(shard, self.entries[index].offset).unwrap_or_else(|| shard.to_owned())
    }
}

impl Source for Shards {
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Opens the shard anew, since there may be more shards than a process may keep open.
    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let (shard, entry) = (self.shard(index), &self.entries[index]);
        let mut bytes = vec![0; entry.length as usize];
        let read = File::open(shard).and_then(|mut file| {
            file.seek(SeekFrom::Start(entry.offset))?;
            file.read_exact(&mut bytes)
        });
        read.map_err(Error::read(shard))?;
        let image = decode_bytes(&bytes).map_err(|problem| Error::Picture { path: self.member(index), problem })?;
        Ok(Sample { image, label: entry.label })
    }

    fn order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let samples: Vec<Range<usize>> = self.shards.iter().map(|(_, samples)| samples.clone()).collect();
        order::buffered(&samples, BUFFER_SAMPLES, &mut generator(seed, Purpose::Shuffle, epoch, 0))
    }
}

/// Lines of `classes.txt`, if there is one.
fn class_names(path: &Path) -> Result<Option<Vec<String>>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
    Ok(Some(text.trim_end().lines().map(|line| line.trim().to_owned()).collect()))
}

/// A split's shards, sorted by name.
fn list(directory: &Path, split: &str) -> Result<Vec<PathBuf>, Error> {
    let (prefix, folder) = (format!("{split}-"), directory.join(split));
    let mut paths: Vec<PathBuf> = visible(directory)?
        .iter()
        .filter(|name| name.to_string_lossy().starts_with(&prefix))
        .map(|name| directory.join(name))
        .collect();
    if folder.is_dir() {
        paths.extend(visible(&folder)?.iter().map(|name| folder.join(name)));
    }
    let compressed = |path: &&PathBuf| COMPRESSED.iter().any(|ending| path.to_string_lossy().ends_with(ending));
    if let Some(path) = paths.iter().find(compressed) {
        let problem = "is compressed, so that nothing in it can be read by its place: unpack it to .tar (gzip -d, zstd -d, \
                       xz -d), which takes hardly more room, since pictures are compressed already";
        return Err(Error::invalid(path, problem));
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "tar"));
    if paths.is_empty() {
        return Err(Error::invalid(directory, format!("no shards {split}-*.tar or {split}/*.tar here")));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
