//! Operations: one file a family, each with its shape rule, cost and gradient.
//!
//! The kernels of a family stand in `kernels/` and `shaders/` under the same name, its CPU twin in `reference/`.

mod conv;
mod dense;
mod depthwise;
mod gate;
mod input;
mod loss;
mod norm;
mod optim;
mod pool;
mod window;
mod winograd;

pub use conv::{Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue};
pub use dense::{ActivationGrad, Linear, LinearInputGrad, LinearWeightGrad};
pub use depthwise::{DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad};
pub use gate::{Dropout, DropoutScope, Fill, ScaleAdd, ScaleAddGrad};
pub use input::Standardize;
pub use loss::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};
pub use norm::{BatchNorm, BatchNormGrad, BatchNormInference, FoldBatchNorm, Normalize};
pub use optim::{Accumulate, AdaptLossScale, GradientScale, MovingAverage, SgdMomentum, SquaredNorm, Unscale};
pub use pool::{AvgPool, AvgPoolGrad, GlobalAvgPool, GlobalAvgPoolGrad, MaxPool, MaxPoolGrad};
pub use window::{Padding, Window};
pub use winograd::{Matrices, TAPS, WinogradInput, WinogradOutput, WinogradProduct, WinogradTile, WinogradWeights};

use super::autodiff::Backward;

use super::{Error, Node, Spec};

/// Largest range that one shader binding covers: what every WebGPU device grants. Operations on larger
/// tensors run over slices.
pub const MAX_BINDING_BYTES: u64 = 128 << 20;

/// Bindings start at multiples of this: WebGPU's default `min_storage_buffer_offset_alignment`.
pub const OFFSET_ALIGNMENT_BYTES: u64 = 256;

/// Largest number of loop iterations, nested ones included, that one shader invocation may run. llvmpipe, which drives
/// lavapipe, silently ends the loops of an invocation after 65,535 in all; half of that leaves room for the loops
/// around.
pub const MAX_LOOP_ITERATIONS: usize = 32_768;

/// Work of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulates of convolutions and linear layers; FLOPs are twice that. Zero for the rest, as the field
    /// counts.
    pub macs: u64,
    /// Bytes that must be moved: every tensor read or written once, an updated one both, and what a sum over the whole
    /// map must be known for, read once more ([`Rule::reread_bytes`]). Channel padding is included.
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
    /// None: its kernels know f32 alone.
    None,
    /// Maps. It is an operation of training, whose weights stay f32.
    Maps,
    /// Maps, and weights where it has any: an operation of inference.
    MapsAndWeights,
}

/// What the graph knows of an operation.
pub trait Rule {
    /// Name for messages and profiles.
    fn name(&self) -> &'static str;

    /// Shapes of the outputs, given those of the inputs followed by those of the updated tensors; or what is wrong with
    /// them.
    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String>;

    /// Whether the first output is a loss: a number `[1]` from which differentiation may start.
    fn is_loss(&self) -> bool {
        false
    }

    /// Multiply-accumulates, for the operations that are counted.
    fn macs(&self, _inputs: &[&Spec], _outputs: &[&Spec]) -> u64 {
        0
    }

    /// Bytes of inputs that must be read twice, because the result of the first reading enters every element of the
    /// second, and no map of a real network fits on the chip in between.
    fn reread_bytes(&self, _inputs: &[&Spec]) -> u64 {
        0
    }

    /// Bytes of [`Self::reread_bytes`] that are saved where the producer of the input gathers as it writes what the
    /// first reading is for.
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

    /// Whether a step that recomputes activations keeps the result, since to compute it again is dear, or much else
    /// starts from it.
    fn kept_by_recomputation(&self, _inputs: &[&Spec]) -> bool {
        false
    }

    /// The operation that gives the first output again, to the bit, and updates nothing, where this one must not run
    /// twice. It takes this one's inputs and further outputs.
    fn repeated(&self) -> Option<Op> {
        None
    }

    /// The operation with one more input, a bias, and with an activation, if it has neither: then a batch norm of its
    /// result can be folded into its weights, the second input.
    fn with_bias(&self, _activation: Activation) -> Option<Op> {
        None
    }

    /// The operation that also does what a [`ScaleAdd`] of its result does, whose further inputs it takes after its
    /// own.
    fn with_join(&self, _join: &ScaleAdd) -> Option<Op> {
        None
    }

    /// The operation that makes the mean over height and width of the result from that of the first input, beside the
    /// same further inputs, if the two commute.
    fn of_means(&self, _inputs: &[&Spec]) -> Option<Op> {
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

            /// What the graph knows of it.
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
    Linear,
    LinearInputGrad,
    LinearWeightGrad,
    ActivationGrad,
    Dropout,
    Fill,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SgdMomentum,
    Accumulate,
    MovingAverage,
    SquaredNorm,
    GradientScale,
    Unscale,
    AdaptLossScale,
);

impl Node {
    /// What the operation's rule is asked with: the inputs, followed by the updated tensors.
    pub(crate) fn input_specs<'g>(&self, graph: &'g super::Graph) -> Vec<&'g Spec> {
        self.inputs.iter().chain(&self.updates).map(|&id| graph.spec(id)).collect()
    }

    /// The node's work, from its shapes.
    pub fn cost(&self, graph: &super::Graph) -> Cost {
        let inputs = self.input_specs(graph);
        let outputs: Vec<&Spec> = self.outputs.iter().map(|&t| graph.spec(t)).collect();
        let written_in_place: u64 = self.updates.iter().map(|&t| graph.spec(t).bytes()).sum();
        let once: u64 = inputs.iter().chain(&outputs).map(|s| s.bytes()).sum();
        let rule = self.op.rule();
        Cost { macs: rule.macs(&inputs, &outputs), bytes: once + written_in_place + rule.reread_bytes(&inputs) }
    }
}
