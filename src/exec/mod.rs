//! A plan bound to a device: allocate, load parameters, feed, run, read back.

mod frames;
mod layout;
mod session;
mod store;

pub use session::{NodeTime, PendingRead, Session, SessionOptions};
pub use store::ParameterStore;
pub(crate) use store::initial_values;

use crate::{gpu, graph, kernels};

/// Why a session cannot be made or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The GPU floor's error.
    #[error(transparent)]
    Gpu(#[from] gpu::Error),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// An operation exceeds the kernels' limits.
    #[error(transparent)]
    TooLarge(#[from] kernels::TooLarge),
    /// The number of elements given is not that of the tensor.
    #[error("{tensor} has shape {shape:?}, that is {expected} elements, but was given {got}")]
    Length {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Elements of that shape.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// A tensor cannot be fed or read.
    #[error("{tensor} {problem}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What stands in the way.
        problem: &'static str,
    },
}
