//! What can go wrong with data.

use std::path::PathBuf;

/// Why pictures cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--data` names nothing known.
    #[error("--data {spec}: give shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or shards:DIR")]
    UnknownKind {
        /// What was given.
        spec: String,
    },
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
    /// A file is no picture, or one that cannot be decoded.
    #[error("{}: not a usable picture: {problem}. Convert it to JPEG, PNG or WebP, or remove it; a run that is under way goes on if another takes its place", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Wraps an i/o error with the path it concerns.
    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// Something is wrong with a file or folder.
    pub(super) fn invalid(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }
}
