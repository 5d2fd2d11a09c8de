//! Turns a trained network into one for inference alone: fused, with its weights folded ahead of time, and stored in
//! f32 or f16.

use super::half::store_half;
use super::plan::constant_nodes;
use super::{Error, Graph, Init, Node, Precision, Role, Tensor, TensorId, fuse};

/// A network for inference alone. The tensors of its two graphs have the same ids and names.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Runs for each batch.
    pub graph: Graph,
    /// Computes those parameters of `graph` that are folded from several parameters and statistics of the network.
    pub folding: Graph,
}

/// Freezes an inference network. The name of a folded parameter depends only on its place in the network, so the same
/// store serves networks for other image sizes or with other outputs. `outputs` are the tensors to be read; others may
/// disappear.
///
/// # Errors
/// [`Error::NoHalf`] if f16 is asked for and the network is one for training.
pub fn freeze(mut graph: Graph, outputs: &[TensorId], precision: Precision) -> Result<Frozen, Error> {
    fuse::for_inference(&mut graph, outputs)?;
    let constant = constant_nodes(&graph);
    for &i in &constant {
        let Node { name, op, outputs, .. } = graph.nodes()[i].clone();
        for (k, output) in outputs.into_iter().enumerate() {
            graph.rename(output, format!("{name}/{}:{k}", op.rule().name()))?;
        }
    }
    let mut folding = graph.clone();
    folding.set_nodes(constant.iter().map(|&i| graph.nodes()[i].clone()).collect());
    let kept = graph.nodes().iter().enumerate().filter(|(i, _)| !constant.contains(i)).map(|(_, node)| node.clone());
    graph.set_nodes(kept.collect());
    for node in folding.nodes() {
        let weights = node.inputs.first().map(|&id| graph.tensor(id).clone());
        for &output in &node.outputs {
            // Initial values, for a network without weights yet: the folded weights start as the weights before folding
            // do, and the bias starts at 0.
            let init = match &weights {
                Some(Tensor { spec, role: Role::Parameter(init), .. }) if spec == graph.spec(output) => *init,
                _ => Init::Constant(0.0),
            };
            graph.tensor_mut(output).role = Role::Parameter(init);
        }
    }
    if precision == Precision::F16 {
        store_half(&mut graph)?;
    }
    Ok(Frozen { graph, folding })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::{DType, Layout, Op};
    use crate::models::{Config, Input, Mode, Network};

    fn network(mode: Mode) -> Network {
        let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
        Network::build(&config, 2, [32, 32], Input::Tensor, mode).unwrap()
    }

    #[test]
    fn what_answers_holds_folded_weights_alone() {
        let network = network(Mode::Inference);
        let of = |precision| freeze(network.graph.clone(), &[network.output("logits")], precision).unwrap();
        let (full, half) = (of(Precision::F32), of(Precision::F16));
        for Frozen { graph, folding } in [&full, &half] {
            assert!(folding.nodes().iter().all(|node| matches!(node.op, Op::FoldBatchNorm(_))));
            assert!(!graph.nodes().iter().any(|node| matches!(node.op, Op::FoldBatchNorm(_))));
            let folded: Vec<TensorId> = folding.nodes().iter().flat_map(|node| node.outputs.clone()).collect();
            assert!(folded.iter().all(|id| graph.persistent().any(|kept| kept == *id)));
            assert!(!graph.persistent().any(|id| graph.tensor(id).name.contains("running_mean")));
        }
        for id in half.graph.persistent() {
            let (spec, vector) = (half.graph.spec(id), full.graph.spec(id).layout == Layout::Channels);
            assert_eq!(spec.dtype, if vector { DType::F32 } else { DType::F16 }, "{}", half.graph.tensor(id).name);
        }
        assert_eq!(half.graph.spec(network.output("logits")).dtype, DType::F32);
    }

    #[test]
    fn training_is_refused_in_half_precision() {
        let network = network(Mode::TRAINING);
        let outputs = network.output_ids();
        let refused = freeze(network.graph, &outputs, Precision::F16).unwrap_err().to_string();
        assert!(refused.contains("batch_norm has no kernel for f16") && refused.contains("inference"), "{refused}");
    }
}
