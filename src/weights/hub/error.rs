//! What can go wrong with weights from the hub.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::weights;

/// Why weights could not be fetched from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a repository's name.
    #[error(
        "{text:?} is no repository on the Hugging Face hub: write OWNER/NAME or OWNER/NAME@REVISION, \
         timm/resnetrs50.tf_in1k for example"
    )]
    Name {
        /// What was given.
        text: String,
    },
    /// There is no folder to keep weights in.
    #[error("there is no home folder to cache weights in; set HF_HOME to a folder")]
    NoFolder,
    /// The hub does not answer, or not in time.
    #[error("cannot reach {url}: {source}; check the network, and HF_ENDPOINT if it is set")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The reason.
        source: io::Error,
    },
    /// The hub, or a proxy, shows a certificate that no trusted authority has signed.
    #[error(
        "{url} cannot be trusted: {problem}; if your network has its own authority, set SSL_CERT_FILE to the file of \
         its certificate"
    )]
    Untrusted {
        /// What was asked for.
        url: String,
        /// What is wrong with the certificate.
        problem: String,
    },
    /// A variable of the environment names certificates that cannot be read.
    #[error(
        "cannot read certificates from {paths:?}: {problem}; set SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE and \
         CURL_CA_BUNDLE to files in the format PEM, or to nothing"
    )]
    Certificates {
        /// The files and folders.
        paths: Vec<PathBuf>,
        /// What is wrong with the first.
        problem: String,
    },
    /// The hub answers, and its answer is an error.
    #[error("{url} answers with status {status}; try again later, or another HF_ENDPOINT")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP's status code.
        status: u16,
    },
    /// There is no such file, revision or repository.
    #[error("{url} does not exist; check the names of repository and revision, and that it holds a model.safetensors")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The hub does not let this user read the file. It answers the same for repositories that do not exist.
    #[error(
        "{url} may not be read: check the repository's name; if it is private or gated, set HF_TOKEN to a token \
         that may read it"
    )]
    Denied {
        /// What was asked for.
        url: String,
    },
    /// The answer lacks headers that the hub sends.
    #[error("{url} answers unlike the Hugging Face hub: {problem}; check HF_ENDPOINT")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The connection broke or fell silent in the middle of a file.
    #[error("the download of {url} ended at {done} of {total} bytes: {source}; try again to go on from there")]
    Broken {
        /// What was asked for.
        url: String,
        /// Bytes that arrived; they are kept.
        done: u64,
        /// Bytes of the file.
        total: u64,
        /// The reason.
        source: io::Error,
    },
    /// The downloaded file is not the announced one.
    #[error(
        "{url} has the SHA-256 {found}, where {expected} was announced: it was damaged on its way and is not \
         kept; try again"
    )]
    Checksum {
        /// What was asked for.
        url: String,
        /// The announced checksum, hexadecimal.
        expected: String,
        /// The checksum of the bytes that arrived.
        found: String,
    },
    /// Offline, and not in the cache.
    #[error(
        "{repository} is not in {}, and nobody is asked while offline; fetch it once without HF_HUB_OFFLINE",
        cache.display()
    )]
    NotCached {
        /// The repository and its revision.
        repository: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The cache cannot be written.
    #[error(
        "cannot write {}: {source}; free some space, or set HF_HUB_CACHE to a folder where you may write",
        path.display()
    )]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The downloaded file holds no usable weights.
    #[error(transparent)]
    Weights(#[from] weights::Error),
}

impl Error {
    /// Whether cached weights may be used instead: the hub is unreachable or failing, or the cache cannot be written.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Status { status: 429 | 500.., .. } => true,
            Self::Cache { source, .. } => {
                matches!(source.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
            }
            _ => false,
        }
    }
}
