//! The front door's error: whichever floor it comes from, one type to handle.

use crate::{exec, files, gpu, graph, models, picture, reference, weights};

/// Anything that can go wrong. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries the error of the module of the same name")]
pub enum Error {
    #[cfg(feature = "train")]
    #[error(transparent)]
    Data(#[from] crate::data::Error),
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
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] weights::onnx::Error),
    #[error(transparent)]
    Picture(#[from] picture::Error),
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] crate::train::Error),
    #[error(transparent)]
    Weights(#[from] weights::Error),
}
