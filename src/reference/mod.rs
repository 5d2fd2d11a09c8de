//! The CPU twin: interprets a graph in f64, by plain loops that follow the formulas.
//!
//! Every kernel is compared with its twin, in the tests and on the user's own GPU. Values are logical elements:
//! row-major in the tensor's shape, maps NHWC, convolution kernels HWIO, without the padding of tensors in GPU memory.
//! u32 tensors (pixels, labels, clock) are held as f64, which represents them exactly.
//!
//! Each file holds the twins of the operations in the file of the same name in `graph/op`; `fold.rs` uses them to fold
//! a network's parameters.

mod activation;
mod boxes;
mod concat;
mod conv;
mod dense;
mod depth;
mod depthwise;
mod fold;
mod gate;
mod input;
mod loss;
mod norm;
mod optim;
mod pixels;
mod pool;
pub(crate) mod random;
mod resize;
mod values;
mod winograd;

pub use fold::fold;
pub use values::Values;
use values::View;

use half::f16;

use crate::graph::{DType, Graph, Node, Op, Role};

/// Why a graph cannot be interpreted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor is read that has neither been set nor computed.
    #[error("tensor {tensor} of shape {shape:?} has no value: set it before the run")]
    Missing {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor is given too many or too few values.
    #[error(
        "tensor {tensor} of shape {shape:?} takes {expected} values, got {got}: pass every element, without padding"
    )]
    Count {
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Elements of that shape.
        expected: usize,
        /// Elements received.
        got: usize,
    },
    /// A label is not below the number of classes.
    #[error(
        "{node}: row {row} has label {label}, but labels must be below {classes}: check the data set's class count"
    )]
    Label {
        /// Name of the loss node.
        node: String,
        /// Row of the batch.
        row: usize,
        /// The label.
        label: f64,
        /// Number of classes.
        classes: usize,
    },
}

/// Runs every node in order and keeps every result.
///
/// Inputs, parameters and states must be set in `values`. Tensors that a node updates (running statistics, parameters
/// under the optimiser) are changed in place.
///
/// # Errors
/// If a tensor that is read has no value, or the value of another graph's tensor; or if a label is out of range.
pub fn run(graph: &Graph, values: &mut Values) -> Result<(), Error> {
    graph.nodes().iter().try_for_each(|node| run_node(graph, node, values))
}

/// Runs one node of a graph.
///
/// # Errors
/// As [`run`].
pub fn run_node(graph: &Graph, node: &Node, values: &mut Values) -> Result<(), Error> {
    for &id in &node.updates {
        values.view(graph, id)?;
    }
    let mut updates: Vec<Vec<f64>> = node.updates.iter().map(|&id| values.take(id).unwrap_or_default()).collect();
    let outputs = evaluate(graph, node, values, &mut updates);
    for (&id, updated) in node.updates.iter().zip(updates) {
        values.set(graph, id, updated)?;
    }
    for (&id, mut output) in node.outputs.iter().zip(outputs?) {
        if graph.spec(id).dtype == DType::F16 {
            let gradient = graph.tensor(id).role == Role::Gradient;
            output.iter_mut().for_each(|v| *v = within_half(*v, gradient));
        }
        values.set(graph, id, output)?;
    }
    Ok(())
}

/// Limits a number that is stored in f16: a number beyond the largest of f16 becomes the largest, or infinity if it is
/// part of a gradient. Smaller numbers are not rounded.
fn within_half(v: f64, gradient: bool) -> f64 {
    let largest = f64::from(f16::MAX);
    match v.abs() > largest {
        true if gradient => f64::INFINITY.copysign(v),
        true => largest.copysign(v),
        false => v,
    }
}

/// Finds the twin of a node's operation and returns its outputs.
fn evaluate(graph: &Graph, node: &Node, values: &Values, updates: &mut [Vec<f64>]) -> Result<Vec<Vec<f64>>, Error> {
    let inputs = node.inputs.iter().map(|&id| values.view(graph, id)).collect::<Result<Vec<View<'_>>, Error>>()?;
    let x = inputs.as_slice();
    let outputs = match &node.op {
        Op::Standardize(op) => vec![input::standardize(op, x[0])],
        Op::Conv2d(op) => vec![conv::conv2d(op, x, &graph.spec(node.outputs[0]).shape)],
        Op::Conv2dInputGrad(op) => vec![conv::conv2d_input_grad(op, x)],
        Op::Conv2dWeightGrad(op) => vec![conv::conv2d_weight_grad(op, x[0], x[1])],
        Op::DepthwiseConv2d(op) => vec![depthwise::conv2d(op, x, &graph.spec(node.outputs[0]).shape)],
        Op::DepthwiseInputGrad(op) => vec![depthwise::input_grad(op, x)],
        Op::DepthwiseWeightGrad(op) => vec![depthwise::weight_grad(op, x[0], x[1])],
        Op::WinogradWeights(op) => vec![winograd::weights(op, x[0])],
        Op::WinogradInput(op) => vec![winograd::input(op, x[0])],
        Op::WinogradProduct(_) => vec![winograd::product(x[0], x[1])],
        Op::WinogradOutput(op) => vec![winograd::output(op, x)],
        Op::BatchNorm(op) => norm::batch_norm(op, x, updates),
        Op::BiasGrad(op) => conv::bias_grad(op, x),
        Op::BatchNormGrad(op) => norm::batch_norm_grad(op, x),
        Op::Normalize(op) => vec![norm::normalize(op, x)],
        Op::BatchNormInference(op) => vec![norm::batch_norm_inference(op, x)],
        Op::FoldBatchNorm(op) => norm::fold_batch_norm(op, x),
        Op::ScaleAdd(op) => vec![gate::scale_add(op, x)],
        Op::ScaleAddGrad(op) => gate::scale_add_grad(op, x),
        Op::GlobalAvgPool(_) => vec![pool::global_avg_pool(x[0])],
        Op::GlobalAvgPoolGrad(op) => vec![pool::global_avg_pool_grad(op, x)],
        Op::AvgPool(op) => vec![pool::avg_pool(op, x[0], &graph.spec(node.outputs[0]).shape)],
        Op::AvgPoolGrad(op) => vec![pool::avg_pool_grad(op, x)],
        Op::MaxPool(op) => vec![pool::max_pool(op, x[0], &graph.spec(node.outputs[0]).shape)],
        Op::MaxPoolGrad(op) => vec![pool::max_pool_grad(op, x[0], x[1])],
        Op::Resize(op) => vec![resize::resize(op, x[0])],
        Op::ResizeGrad(op) => vec![resize::resize_grad(op, x)],
        Op::Concat(_) => vec![concat::concat(x)],
        Op::SliceChannels(op) => vec![concat::slice_channels(op, x[0])],
        Op::Linear(op) => vec![dense::linear(op, x)],
        Op::LinearInputGrad(_) => vec![dense::linear_input_grad(x[0], x[1])],
        Op::LinearWeightGrad(_) => dense::linear_weight_grad(x[0], x[1]),
        Op::ActivationGrad(op) => vec![dense::activation_grad(op, x[0], x[1])],
        Op::Dropout(op) => vec![gate::dropout(op, x[0], x[1])],
        Op::Fill(op) => vec![gate::fill(op)],
        Op::SoftmaxCrossEntropy(op) => loss::softmax_cross_entropy(op, &node.name, x)?,
        Op::SoftmaxCrossEntropyGrad(op) => vec![loss::softmax_cross_entropy_grad(op, &node.name, x)?],
        Op::PixelCrossEntropy(op) => pixels::cross_entropy(op, &node.name, x)?,
        Op::PixelCrossEntropyGrad(op) => vec![pixels::cross_entropy_grad(op, &node.name, x)?],
        Op::Argmax(_) => vec![pixels::argmax(x[0])],
        Op::Confusion(op) => vec![pixels::confusion(op, x[0], x[1])],
        Op::FocalLoss(op) => vec![boxes::focal_loss(op, &node.name, x)?],
        Op::FocalLossGrad(op) => vec![boxes::focal_loss_grad(op, &node.name, x)?],
        Op::BoxLoss(op) => vec![boxes::box_loss(op, &node.name, x)?],
        Op::BoxLossGrad(op) => vec![boxes::box_loss_grad(op, &node.name, x)?],
        Op::DepthLoss(op) => depth::depth_loss(op, x),
        Op::DepthLossGrad(op) => vec![depth::depth_loss_grad(op, x)],
        Op::ScaledSigmoid(op) => vec![depth::scaled_sigmoid(op, x[0])],
        Op::ScaledSigmoidGrad(op) => vec![depth::scaled_sigmoid_grad(op, x[0], x[1])],
        Op::SgdMomentum(op) => {
            optim::sgd_momentum(op, x, updates);
            Vec::new()
        }
        Op::AdamW(op) => {
            optim::adamw(op, x, updates);
            Vec::new()
        }
        Op::BiasCorrection(op) => {
            optim::bias_correction(op, x, updates);
            Vec::new()
        }
        Op::Accumulate(_) => {
            optim::accumulate(x, updates);
            Vec::new()
        }
        Op::MovingAverage(_) => {
            optim::moving_average(x, updates);
            Vec::new()
        }
        Op::SquaredNorm(_) => {
            optim::squared_norm(x, updates);
            Vec::new()
        }
        Op::GradientScale(op) => optim::gradient_scale(op, x),
        Op::Unscale(_) => vec![optim::unscale(x)],
        Op::AdaptLossScale(op) => {
            optim::adapt_loss_scale(op, x, updates);
            Vec::new()
        }
    };
    Ok(outputs)
}
