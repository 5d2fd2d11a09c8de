//! `RUN/broken.json`: the pictures of a run that cannot be read.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Observer;
use crate::data::{Broken, Dataset, Error, Split};
use crate::files;
use crate::words::{self, listed};

/// The most broken pictures with a message each; the file and the report list all.
const MOST_NOTICES: usize = 20;
/// The most names that a message lists.
const MOST_NAMES: usize = 10;

/// A run's broken pictures by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BrokenPictures {
    pub(super) train: BTreeMap<usize, Broken>,
    pub(super) val: BTreeMap<usize, Broken>,
}

/// The lists as stored in the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Lists {
    train: Vec<Broken>,
    val: Vec<Broken>,
}

impl BrokenPictures {
    fn of(&mut self, split: Split) -> &mut BTreeMap<usize, Broken> {
        match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
        }
    }

    /// Number of broken pictures.
    pub(super) fn len(&self) -> usize {
        self.train.len() + self.val.len()
    }

    /// Adds a picture, with a message if it is new. Returns whether it is new.
    pub(super) fn add(&mut self, dataset: &Dataset, split: Split, broken: &Broken, observer: &dyn Observer) -> bool {
        if self.of(split).insert(broken.index, broken.clone()).is_some() {
            return false;
        }
        let (total, folder) = (self.len(), dataset.split_name(split));
        let Broken { picture, problem, .. } = broken;
        observer.broken(total);
        if total <= MOST_NOTICES {
            let effect = match split {
                Split::Train => "another takes its place",
                Split::Val => "it is left out",
            };
            let last = if total == MOST_NOTICES { ". Further ones are in broken.json alone" } else { "" };
            observer.notice(&format!("{folder}/{picture} cannot be read ({problem}): {effect}{last}"));
        }
        true
    }

    /// Removes the pictures that are readable again or gone, and reports the readable ones.
    pub(super) fn forget_mended(&mut self, dataset: &Dataset, observer: &dyn Observer) {
        for split in [Split::Train, Split::Val] {
            let source = dataset.split(split);
            let is_there = |b: &Broken| b.index < source.len() && source.name(b.index) == b.picture;
            let known = std::mem::take(self.of(split)).into_values().filter(is_there);
            let mut mended = Vec::new();
            for broken in known {
                match source.sample(broken.index) {
                    Ok(_) => mended.push(broken.picture),
                    Err(Error::Gone { .. }) => {}
                    Err(_) => drop(self.of(split).insert(broken.index, broken)),
                }
            }
            if !mended.is_empty() {
                let (number, names) = (words::count(mended.len(), "broken picture"), listed(mended.iter(), MOST_NAMES));
                observer.notice(&format!("{}: {number} can be read again: {names}", dataset.split_name(split)));
            }
        }
        observer.broken(self.len());
    }

    /// Writes the file, unless no picture is broken.
    pub(super) fn write(&self, run: &Path) -> Result<(), super::Error> {
        let path = path(run);
        if self.len() == 0 {
            return if path.exists() { Ok(files::remove(&path)?) } else { Ok(()) };
        }
        let lists = Lists { train: self.train.values().cloned().collect(), val: self.val.values().cloned().collect() };
        let text = serde_json::to_vec_pretty(&lists).map_err(super::Error::draw)?;
        Ok(files::write_atomic(&path, |file| file.write_all(&text))?)
    }

    /// Reads the file in the folder of a run.
    pub(super) fn read(run: &Path) -> Result<Self, super::Error> {
        let path = path(run);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = files::read_text(&path)?;
        let Lists { train, val } =
            serde_json::from_str(&text).map_err(|e| super::Error::Findings { path, problem: e.to_string() })?;
        let by_index = |list: Vec<Broken>| list.into_iter().map(|broken| (broken.index, broken)).collect();
        Ok(Self { train: by_index(train), val: by_index(val) })
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("broken.json")
}
