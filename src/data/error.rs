//! What can go wrong with data.

use std::path::{Path, PathBuf};

/// Why pictures cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kind of data that `--data` names is unknown.
    #[error(
        "--data {spec}: give shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, \
         masks:DIR, ade20k:DIR, depth:DIR or nyu:DIR{hint}"
    )]
    UnknownKind {
        /// What was given.
        spec: String,
        /// What was probably meant, if that can be guessed.
        hint: String,
    },
    /// The data has no truths of the kind that a task needs.
    #[cfg(feature = "train")]
    #[error("--data {spec} has no {}, which the task needs", truth.name())]
    NoTruth {
        /// What was given.
        spec: String,
        /// What is missing.
        truth: super::TruthKind,
    },
    /// A picture's truth is not of the kind that a task learns.
    #[cfg(feature = "train")]
    #[error("a picture has no {}, which the task learns", truth.name())]
    OtherTruth {
        /// The kind that it learns.
        truth: super::TruthKind,
    },
    /// A list of names cannot be read.
    #[error(transparent)]
    File(#[from] crate::files::Error),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file or folder is not what the data set needs.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and the way out.
        problem: String,
    },
    /// A picture that the run began with is gone.
    #[error("{name} is gone")]
    Gone {
        /// Its name.
        name: String,
    },
    /// A file is not a picture, or cannot be decoded.
    #[error("{}: not a usable picture: {problem}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// The error for an unknown kind of `--data`.
    pub(super) fn unknown_kind(spec: &str) -> Self {
        let hint = if Path::new(spec).is_dir() { format!("; did you mean folder:{spec}?") } else { String::new() };
        Self::UnknownKind { spec: spec.to_owned(), hint }
    }

    /// Wraps an I/O error with its path.
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// An error about a file or folder.
    pub(super) fn invalid(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }
}
