//! What a shard holds, from one pass over its headers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::Error;
use super::super::decode::{ENDINGS, MAX_BYTES};

/// The classes of shards without `classes.txt`: more than any data set has (ImageNet-21k: 21,841), so that a larger number
/// means a damaged file, not millions of classes.
const MOST_CLASSES: usize = 1 << 16;

/// The largest member that holds a class: metadata in JSON has a few hundred bytes.
const MAX_CLASS_BYTES: u64 = 1 << 20;

/// Tars come in blocks, and one of zeros is their end.
const BLOCK_BYTES: u64 = 512;

/// The most zeros behind the last member: writers of tar fill up a record, of 10 KiB for most.
const MOST_PADDING_BYTES: u64 = 1 << 20;

/// Which classes there can be.
#[derive(Clone, Copy)]
pub(super) enum Classes {
    /// As many as `classes.txt` has lines.
    Named(usize),
    /// Without a `classes.txt`.
    Numbered,
}

impl Classes {
    /// Checks a class's range.
    fn label(self, class: u64) -> Result<u32, String> {
        let (count, whose) = match self {
            Self::Named(count) => (count, "classes.txt names"),
            Self::Numbered => (MOST_CLASSES, "without a classes.txt, there can be"),
        };
        match u32::try_from(class) {
            Ok(label) if (label as usize) < count => Ok(label),
            _ => Err(format!("class {class} is out of range: {whose} {count}, counted from 0; correct one of the two")),
        }
    }
}

/// Where a sample's picture lies in its shard, and its class.
pub(super) struct Entry {
    /// Bytes from the shard's start.
    pub(super) offset: u64,
    /// Bytes of the picture's file.
    pub(super) length: u32,
    pub(super) label: u32,
}

/// What is known of a sample before all of its members were seen.
#[derive(Default)]
struct Found {
    key: String,
    /// Offset and length.
    picture: Option<(u64, u32)>,
    label: Option<u32>,
}

/// A shard's samples in order of appearance. As WebDataset has it, a member's key is its path up to the first dot of the file's
/// name; other members than pictures and classes are passed over.
pub(super) fn scan(shard: &Path, classes: Classes) -> Result<Vec<Entry>, Error> {
    let file = File::open(shard).map_err(Error::read(shard))?;
    let shard_bytes = file.metadata().map_err(Error::read(shard))?.len();
    let mut archive = tar::Archive::new(file);
    let mut samples: Vec<Found> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let (mut end, mut last) = (0, "its start".to_owned());
    for member in archive.entries_with_seek().map_err(Error::read(shard))? {
        let mut member = member.map_err(|error| {
            let problem = format!("no tar, or cut short or damaged after {last} ({error}): fetch or write it again");
            Error::invalid(shard, problem)
        })?;
        let name = name_of(&member);
        let invalid = |problem: String| Error::invalid(within(shard, &name), problem);
        let (offset, length) = (member.raw_file_position(), member.size());
        end = offset.saturating_add(length);
        if end > shard_bytes {
            return Err(invalid(format!(
                "the shard is cut short in this member, which should end at byte {end} of {shard_bytes}: fetch or write \
                 the shard again"
            )));
        }
        if let (true, Some((key, ending))) = (member.header().entry_type().is_file(), split(&name)) {
            let at = *by_key.entry(key.to_owned()).or_insert(samples.len());
            if at == samples.len() {
                samples.push(Found { key: key.to_owned(), ..Found::default() });
            }
            let sample = &mut samples[at];
            if ENDINGS.contains(&&*ending) {
                if length > MAX_BYTES {
                    return Err(invalid(format!("has {length} bytes: a picture may have {} MiB", MAX_BYTES >> 20)));
                }
                if sample.picture.replace((offset, length as u32)).is_some() {
                    return Err(invalid(format!(
                        "a second picture for {key}: give each sample of a shard a key of its own"
                    )));
                }
            } else if let Some(class) = class(&mut member, &ending).map_err(invalid)? {
                let label = classes.label(class).map_err(invalid)?;
                if sample.label.replace(label).is_some_and(|before| before != label) {
                    return Err(invalid(format!("a second class for {key}, another one: leave one of them")));
                }
            }
        }
        last = name;
    }
    if shard_bytes < end.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES {
        let problem = format!("cut short after {last}, since no block of zeros marks the end: fetch or write it again");
        return Err(Error::invalid(shard, problem));
    }
    check_tail(shard, end.next_multiple_of(BLOCK_BYTES))?;
    samples.into_iter().map(|sample| sample.complete(shard)).collect()
}

/// Whether what follows the last member is zeros, and no more of them than writers of tar fill up with.
fn check_tail(shard: &Path, end: u64) -> Result<(), Error> {
    let mut file = File::open(shard).map_err(Error::read(shard))?;
    file.seek(SeekFrom::Start(end)).map_err(Error::read(shard))?;
    let mut tail = Vec::new();
    file.take(MOST_PADDING_BYTES + 1).read_to_end(&mut tail).map_err(Error::read(shard))?;
    if tail.iter().any(|&byte| byte != 0) {
        let problem =
            format!("more follows its end at byte {end}: give each of several joined archives a file of its own");
        return Err(Error::invalid(shard, problem));
    }
    if tail.len() as u64 > MOST_PADDING_BYTES {
        let problem = format!("nothing but zeros from byte {end} on, as a broken download leaves them: fetch it again");
        return Err(Error::invalid(shard, problem));
    }
    Ok(())
}

impl Found {
    fn complete(self, shard: &Path) -> Result<Entry, Error> {
        let Self { key, picture, label } = self;
        let invalid = |problem: String| Err(Error::invalid(within(shard, &key), problem));
        match (picture, label) {
            (Some((offset, length)), Some(label)) => Ok(Entry { offset, length, label }),
            (Some(_), None) => invalid(format!(
                "a picture without a class: add {key}.cls, which holds the class's number, or {key}.json with it as \"label\""
            )),
            (None, _) => invalid(format!("a class without a picture: add {key}.jpg, .jpeg, .png or .webp")),
        }
    }
}

/// Name of the member whose content starts at `offset`, as a path into the shard.
pub(super) fn member_at(shard: &Path, offset: u64) -> Option<PathBuf> {
    let mut archive = tar::Archive::new(File::open(shard).ok()?);
    let mut members = archive.entries_with_seek().ok()?.map_while(Result::ok);
    members.find(|member| member.raw_file_position() == offset).map(|member| within(shard, &name_of(&member)))
}

fn name_of(member: &tar::Entry<'_, impl Read>) -> String {
    String::from_utf8_lossy(&member.path_bytes()).into_owned()
}

/// The path of a member, as if the shard were a folder.
fn within(shard: &Path, name: &str) -> PathBuf {
    shard.join(name.trim_start_matches('/'))
}

/// Key and ending, in lower case; nothing for hidden files and those without an ending.
fn split(name: &str) -> Option<(&str, String)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    (dot > file).then(|| (&name[..dot], name[dot + 1..].to_lowercase()))
}

/// The class that a member holds: as its text, or as the integer "label" of its JSON. `None` if it is of another kind, or JSON
/// without a label.
fn class(member: &mut tar::Entry<'_, impl Read>, ending: &str) -> Result<Option<u64>, String> {
    if !matches!(ending, "cls" | "json") {
        return Ok(None);
    }
    if member.size() > MAX_CLASS_BYTES {
        return Err(format!("has {} bytes: what tells a class may have {} KiB", member.size(), MAX_CLASS_BYTES >> 10));
    }
    let mut text = String::new();
    member.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let shown = || text.chars().take(40).collect::<String>();
    if ending == "cls" {
        let class = text.trim().parse();
        return class.map(Some).map_err(|_| format!("{:?} is no class: write its number, from 0", shown()));
    }
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("no JSON ({error})"))?;
    match json.get("label") {
        None => Ok(None),
        Some(label) => {
            label.as_u64().map(Some).ok_or_else(|| format!("\"label\" is {label}: give the class's number, from 0"))
        }
    }
}
