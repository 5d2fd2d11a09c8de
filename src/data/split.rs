//! The parts of a data set, by the names that people give them.

use std::path::{Path, PathBuf};

use super::Error;
use super::walk::folders;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Training pictures.
    Train,
    /// Validation pictures.
    Val,
}

/// Which parts of a data set are needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Both parts, fit for training.
    Training,
    /// Only the validation pictures; training pictures may be missing.
    Validation,
    /// Whatever there is, fit for training or not.
    Everything,
}

/// The short names of both.
pub(super) fn plain_names() -> [String; 2] {
    [Split::Train, Split::Val].map(|split| split.name().to_owned())
}

impl Split {
    /// Names of the split's folder or shards, in upper or lower case; the first that exists counts. Keras and Hugging
    /// Face use `validation`, Roboflow `valid`; a test set is used if there is no other.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Val => &["val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"],
        }
    }

    /// Its short name.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The split's folder within a data set: the first candidate that holds folders, else the first candidate.
    pub(super) fn folder(self, directory: &Path) -> Result<Option<PathBuf>, Error> {
        let folders = folders(directory)?;
        let is_named = |path: &Path, name: &str| path.file_name().is_some_and(|own| own.eq_ignore_ascii_case(name));
        let named = self.names().iter().flat_map(|name| folders.iter().filter(|path| is_named(path, name)));
        let named: Vec<&PathBuf> = named.collect();
        for path in &named {
            if holds_folders(path)? {
                return Ok(Some((*path).clone()));
            }
        }
        Ok(named.first().map(|path| (*path).clone()))
    }
}

/// Whether a folder holds folders, as a split's folder does.
pub(super) fn holds_folders(folder: &Path) -> Result<bool, Error> {
    Ok(!folders(folder)?.is_empty())
}
