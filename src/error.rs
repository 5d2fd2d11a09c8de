//! The front door's error: whichever floor it comes from, one type to handle.

use crate::{data, exec, files, gpu, graph, models, picture, reference, train, weights};

/// Anything that can go wrong. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries the error of the module of the same name")]
pub enum Error {
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Exec(#[from] exec::Error),
    #[error(transparent)]
    File(#[from] files::Error),
    #[error(transparent)]
    Gpu(#[from] gpu::Error),
    #[error(transparent)]
    Graph(#[from] graph::Error),
    #[error(transparent)]
    Model(#[from] models::Error),
    #[error(transparent)]
    Picture(#[from] picture::Error),
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Weights(#[from] weights::Error),
}
