//! Operations: one file for each family, with the shape rule, cost and gradient of each operation.
//!
//! The kernels of a family are in `kernels/` and `shaders/` under the same name, its CPU twins in `reference/`.

mod boxes;
mod concat;
mod conv;
mod dense;
mod depth;
mod depthwise;
mod gate;
mod input;
mod loss;
mod norm;
mod optim;
mod pixels;
mod pool;
mod resize;
mod window;
mod winograd;

pub(crate) use boxes::anchors_of;
pub use boxes::{BoxLoss, BoxLossGrad, BoxLossKind, FocalLoss, FocalLossGrad};
pub use concat::{Concat, SliceChannels};
pub use conv::{BiasGrad, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue};
pub use dense::{ActivationGrad, Linear, LinearInputGrad, LinearWeightGrad};
pub use depth::{DepthLoss, DepthLossGrad, DepthLossKind, ScaledSigmoid, ScaledSigmoidGrad};
pub use depthwise::{DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad};
pub use gate::{Dropout, DropoutScope, Fill, ScaleAdd, ScaleAddGrad};
pub use input::Standardize;
pub use loss::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};
pub use norm::{BatchNorm, BatchNormGrad, BatchNormInference, FoldBatchNorm, Normalize, Statistics};
pub use optim::{
    Accumulate, AdamW, AdaptLossScale, BiasCorrection, GradientScale, MovingAverage, ParameterRates, SgdMomentum,
    SquaredNorm, Unscale,
};
pub use pixels::{Argmax, Confusion, PixelCrossEntropy, PixelCrossEntropyGrad};
pub use pool::{AvgPool, AvgPoolGrad, GlobalAvgPool, GlobalAvgPoolGrad, MaxPool, MaxPoolGrad};
pub use resize::{Axis, Filter, Resize, ResizeGrad, Taps};
pub use window::{Padding, Window};
pub use winograd::{Matrices, TAPS, WinogradInput, WinogradOutput, WinogradProduct, WinogradTile, WinogradWeights};

use super::autodiff::Backward;

use super::{Error, Node, Spec};

/// Largest range that one shader binding covers: the limit that every WebGPU device supports. Operations on larger
/// tensors run over slices.
pub const MAX_BINDING_BYTES: u64 = 128 << 20;

/// Bindings start at multiples of this: WebGPU's default `min_storage_buffer_offset_alignment`.
pub const OFFSET_ALIGNMENT_BYTES: u64 = 256;

/// Largest number of loop iterations, nested ones included, that one shader invocation may run. llvmpipe, which drives
/// lavapipe, silently ends the loops of an invocation after 65,535 in total; half of that leaves room for the loops
/// around.
pub const MAX_LOOP_ITERATIONS: usize = 32_768;

/// Work of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and linear layers; FLOPs are twice that. Zero for other operations, as is
    /// usual in the literature.
    pub macs: u64,
    /// Bytes that must be moved, channel padding included. Every tensor is read or written once, and an updated tensor
    /// both. An input is read once more if the operation first needs a sum over the whole map ([`Rule::reread_bytes`]).
    pub bytes: u64,
}

/// Activation function applied to a node's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// None.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`, also known as Swish.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// Which tensors of an operation may be stored in f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// None: its kernels support f32 only.
    None,
    /// Maps. It is an operation of training, whose weights stay f32.
    Maps,
    /// Maps, and weights if it has any: an operation of inference, or of an evaluation.
    MapsAndWeights,
}

/// The properties of an operation: its shapes, cost, gradient and rewrites.
pub trait Rule {
    /// Name for messages and profiles.
    fn name(&self) -> &'static str;

    /// Returns the specs of the outputs, given those of the inputs followed by those of the updated tensors. Fails with
    /// a message if the operation does not accept these.
    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String>;

    /// Whether the first output is a loss: a number `[1]` from which differentiation may start.
    fn is_loss(&self) -> bool {
        false
    }

    /// Multiply-accumulates, for the operations that [`Cost::macs`] counts.
    fn macs(&self, _inputs: &[&Spec], _outputs: &[&Spec]) -> u64 {
        0
    }

    /// Bytes of the updated tensors that are read or written; `None` if all of them are read and written.
    fn updated_bytes(&self, _inputs: &[&Spec]) -> Option<u64> {
        None
    }

    /// Bytes of inputs that must be read twice, because every element of the second pass needs the result of the first,
    /// and no map of a real network fits into on-chip memory between the two.
    fn reread_bytes(&self, _inputs: &[&Spec]) -> u64 {
        0
    }

    /// Bytes of [`Self::reread_bytes`] that are saved if the producer of the input computes the result of the first
    /// pass while it writes the input.
    fn gatherable_bytes(&self, _inputs: &[&Spec]) -> u64 {
        0
    }

    /// Which of its tensors the kernels can read and write in f16.
    fn half(&self) -> Half {
        Half::None
    }

    /// The activation that is applied to its first output.
    fn activation(&self) -> Activation {
        Activation::Identity
    }

    /// Whether a step that recomputes activations keeps the result, since it is expensive to compute again, or many
    /// other activations are rebuilt from it.
    fn kept_by_recomputation(&self, _inputs: &[&Spec]) -> bool {
        false
    }

    /// For an operation that must not run twice: one that computes the same first output, bit for bit, and updates
    /// nothing. Its inputs are the inputs of this operation, followed by the outputs after the first.
    fn repeated(&self) -> Option<Op> {
        None
    }

    /// The same operation with an activation and one more input, a bias; `None` if it has either already. A batch norm
    /// of the result can then be folded into the weights, which are the second input.
    fn with_bias(&self, _activation: Activation) -> Option<Op> {
        None
    }

    /// The operation that also applies a [`ScaleAdd`] to its result. The further inputs of the [`ScaleAdd`] follow its
    /// own inputs.
    fn with_join(&self, _join: &ScaleAdd) -> Option<Op> {
        None
    }

    /// The operation that computes the mean of the result over height and width from the mean of the first input; the
    /// further inputs stay the same. `None` if this operation and the mean do not commute.
    fn of_means(&self) -> Option<Op> {
        None
    }

    /// Appends the nodes that turn the gradients of `node`'s outputs into those of its inputs.
    fn gradient(&self, node: &Node, _back: &mut Backward<'_>) -> Result<(), Error> {
        Err(no_gradient(node, ""))
    }
}

fn no_gradient(node: &Node, hint: &'static str) -> Error {
    Error::NoGradient { node: node.name.clone(), op: node.op.rule().name(), hint }
}

/// Checks the number of inputs.
fn arity(inputs: &[&Spec], expected: usize) -> Result<(), String> {
    if inputs.len() == expected { Ok(()) } else { Err(format!("takes {expected} tensors, got {}", inputs.len())) }
}

/// Checks that two shapes agree.
fn same(what: &str, got: &[usize], expected: &[usize]) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what} must have shape {expected:?}, got {got:?}")) }
}

/// The four dimensions of a map `[N, H, W, C]`.
fn map(spec: &Spec) -> Result<[usize; 4], String> {
    spec.shape.as_slice().try_into().map_err(|_| format!("expected a map [N, H, W, C], got {:?}", spec.shape))
}

/// The two dimensions of a feature matrix `[N, C]`.
fn features(spec: &Spec) -> Result<[usize; 2], String> {
    spec.shape.as_slice().try_into().map_err(|_| format!("expected features [N, C], got {:?}", spec.shape))
}

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// An operation with its settings.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant wraps the documented struct of the same name")]
        pub enum Op { $($name($name)),* }

        impl Op {
            /// The names of all variants.
            pub const VARIANTS: &[&str] = &[$(stringify!($name)),*];

            /// The name of this operation's variant.
            pub fn variant(&self) -> &'static str {
                match self { $(Op::$name(_) => stringify!($name)),* }
            }

            /// The operation's properties.
            pub fn rule(&self) -> &dyn Rule {
                match self { $(Op::$name(op) => op),* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Op::$name(op) }
        })*
    };
}

operations!(
    Standardize,
    Conv2d,
    Conv2dInputGrad,
    Conv2dWeightGrad,
    BiasGrad,
    DepthwiseConv2d,
    DepthwiseInputGrad,
    DepthwiseWeightGrad,
    WinogradWeights,
    WinogradInput,
    WinogradProduct,
    WinogradOutput,
    BatchNorm,
    BatchNormGrad,
    Normalize,
    BatchNormInference,
    FoldBatchNorm,
    ScaleAdd,
    ScaleAddGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    AvgPool,
    AvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    Resize,
    ResizeGrad,
    Concat,
    SliceChannels,
    Linear,
    LinearInputGrad,
    LinearWeightGrad,
    ActivationGrad,
    Dropout,
    Fill,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    PixelCrossEntropy,
    PixelCrossEntropyGrad,
    Argmax,
    Confusion,
    FocalLoss,
    FocalLossGrad,
    BoxLoss,
    BoxLossGrad,
    DepthLoss,
    DepthLossGrad,
    ScaledSigmoid,
    ScaledSigmoidGrad,
    SgdMomentum,
    AdamW,
    BiasCorrection,
    Accumulate,
    MovingAverage,
    SquaredNorm,
    GradientScale,
    Unscale,
    AdaptLossScale,
);

impl Node {
    /// The arguments of the operation's rule: the specs of the inputs, followed by those of the updated tensors.
    pub(crate) fn input_specs<'g>(&self, graph: &'g super::Graph) -> Vec<&'g Spec> {
        self.inputs.iter().chain(&self.updates).map(|&id| graph.spec(id)).collect()
    }

    /// The node's work, computed from its shapes.
    pub fn cost(&self, graph: &super::Graph) -> Cost {
        let inputs = self.input_specs(graph);
        let outputs: Vec<&Spec> = self.outputs.iter().map(|&t| graph.spec(t)).collect();
        let (read, updated) = inputs.split_at(self.inputs.len());
        let bytes = |specs: &[&Spec]| specs.iter().map(|spec| spec.bytes()).sum::<u64>();
        let rule = self.op.rule();
        let in_place = rule.updated_bytes(&inputs).unwrap_or(2 * bytes(updated));
        let bytes = bytes(read) + bytes(&outputs) + in_place + rule.reread_bytes(&inputs);
        Cost { macs: rule.macs(&inputs, &outputs), bytes }
    }
}
