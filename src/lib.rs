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

mod backbone;
mod classifier;
mod drawing;
mod error;
mod features;
mod inference;
mod pending;
pub mod picture;

pub use classifier::{Classifier, Guess, Prediction};
pub use error::Error;
pub use features::{FeatureMap, Features};
pub use gpu::{Frame, Gpu, GpuOptions};
pub use graph::Precision;
pub use inference::{Answer, FoldedWeights, Inference, InferenceOptions};
pub use pending::Pending;
pub use picture::Picture;
pub use wgpu;
