//! Storage in f16.

use super::op::Half;
use super::{DType, Error, Graph, Layout, Node, Spec};

/// The element type in which maps and weights are stored; kernels compute in f32 either way.
///
/// f16 halves the memory and the traffic, and rounds each stored number to 11 significant bits. Its largest number is
/// 65504. Activations of ResNets stay far below; larger numbers are stored as 65504 with their sign. Biases, gates,
/// and the pooled features and logits of classifiers stay f32: they are small.
///
/// For inference, f16 stores maps and weights. For training ("mixed precision", Micikevicius et al. 2018), f16 stores
/// maps and their gradients; weights, statistics, losses and the optimiser's state stay f32. A gradient beyond the
/// largest number becomes infinite, so that the step is recognised as an overflow and skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits.
    F16,
}

/// Stores every map, kernel and weight matrix of an inference graph in f16.
///
/// # Errors
/// [`Error::NoHalf`] for a training graph: small steps would be lost in weights of 11 bits.
pub fn store_half(graph: &mut Graph) -> Result<(), Error> {
    let stored = |spec: &Spec| spec.is_map() || spec.layout == Layout::Weights;
    let refuses = |node: &&Node| touches(graph, node, stored) && node.op.rule().half() != Half::MapsAndWeights;
    if let Some(node) = graph.nodes().iter().find(refuses) {
        let hint = " weights, which are for inference: train in mixed precision";
        return Err(Error::NoHalf { node: node.name.clone(), op: node.op.rule().name(), hint });
    }
    store(graph, stored);
    Ok(())
}

/// Whether a node reads, updates or writes such a tensor.
fn touches(graph: &Graph, node: &Node, which: impl Fn(&Spec) -> bool) -> bool {
    let tensors = node.inputs.iter().chain(&node.updates).chain(&node.outputs);
    tensors.into_iter().any(|&id| which(graph.spec(id)))
}

/// Stores every map of a graph in f16, gradients included.
///
/// # Errors
/// [`Error::NoHalf`] for an operation whose kernels support maps in f32 only.
pub fn store_half_maps(graph: &mut Graph) -> Result<(), Error> {
    let refuses = |node: &&Node| touches(graph, node, Spec::is_map) && node.op.rule().half() == Half::None;
    if let Some(node) = graph.nodes().iter().find(refuses) {
        return Err(Error::NoHalf { node: node.name.clone(), op: node.op.rule().name(), hint: " maps" });
    }
    store(graph, Spec::is_map);
    Ok(())
}

fn store(graph: &mut Graph, which: impl Fn(&Spec) -> bool) {
    for id in graph.ids().filter(|&id| which(graph.spec(id))).collect::<Vec<_>>() {
        graph.tensor_mut(id).spec.dtype = DType::F16;
    }
}
