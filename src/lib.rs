//! ResNet-RS on any GPU.
//!
//! The front door is what this page re-exports: a [`Gpu`], opened here or by an application; a [`Classifier`],
//! [`Detector`], [`Segmenter`], [`DepthEstimator`] or [`Features`] (all are [`Predictor`]s) from a weight file; and a
//! [`Picture`] from memory or a texture.
//!
//! ```no_run
//! let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
//! let net = resnet_rs::Classifier::load(&gpu, "resnetrs50.safetensors")?;
//! for guess in net.classify(resnet_rs::Picture::open("cat.jpg")?)?.top(5) {
//!     println!("{:5.1} % {}", 100.0 * guess.probability, guess.label);
//! }
//! # Ok::<(), resnet_rs::Error>(())
//! ```
//!
//! The modules below are the floors under it, for those who train, measure, or build networks of their own. They change
//! more often.
//!
//! An application that only classifies does not need the default features: `default-features = false`. The feature
//! `pictures` adds picture files, `hub` downloads of weights, `onnx` the export of networks, and `train` data sets and
//! the trainer; `program`, the default, adds the command line and what only it offers.
#![cfg_attr(
    not(feature = "program"),
    allow(dead_code, unused_imports, reason = "the program and the trainer use the rest")
)]

#[cfg(feature = "program")]
pub mod bench;
pub mod boxes;
#[cfg(feature = "program")]
pub mod cli;
pub mod data;
pub mod exec;
pub mod files;
pub mod gpu;
pub mod graph;
pub mod kernels;
pub mod models;
pub mod reference;
#[cfg(feature = "program")]
pub mod selftest;
#[cfg(feature = "train")]
pub mod summary;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "program")]
pub mod tune;
pub mod weights;

mod backbone;
mod classifier;
mod depths;
mod detector;
#[cfg(feature = "train")]
mod drawing;
mod error;
mod features;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod inference;
mod pending;
pub mod picture;
mod predictor;
mod segmenter;
#[cfg(feature = "pictures")]
mod stream;
#[cfg(feature = "pictures")]
mod words;

pub use classifier::{Classifier, Guess, Prediction};
pub use depths::{DepthEstimator, Depths};
pub use detector::{Detections, Detector, Found};
pub use error::Error;
pub use features::{FeatureMap, Features};
pub use gpu::{Frame, Gpu, GpuOptions};
pub use graph::Precision;
pub use inference::InferenceOptions;
pub use pending::Pending;
pub use picture::Picture;
pub use predictor::Predictor;
pub use segmenter::{ClassShare, Segmentation, Segmenter};
/// The version of wgpu whose devices and textures this crate takes.
pub use wgpu;
