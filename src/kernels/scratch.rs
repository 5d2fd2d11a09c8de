//! Scratch memory that kernels need while a node runs. The memory plan needs its size beforehand.

use super::shape::ConvShape;
use super::splits::{RowChunks, Runs, partial_bytes};
use super::{boxes, conv, norm, pixels, pool};
use crate::gpu::Target;
use crate::graph::plan::{MemoryPlan, Scratch};
use crate::graph::{Graph, NodeId, Op, TensorId};

/// Bytes of a range of scratch memory that a node's kernels need on a target while it runs; 0 for none.
pub fn scratch_bytes(graph: &Graph, node: NodeId, which: Scratch, target: Target) -> u64 {
    let node = &graph.nodes()[node];
    let input = |i: usize| graph.spec(node.inputs[i]);
    let inputs = || (0..node.inputs.len()).map(input).collect::<Vec<_>>();
    if let Some(shape) = ConvShape::of(graph, node, target) {
        let product = conv::scratch_bytes(graph, node, &shape, which);
        return match (&node.op, which) {
            // The workspace serves first the weights, then the bias.
            (Op::LinearWeightGrad(_), Scratch::Workspace) => {
                product.max(RowChunks::over(input(1).rows()).scratch_bytes(graph.spec(node.outputs[1]).bytes()))
            }
            _ => product,
        };
    }
    match (&node.op, which) {
        (Op::DepthwiseWeightGrad(op), Scratch::Workspace) => {
            let runs = Runs::of_depthwise(op, input(0), input(1), target);
            partial_bytes(runs.count, graph.spec(node.outputs[0]))
        }
        (Op::BatchNorm(_) | Op::BatchNormGrad(_) | Op::BiasGrad(_), Scratch::Workspace) => {
            norm::Reduction::scratch_bytes(input(0))
        }
        (Op::GlobalAvgPool(_), Scratch::Workspace) => pool::PixelChunks::scratch_bytes(input(0)),
        (Op::ScaleAddGrad(op), Scratch::Workspace) if op.gate => pool::PixelChunks::scratch_bytes(input(1)),
        // Each chunk's sums of losses and of top-1.
        (Op::SoftmaxCrossEntropy(_), Scratch::Workspace) => RowChunks::over(input(0).rows()).scratch_bytes(8),
        (Op::PixelCrossEntropy(_) | Op::DepthLoss(_), Scratch::Workspace) => pixels::scratch_bytes(input(0)),
        (Op::FocalLoss(_), Scratch::Workspace) => boxes::scratch_bytes(&inputs(), 2),
        (Op::BoxLoss(op), Scratch::Workspace) => boxes::scratch_bytes(&inputs(), op.before_levels()),
        _ => 0,
    }
}

/// The memory plan of a graph for a target, without a rewrite; [`super::Choices::plan`] rewrites the graph first.
pub fn plan(graph: &Graph, outputs: &[TensorId], target: Target) -> MemoryPlan {
    MemoryPlan::new(graph, outputs, |node, which| scratch_bytes(graph, node, which, target))
}
