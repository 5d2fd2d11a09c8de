//! `RUN/broken.json`: the pictures of a run that cannot be read.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Observer, data};
use crate::data::{Broken, Dataset, Split};
use crate::files;

/// How many broken pictures are told of one by one while a run goes on; the file and the report have all.
const MOST_NOTICES: usize = 20;

/// A run's broken pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BrokenPictures {
    pub(super) train: BTreeSet<Broken>,
    pub(super) val: BTreeSet<Broken>,
}

impl BrokenPictures {
    fn of(&mut self, split: Split) -> &mut BTreeSet<Broken> {
        match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.train.len() + self.val.len()
    }

    /// Notes a picture, and says so if it is new. Whether it is.
    pub(super) fn add(&mut self, split: Split, broken: &Broken, observer: &dyn Observer) -> bool {
        if !self.of(split).insert(broken.clone()) {
            return false;
        }
        let Broken { picture, problem, .. } = broken;
        let total = self.len();
        observer.broken(total);
        if total <= MOST_NOTICES {
            let effect = match split {
                Split::Train => "another takes its place",
                Split::Val => "it is left out",
            };
            let last = if total == MOST_NOTICES { ". Further ones are in broken.json alone" } else { "" };
            observer.notice(&format!("{}/{picture} cannot be read ({problem}): {effect}{last}", split.name()));
        }
        true
    }

    /// Forgets the pictures that can be read again, and says so.
    pub(super) fn forget_mended(&mut self, dataset: &Dataset, observer: &dyn Observer) {
        for split in [Split::Train, Split::Val] {
            let source = dataset.split(split);
            let is_there = |b: &Broken| b.index < source.len() && source.name(b.index) == b.picture;
            let (broken, mended): (BTreeSet<Broken>, BTreeSet<Broken>) = std::mem::take(self.of(split))
                .into_iter()
                .filter(is_there)
                .partition(|broken| source.sample(broken.index).is_err());
            *self.of(split) = broken;
            if !mended.is_empty() {
                let names = data::listed(mended.iter().map(|broken| &*broken.picture));
                observer.notice(&format!(
                    "{} broken {} pictures can be read again: {names}",
                    mended.len(),
                    split.name()
                ));
            }
        }
    }

    /// Writes the file; none if nothing is broken.
    pub(super) fn write(&self, run: &Path) -> Result<(), Error> {
        let path = path(run);
        if self.len() == 0 {
            return if path.exists() { Ok(files::remove(&path)?) } else { Ok(()) };
        }
        let text = serde_json::to_vec_pretty(self).map_err(Error::draw)?;
        Ok(files::write_atomic(&path, |file| file.write_all(&text))?)
    }

    /// What the folder of a run holds.
    pub(super) fn read(run: &Path) -> Result<Self, Error> {
        let path = path(run);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = files::read_text(&path)?;
        serde_json::from_str(&text).map_err(|e| Error::Findings { path, problem: e.to_string() })
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("broken.json")
}
