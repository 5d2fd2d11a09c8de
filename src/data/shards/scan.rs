//! The content of a shard, from one pass over its headers.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::Error;
use super::super::decode::MAX_BYTES;
use super::super::walk::{ENDINGS, PassedOver, is_ending, is_junk};

/// The classes of shards without `classes.txt`: more than any data set has (ImageNet-21k: 21,841), so that a larger
/// number means a damaged file, not millions of classes.
const MOST_CLASSES: usize = 1 << 16;

/// The largest member that may hold a class: JSON metadata has a few hundred bytes.
const MAX_CLASS_BYTES: u64 = 1 << 20;

/// Tars consist of blocks of this size; a block of zeros is the end.
const BLOCK_BYTES: u64 = 512;

/// The most zeros after the last member: tar writers pad to a whole record, mostly of 10 KiB.
const MOST_PADDING_BYTES: u64 = 1 << 20;

/// Usual first parts of a dotted ending: `KEY.input.jpg`, `KEY.target.cls`.
const USUAL_PICTURES: [&str; 4] = ["input", "image", "img", "picture"];
const USUAL_CLASSES: [&str; 3] = ["target", "label", "class"];

/// The longest name of a class, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Where a sample's picture lies in its shard, and its class.
pub(super) struct Entry {
    /// Bytes from the shard's start.
    pub(super) offset: u64,
    /// Bytes of the picture's file.
    pub(super) length: u32,
    /// Its class; an index into [`Scan::names`] if there are any.
    pub(super) label: u32,
}

/// What a shard holds.
pub(super) struct Scan {
    pub(super) entries: Vec<Entry>,
    /// Names of classes, if the shard holds names and no `classes.txt` numbers them.
    pub(super) names: Vec<String>,
    /// Members that are neither pictures nor classes.
    pub(super) passed_over: PassedOver,
}

/// What is known about a sample before all of its members were seen. Plain endings rank before dotted ones.
#[derive(Default)]
struct Found {
    key: String,
    /// Rank, offset and length.
    picture: Option<(u8, u64, u32)>,
    /// Rank and label.
    label: Option<(u8, u32)>,
}

/// How a shard's classes become numbers.
struct Labels<'a> {
    /// The lines of `classes.txt` and their numbers.
    listed: Option<&'a HashMap<&'a str, u32>>,
    /// Names seen so far and their numbers, without a `classes.txt`.
    names: HashMap<String, u32>,
    /// Whether a number was seen, without a `classes.txt`.
    numbered: bool,
}

impl Labels<'_> {
    fn number(&mut self, class: u64) -> Result<u32, String> {
        let (count, whose) = match self.listed {
            Some(names) => (names.len(), "classes.txt names"),
            None => (MOST_CLASSES, "without a classes.txt, there can be"),
        };
        let label = u32::try_from(class).ok().filter(|&label| (label as usize) < count).ok_or_else(|| {
            format!("class {class} is out of range: {whose} {count}, counted from 0; correct one of the two")
        })?;
        self.numbered |= self.listed.is_none();
        self.unmixed(label)
    }

    fn name(&mut self, name: &str) -> Result<u32, String> {
        if let Some(listed) = self.listed {
            let known = listed.get(name).copied();
            return known.ok_or_else(|| format!("class {name:?} is not in classes.txt: add it there"));
        }
        let next = self.names.len() as u32;
        let label = match self.names.get(name) {
            Some(&label) => label,
            None => *self.names.entry(name.to_owned()).or_insert(next),
        };
        self.unmixed(label)
    }

    fn unmixed(&self, label: u32) -> Result<u32, String> {
        match self.numbered && !self.names.is_empty() {
            true => Err("some classes are numbers and others names: write all of them alike".to_owned()),
            false => Ok(label),
        }
    }
}

/// A shard's samples in order of appearance. A member's key is its path up to the first dot of the file's name, as in
/// WebDataset. `listed` holds the lines of `classes.txt`, if there is one, with their numbers.
pub(super) fn scan(shard: &Path, listed: Option<&HashMap<&str, u32>>) -> Result<Scan, Error> {
    let file = File::open(shard).map_err(Error::read(shard))?;
    let shard_bytes = file.metadata().map_err(Error::read(shard))?.len();
    let mut archive = tar::Archive::new(file);
    let mut samples: Vec<Found> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    let mut labels = Labels { listed, names: HashMap::new(), numbered: false };
    let mut passed_over = PassedOver::default();
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
                "the shard is cut short in this member, which should end at byte {end} of {shard_bytes}: fetch or \
                 write the shard again"
            )));
        }
        if let (true, Some((key, ending))) = (member.header().entry_type().is_file(), split(&name)) {
            let at = *by_key.entry(key.to_owned()).or_insert(samples.len());
            if at == samples.len() {
                samples.push(Found { key: key.to_owned(), ..Found::default() });
            }
            let (prefix, kind) = ending.rsplit_once('.').unwrap_or(("", &ending));
            if is_ending(kind.as_ref()) {
                samples[at].add_picture(rank(prefix, &USUAL_PICTURES), offset, length).map_err(invalid)?;
            } else if let Some(label) = class(&mut member, kind, &mut labels).map_err(invalid)? {
                samples[at].add_label(rank(prefix, &USUAL_CLASSES), label).map_err(invalid)?;
            } else {
                passed_over.add(&format!(".{kind}"), 1);
            }
        }
        last = name;
    }
    if shard_bytes < end.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES {
        let problem = format!("cut short after {last}, since no block of zeros marks the end: fetch or write it again");
        return Err(Error::invalid(shard, problem));
    }
    check_tail(shard, end.next_multiple_of(BLOCK_BYTES))?;
    // A member with neither picture nor class is not a sample: a README, an index.
    samples.retain(|sample| sample.picture.is_some() || sample.label.is_some());
    let entries = samples.into_iter().map(|sample| sample.complete(shard)).collect::<Result<_, _>>()?;
    Ok(Scan { entries, names: in_order(labels.names), passed_over })
}

/// Names in the order of their numbers.
pub(super) fn in_order(names: HashMap<String, u32>) -> Vec<String> {
    let mut names: Vec<(String, u32)> = names.into_iter().collect();
    names.sort_by_key(|&(_, number)| number);
    names.into_iter().map(|(name, _)| name).collect()
}

/// Rank of an ending by how likely it is the picture or class: plain ones first, then usual ones.
fn rank(prefix: &str, usual: &[&str]) -> u8 {
    if prefix.is_empty() { 0 } else { 1 + u8::from(!usual.contains(&prefix)) }
}

/// Fails unless only zeros follow the last member, and no more than tar writers pad with.
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
    fn add_picture(&mut self, rank: u8, offset: u64, length: u64) -> Result<(), String> {
        if length > MAX_BYTES {
            return Err(format!("has {length} bytes: a picture may have {} MiB", MAX_BYTES >> 20));
        }
        match self.picture {
            Some((before, ..)) if before == rank => {
                Err(format!("a second picture for {}: give each sample of a shard a key of its own", self.key))
            }
            Some((before, ..)) if before < rank => Ok(()),
            _ => {
                self.picture = Some((rank, offset, length as u32));
                Ok(())
            }
        }
    }

    fn add_label(&mut self, rank: u8, label: u32) -> Result<(), String> {
        match self.label {
            Some((before, other)) if before == rank && other != label => {
                Err(format!("a second class for {}, another one: leave one of them", self.key))
            }
            Some((before, _)) if before < rank => Ok(()),
            _ => {
                self.label = Some((rank, label));
                Ok(())
            }
        }
    }

    fn complete(self, shard: &Path) -> Result<Entry, Error> {
        let Self { key, picture, label } = self;
        let invalid = |problem: String| Err(Error::invalid(within(shard, &key), problem));
        match (picture, label) {
            (Some((_, offset, length)), Some((_, label))) => Ok(Entry { offset, length, label }),
            (Some(_), None) => invalid(format!(
                "a picture without a class: add {key}.cls, which holds the class's number or name, or {key}.json with \
                 it as \"label\""
            )),
            (None, _) => {
                invalid(format!("a class without a picture: add {key}.jpg or another of {}", ENDINGS.join(", ")))
            }
        }
    }
}

/// Names of the members whose contents start at these offsets, as paths into the shard.
pub(super) fn members_at(shard: &Path, offsets: &[u64]) -> HashMap<u64, PathBuf> {
    let wanted: HashSet<u64> = offsets.iter().copied().collect();
    let named = |file: File| -> std::io::Result<HashMap<u64, PathBuf>> {
        let mut archive = tar::Archive::new(file);
        let members = archive.entries_with_seek()?.map_while(Result::ok);
        let wanted = members.filter(|member| wanted.contains(&member.raw_file_position())).take(wanted.len());
        Ok(wanted.map(|member| (member.raw_file_position(), within(shard, &name_of(&member)))).collect())
    };
    // If the shard is missing there are no names; reading the picture reports the error.
    File::open(shard).and_then(named).unwrap_or_default()
}

fn name_of(member: &tar::Entry<'_, impl Read>) -> String {
    String::from_utf8_lossy(&member.path_bytes()).into_owned()
}

/// The path of a member, as if the shard were a folder.
fn within(shard: &Path, name: &str) -> PathBuf {
    shard.join(name.trim_start_matches('/'))
}

/// Key and lower-case ending; `None` for hidden files, junk and names without an ending.
fn split(name: &str) -> Option<(&str, String)> {
    if name.split('/').any(|part| part != "." && is_junk(part.as_ref())) {
        return None;
    }
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    Some((&name[..dot], name[dot + 1..].to_lowercase()))
}

/// The class that a member holds: its text, or "label" in its JSON. `None` for other kinds, or JSON without a label.
fn class(member: &mut tar::Entry<'_, impl Read>, kind: &str, labels: &mut Labels<'_>) -> Result<Option<u32>, String> {
    if !matches!(kind, "cls" | "json") {
        return Ok(None);
    }
    if member.size() > MAX_CLASS_BYTES {
        return Err(format!(
            "has {} bytes: a member with a class may have {} KiB",
            member.size(),
            MAX_CLASS_BYTES >> 10
        ));
    }
    let mut text = String::new();
    member.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{FEFF}').trim();
    if kind == "cls" {
        return labelled(text, labels).map(Some);
    }
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("no JSON ({error})"))?;
    match json.get("label") {
        None => Ok(None),
        Some(serde_json::Value::String(name)) => labelled(name.trim(), labels).map(Some),
        Some(label) => match label.as_u64() {
            Some(class) => labels.number(class).map(Some),
            None => Err(format!("\"label\" is {label}: give the class's number, from 0, or its name")),
        },
    }
}

/// A class's number or name.
fn labelled(text: &str, labels: &mut Labels<'_>) -> Result<u32, String> {
    let is_name = !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control);
    match text.parse() {
        Ok(class) => labels.number(class),
        // Any other number is a mistake.
        Err(_) if is_name && text.parse::<f64>().is_err() => labels.name(text),
        Err(_) => {
            let shown: String = text.chars().take(40).collect();
            Err(format!("{shown:?} is no class: write its number, from 0, or its name"))
        }
    }
}
