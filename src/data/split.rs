//! The parts of a data set, by the names that people give them.

use std::path::{Path, PathBuf};

use super::Error;
use super::walk::visible;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Pictures to learn from.
    Train,
    /// Pictures to validate with.
    Val,
}

/// What somebody needs of a data set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Both parts, fit for training.
    Training,
    /// The validation pictures; the others may be missing.
    Validation,
    /// Whatever there is, however unfit.
    Everything,
}

impl Split {
    /// Names of the split's folder or shards, in any case; the first that is there counts. Keras and Hugging Face say `validation`, Roboflow
    /// `valid`; a test set serves where there is no other.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training"],
            Self::Val => &["val", "valid", "validation", "test", "testing"],
        }
    }

    /// Its short name.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The split's folder in a data set's.
    pub(super) fn folder(self, directory: &Path) -> Result<Option<PathBuf>, Error> {
        let folders: Vec<PathBuf> = visible(directory)?.into_iter().filter(|path| path.is_dir()).collect();
        let named = |wanted: &&str| {
            let is_it = |path: &&PathBuf| path.file_name().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            folders.iter().find(is_it).cloned()
        };
        Ok(self.names().iter().find_map(|name| named(&name)))
    }
}
