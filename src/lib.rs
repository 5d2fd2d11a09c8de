//! ResNet-RS on any GPU.
pub mod bench;
pub mod cli;
pub mod data;
pub mod exec;
pub mod files;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod models;
pub mod reference;
pub mod selftest;
pub mod summary;
pub mod train;
pub mod tune;
pub mod weights;

mod classifier;
mod drawing;
mod error;
mod inference;

pub use classifier::{Classifier, Guess, Prediction};
pub use error::Error;
pub use gpu::{Gpu, GpuOptions};
pub use graph::Precision;
pub use inference::{Inference, InferenceOptions};
