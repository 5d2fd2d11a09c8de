//! The front door's error: one type for the errors of all floors.

use std::path::PathBuf;

use crate::{exec, files, gpu, graph, models, picture, reference, weights};

/// Anything that can go wrong. Messages say what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "nearly each variant carries the error of the module of the same name")]
pub enum Error {
    #[cfg(feature = "pictures")]
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
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] weights::hub::Error),
    #[error(transparent)]
    Model(#[from] models::Error),
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] weights::onnx::Error),
    #[error("{}: these weights are those of a {found}: load them with {predictor}", path.display())]
    OtherTask { path: PathBuf, found: &'static str, predictor: &'static str },
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

impl Error {
    /// Whether the device was lost: what was on it is gone, and work can go on only on another.
    pub fn is_device_lost(&self) -> bool {
        matches!(
            self,
            Self::Gpu(gpu::Error::DeviceLost { .. }) | Self::Exec(exec::Error::Gpu(gpu::Error::DeviceLost { .. }))
        )
    }

    /// The message and those of its causes, on one line.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }
}

/// An error's message and those of its causes, on one line. A cause that the message before it already quotes is left
/// out.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !message.contains(&words) {
            message += ": ";
            message += &words;
        }
        next = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot read a.txt: {0}")]
        Quoting(#[source] io::Error),
        #[error("cannot start")]
        Silent(#[source] io::Error),
    }

    #[test]
    fn causes_are_told_once() {
        let lost = || io::Error::other("the disk is gone");
        assert_eq!(with_causes(&Outer::Quoting(lost())), "cannot read a.txt: the disk is gone");
        assert_eq!(with_causes(&Outer::Silent(lost())), "cannot start: the disk is gone");
        assert_eq!(with_causes(&lost()), "the disk is gone");
    }
}
