//! Weights on disk and in host memory: safetensors in and out, under timm's names, in PyTorch's dimension order;
//! whole networks out, as ONNX files.

mod card;
mod description;
mod file;
mod foreign;
mod half;
mod header;
mod heads;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "onnx")]
pub mod onnx;
mod outputs;
pub mod timm;
mod trained;

use std::{collections::BTreeMap, path::PathBuf};

pub use card::ModelCard;
pub(crate) use file::write;
pub use half::Rounding;
pub(crate) use outputs::named_outputs;
pub use trained::TrainedNetwork;
pub(crate) use trained::weight_file;

use crate::files;

/// What a caller knows better than a file of weights, which then neither contradicts it nor warns of what is assumed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// The architecture, of which `config.json` may tell another.
    pub(crate) architecture: bool,
    /// What its classes are called.
    pub(crate) classes: bool,
    /// The stride of a segmentation network's last map.
    pub(crate) output_stride: bool,
    /// The largest depth of a depth network.
    pub(crate) max_depth: bool,
}

/// One tensor as weight files hold it: PyTorch's dimension order, f32.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Length of each dimension, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, row-major; their number is the product of `shape`.
    pub data: Vec<f32>,
}

/// Tensors by name, sorted, and the file's string metadata.
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    /// Tensors under timm's names: `layer1.0.conv1.weight`.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Free text that travels with them.
    pub metadata: BTreeMap<String, String>,
}

/// Why weights cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file itself cannot be opened, read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The file's framing or header is not that of a safetensors file.
    #[error("{} is not a usable safetensors file: {problem}; fetch or export it again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file has another format.
    #[error("{} is not a safetensors file but {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The format, and what to do.
        problem: String,
    },
    /// A folder without weights in it.
    #[error("{} holds no model.safetensors: give the path of a weight file{}", path.display(), among(found))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Other weight files in it.
        found: Vec<String>,
    },
    /// One tensor's entry in the header contradicts the file.
    #[error("{}: tensor {tensor}: {problem}; fetch or export the file again", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor's elements have a type that is not supported for weights.
    #[error(
        "{}: tensor {tensor} holds {dtype}; weights are read as F32, F16, BF16 or F64: convert it to one of these",
        path.display()
    )]
    DType {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its element type, as safetensors calls it.
        dtype: String,
    },
    /// A value that was read is NaN or infinite.
    #[error(
        "{}: tensor {tensor} holds {value} at element {element}, so every answer would be wrong. The training has \
         diverged, or the file was rounded to F16, which ends at 65504, or is damaged: take an earlier checkpoint, or \
         fetch or export the file again", path.display()
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Index of the first such element, row-major.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// A value to be written is NaN or infinite.
    #[error(
        "{} was not written: tensor {tensor} holds {value} at element {element}. The training has diverged: \
         lower --lr or lengthen the warm-up. An older file of that name is unchanged", path.display()
    )]
    NotFinite {
        /// The file that was to be written.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Index of the first such element, row-major.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// A value to be written in F16 exceeds F16's range.
    #[error(
        "{} was not written: tensor {tensor} holds {value} at element {element}, and F16 ends at 65504. Keep these \
         weights in F32. An older file of that name is unchanged", path.display()
    )]
    BeyondHalf {
        /// The file that was to be written.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Index of the first such element, row-major.
        element: usize,
        /// Its value.
        value: f32,
    },
    /// A tensor to be written has more or fewer elements than its shape says.
    #[error("{} was not written: tensor {tensor} of shape {shape:?} holds {elements} elements", path.display())]
    Shape {
        /// The file that was to be written.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of elements found.
        elements: usize,
    },
    /// A metadata entry should be an integer and is not.
    #[error("{} was not written: metadata {key} is {value:?}, not a whole number", path.display())]
    Metadata {
        /// The file that was to be written.
        path: PathBuf,
        /// The entry's key.
        key: &'static str,
        /// The entry's value.
        value: String,
    },
    /// A field of a card is out of range.
    #[error("{}: the card has {problem}", path.display())]
    Card {
        /// The file that it belongs to.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// timm's description makes no sense, or contradicts the weights.
    #[error(
        "{}: {problem}; if the weights are right all the same, copy them to a folder without this file", path.display()
    )]
    Description {
        /// The description, config.json.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The weights belong to an unknown network. Its tensors look like a known one's, but it may compute something
    /// else.
    #[error(
        "{}: this program has no network {architecture}. The tensors look like those of {like}, but they do not \
         determine paddings, filters and activations, so the answers may be wrong. {advice}", path.display()
    )]
    Architecture {
        /// The description, config.json.
        path: PathBuf,
        /// The network, as timm calls it.
        architecture: String,
        /// The network that its tensors look like.
        like: String,
        /// What to do about it.
        advice: String,
    },
    /// A file's tensors are not those of the network.
    #[error(
        "{}: tensor {tensor} {problem}. Give the weights of this network, or the network of these weights",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What does not fit.
        problem: String,
    },
}

/// Names the weight files that a folder holds instead.
fn among(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!(", one of {}", found.join(", ")) }
}
