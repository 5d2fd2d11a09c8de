//! Lowers nodes to kernel launches: which shader, with which settings, on which ranges of memory.
//!
//! There is one file per family of operations, with a folder of the same name in `shaders/`. Lowering needs no GPU: it
//! is a pure function of the graph and the [`Target`], so tests can enumerate every shader that any network uses.

mod boxes;
mod choices;
mod concat;
mod conv;
mod dense;
mod depth;
mod depthwise;
pub mod frame;
mod gate;
mod input;
mod loss;
mod norm;
mod optim;
mod params;
mod pixels;
mod pool;
mod resize;
mod scratch;
mod shape;
mod source;
mod splits;
mod variants;
mod winograd;

use std::ops::Range;

pub use choices::{Choices, Method, candidates};
pub use params::{Params, Scalar, Word};
pub use scratch::{plan, scratch_bytes};
pub use shape::{ConvShape, Direction};
pub use source::{Kernel, Needs, Setting};
pub use variants::ConvVariant;

pub(crate) use params::words;

use crate::gpu::{Family, HalfStorage, Target};
use crate::graph::op::{MAX_BINDING_BYTES, OFFSET_ALIGNMENT_BYTES, Window};
use crate::graph::plan::Scratch;
use crate::graph::{Activation, DType, Graph, Node, NodeId, Op, Role, Spec, TensorId};

/// Why a node has no kernels.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{node}: {tensor} takes {bytes} bytes, which neither fit one shader binding of {MAX_BINDING_BYTES} nor can be cut \
     into such pieces. Use a smaller resolution, or one that is a multiple of 8, or a narrower network"
)]
pub struct TooLarge {
    /// Name of the node.
    node: String,
    /// Name of the tensor.
    tensor: String,
    /// Size of the tensor.
    bytes: u64,
}

/// One launch of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The shader.
    pub kernel: Kernel,
    /// Ranges of memory for bindings 1, 2, ...; binding 0 is the parameter block.
    pub views: Vec<View>,
    /// The parameter block.
    pub params: Params,
    /// Workgroups along x, y, z.
    pub workgroups: [u32; 3],
}

/// A range of a tensor's memory, or of the node's scratch memory.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whose memory.
    pub place: Place,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Whose memory a view looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A tensor's.
    Tensor(TensorId),
    /// The node's scratch memory.
    Scratch(Scratch),
}

/// Invocations that add up one sum on a GPU. Where there are few sums, each often has thousands of terms. One
/// invocation would fetch them one after another, at a latency of half a microsecond each.
const TEAM: usize = 64;

/// Invocations of a workgroup of `shared/team.wgsl` on a GPU: a few teams.
const TEAM_WORKGROUP: usize = 256;

/// Invocations of a workgroup of `shared/each.wgsl`.
pub(crate) const EACH_WORKGROUP: usize = 64;

/// Kernel launches of one node, in order. Convolutions use the kernels that `choices` names.
pub fn lower(graph: &Graph, node: NodeId, target: Target, choices: &Choices) -> Result<Vec<Launch>, TooLarge> {
    let mut l = Lowering { graph, id: node, node: &graph.nodes()[node], target, choices, launches: Vec::new() };
    match &l.node.op {
        Op::Standardize(op) => input::standardize(&mut l, op),
        Op::Conv2d(op) => conv::forward(&mut l, op)?,
        Op::Conv2dInputGrad(op) => conv::input_grad(&mut l, op)?,
        Op::Conv2dWeightGrad(op) => conv::weight_grad(&mut l, op)?,
        Op::BiasGrad(op) => conv::bias_grad(&mut l, op),
        Op::DepthwiseConv2d(op) => depthwise::forward(&mut l, op)?,
        Op::DepthwiseInputGrad(op) => depthwise::input_grad(&mut l, op)?,
        Op::DepthwiseWeightGrad(op) => depthwise::weight_grad(&mut l, op)?,
        Op::WinogradWeights(op) => winograd::weights(&mut l, op),
        Op::WinogradInput(op) => winograd::input(&mut l, op),
        Op::WinogradProduct(_) => conv::products(&mut l),
        Op::WinogradOutput(op) => winograd::output(&mut l, op),
        Op::BatchNorm(op) => norm::batch_norm(&mut l, op),
        Op::BatchNormGrad(op) => norm::batch_norm_grad(&mut l, op),
        Op::Normalize(op) => norm::normalize(&mut l, op),
        Op::BatchNormInference(op) => norm::batch_norm_inference(&mut l, op)?,
        Op::FoldBatchNorm(op) => norm::fold_batch_norm(&mut l, op),
        Op::ScaleAdd(op) => gate::scale_add(&mut l, op)?,
        Op::ScaleAddGrad(op) => gate::scale_add_grad(&mut l, op)?,
        Op::GlobalAvgPool(_) => pool::global_avg(&mut l)?,
        Op::GlobalAvgPoolGrad(op) => pool::global_avg_grad(&mut l, op)?,
        Op::AvgPool(op) => pool::avg(&mut l, op)?,
        Op::AvgPoolGrad(op) => pool::avg_grad(&mut l, op)?,
        Op::MaxPool(op) => pool::max(&mut l, op)?,
        Op::MaxPoolGrad(op) => pool::max_grad(&mut l, op)?,
        Op::Resize(op) => resize::resize(&mut l, op)?,
        Op::ResizeGrad(op) => resize::resize_grad(&mut l, op)?,
        Op::Concat(_) => concat::concat(&mut l)?,
        Op::SliceChannels(op) => concat::slice_channels(&mut l, op)?,
        Op::Linear(op) => dense::linear(&mut l, op)?,
        Op::LinearInputGrad(_) => dense::linear_input_grad(&mut l)?,
        Op::LinearWeightGrad(_) => dense::linear_weight_grad(&mut l)?,
        Op::ActivationGrad(op) => dense::activation_grad(&mut l, op),
        Op::Dropout(op) => gate::dropout(&mut l, op)?,
        Op::Fill(op) => gate::fill(&mut l, op),
        Op::SoftmaxCrossEntropy(op) => loss::softmax_cross_entropy(&mut l, op),
        Op::SoftmaxCrossEntropyGrad(op) => loss::softmax_cross_entropy_grad(&mut l, op),
        Op::PixelCrossEntropy(op) => pixels::cross_entropy(&mut l, op),
        Op::PixelCrossEntropyGrad(op) => pixels::cross_entropy_grad(&mut l, op),
        Op::Argmax(_) => pixels::argmax(&mut l),
        Op::Confusion(op) => pixels::confusion(&mut l, op),
        Op::FocalLoss(op) => boxes::focal_loss(&mut l, op),
        Op::FocalLossGrad(op) => boxes::focal_loss_grad(&mut l, op),
        Op::BoxLoss(op) => boxes::box_loss(&mut l, op),
        Op::BoxLossGrad(op) => boxes::box_loss_grad(&mut l, op),
        Op::DepthLoss(op) => depth::depth_loss(&mut l, op),
        Op::DepthLossGrad(op) => depth::depth_loss_grad(&mut l, op),
        Op::ScaledSigmoid(op) => depth::scaled_sigmoid(&mut l, op)?,
        Op::ScaledSigmoidGrad(op) => depth::scaled_sigmoid_grad(&mut l, op)?,
        Op::SgdMomentum(op) => optim::sgd_momentum(&mut l, op),
        Op::AdamW(op) => optim::adamw(&mut l, op),
        Op::BiasCorrection(op) => optim::bias_correction(&mut l, op),
        Op::Accumulate(_) => optim::accumulate(&mut l),
        Op::MovingAverage(_) => optim::moving_average(&mut l),
        Op::SquaredNorm(_) => optim::squared_norm(&mut l),
        Op::GradientScale(op) => optim::gradient_scale(&mut l, op),
        Op::Unscale(_) => optim::unscale(&mut l),
        Op::AdaptLossScale(op) => optim::adapt_loss_scale(&mut l, op),
    }
    match l.launches.iter().flat_map(|launch| &launch.views).find(|view| view.bytes > MAX_BINDING_BYTES) {
        Some(view) => Err(l.too_large(*view)),
        None => Ok(l.launches),
    }
}

/// The state of lowering one node to launches.
struct Lowering<'g> {
    graph: &'g Graph,
    id: NodeId,
    node: &'g Node,
    target: Target,
    choices: &'g Choices,
    launches: Vec<Launch>,
}

/// A tensor as the lowering rules see it.
#[derive(Clone, Copy)]
struct Operand<'g> {
    place: Place,
    spec: &'g Spec,
}

impl<'g> Lowering<'g> {
    fn operand(&self, id: TensorId) -> Operand<'g> {
        Operand { place: Place::Tensor(id), spec: self.graph.spec(id) }
    }

    fn input(&self, i: usize) -> Operand<'g> {
        self.operand(self.node.inputs[i])
    }

    fn output(&self, i: usize) -> Operand<'g> {
        self.operand(self.node.outputs[i])
    }

    fn update(&self, i: usize) -> Operand<'g> {
        self.operand(self.node.updates[i])
    }

    /// The kernel variant for this node's convolution.
    fn variant(&self) -> ConvVariant {
        let shape =
            ConvShape::of(self.graph, self.node, self.target).unwrap_or_else(|| unreachable!("only convolutions ask"));
        self.choices.variant(self.target, &shape)
    }

    fn workspace(&self) -> View {
        self.scratch(Scratch::Workspace)
    }

    fn scratch(&self, which: Scratch) -> View {
        let bytes = scratch_bytes(self.graph, self.id, which, self.target);
        assert!(bytes > 0, "{}: its kernels use scratch memory that was not asked for", self.node.name);
        View { place: Place::Scratch(which), offset: 0, bytes }
    }

    /// A kernel that reads or writes maps or weights in either precision; see `shaders/shared/storage.wgsl`.
    fn kernel(&self, template: &'static str) -> Kernel {
        let half = self.node.inputs.iter().chain(&self.node.outputs).any(|&t| self.graph.spec(t).dtype == DType::F16);
        self.kernel_storing(if half { DType::F16 } else { DType::F32 }, template)
    }

    /// A kernel that stores maps or weights as `dtype`, for nodes whose kernels do not all use all of their tensors.
    /// Numbers that overflow f16 become infinite if the node computes gradients in f16, else the largest f16.
    fn kernel_storing(&self, dtype: DType, template: &'static str) -> Kernel {
        let of_gradient = |id: &TensorId| {
            let tensor = self.graph.tensor(*id);
            tensor.spec.dtype == DType::F16 && tensor.role == Role::Gradient
        };
        let gradient = self.node.outputs.iter().any(of_gradient);
        Kernel::new(template).with("storage", self.storage(dtype)).with("gradient", Setting::Flag(gradient))
    }

    /// A kernel that reads and writes only f32.
    fn kernel_in_full(&self, template: &'static str) -> Kernel {
        Kernel::new(template).with("storage", self.storage(DType::F32)).with("gradient", Setting::Flag(false))
    }

    /// Like [`Self::kernel`], for a kernel whose weights may have another type than its maps.
    fn kernel_with_weights(&self, template: &'static str, weights: &Spec) -> Kernel {
        self.kernel(template).with("weights", self.storage(weights.dtype))
    }

    /// The shader setting for how four numbers of a type are stored.
    fn storage(&self, dtype: DType) -> Setting {
        let Target { half, by_64, .. } = self.target;
        Setting::Text(match (dtype, half) {
            (DType::F16, _) if by_64 => "f16_by_64",
            (DType::F16, HalfStorage::Native) => "f16",
            (DType::F16, HalfStorage::Packed) => "packed",
            _ if by_64 => "f32_by_64",
            _ => "f32",
        })
    }

    fn too_large(&self, view: View) -> TooLarge {
        let tensor = match view.place {
            Place::Tensor(id) => self.graph.tensor(id).name.clone(),
            Place::Scratch(_) => "its scratch memory".to_owned(),
        };
        TooLarge { node: self.node.name.clone(), tensor, bytes: view.bytes }
    }

    fn launch(&mut self, kernel: Kernel, views: Vec<View>, params: Params, workgroups: [u32; 3]) {
        self.launches.push(Launch { kernel, views, params, workgroups });
    }

    /// Launches a kernel of `shared/each.wgsl`'s form over `count` elements; `count` becomes its first parameter.
    fn each(&mut self, kernel: Kernel, views: Vec<View>, count: usize, params: Params) {
        self.launch(kernel, views, params.counted(count), fold(count.div_ceil(EACH_WORKGROUP)));
    }

    /// Launches a kernel of `shared/team.wgsl`'s form over `count` sums; `count` becomes its first parameter.
    fn team(&mut self, kernel: Kernel, views: Vec<View>, count: usize, params: Params) {
        let (team, workgroup) = match self.target.family {
            Family::Tiles => (TEAM, TEAM_WORKGROUP),
            Family::Registers => (1, EACH_WORKGROUP),
        };
        let kernel = kernel.with("team", Setting::Number(team));
        self.launch(kernel, views, params.counted(count), fold((count * team).div_ceil(workgroup)));
    }

    /// Runs of images such that each map's part fits one binding and starts at an allowed offset.
    fn image_slices(&self, maps: &[Operand<'_>]) -> Result<Vec<Range<usize>>, TooLarge> {
        self.image_slices_by(maps, 1)
    }

    /// Like [`Self::image_slices`], but each run except the last is a multiple of `unit` images.
    fn image_slices_by(&self, maps: &[Operand<'_>], unit: usize) -> Result<Vec<Range<usize>>, TooLarge> {
        let images = maps[0].spec.shape[0];
        let fits = |n: usize| {
            maps.iter().all(|m| {
                let bytes = m.image_bytes() * n as u64;
                bytes <= MAX_BINDING_BYTES && (n == images || bytes.is_multiple_of(OFFSET_ALIGNMENT_BYTES))
            })
        };
        let step =
            (1..=images).rev().filter(|&n| n == images || n % unit == 0).find(|&n| fits(n)).ok_or_else(|| {
                let largest = maps.iter().max_by_key(|m| m.image_bytes()).unwrap_or(&maps[0]);
                self.too_large(largest.whole())
            })?;
        Ok((0..images).step_by(step).map(|first| first..(first + step).min(images)).collect())
    }
}

impl Operand<'_> {
    fn image_bytes(&self) -> u64 {
        self.spec.bytes() / self.spec.shape[0].max(1) as u64
    }

    fn whole(&self) -> View {
        View { place: self.place, offset: 0, bytes: self.spec.bytes() }
    }

    /// A run of the first dimension.
    fn images(&self, run: &Range<usize>) -> View {
        let bytes = self.image_bytes();
        View { place: self.place, offset: bytes * run.start as u64, bytes: bytes * run.len() as u64 }
    }

    /// A run of rows: all dimensions but the last, taken as one.
    fn rows(&self, run: &Range<usize>) -> View {
        let bytes = self.spec.bytes() / self.spec.rows().max(1) as u64;
        View { place: self.place, offset: bytes * run.start as u64, bytes: bytes * run.len() as u64 }
    }

    /// A run of elements of an unpadded tensor.
    fn elements(&self, run: &Range<usize>) -> View {
        View { place: self.place, offset: 4 * run.start as u64, bytes: 4 * run.len() as u64 }
    }

    /// Number of `vec4` in a run of images.
    fn vec4_in(&self, run: &Range<usize>) -> usize {
        (self.image_bytes() * run.len() as u64 / self.spec.quad_bytes()) as usize
    }

    /// Number of `vec4` in memory.
    fn vec4(&self) -> usize {
        (self.spec.bytes() / self.spec.quad_bytes()) as usize
    }

    /// Height times width of a map.
    fn pixels(&self) -> usize {
        self.spec.shape[1] * self.spec.shape[2]
    }
}

/// Spreads a number of workgroups over two dimensions, each within WebGPU's limit of 65,535. Their product may be
/// larger than that number.
fn fold(workgroups: usize) -> [u32; 3] {
    const LIMIT: usize = 65_535;
    let y = workgroups.div_ceil(LIMIT).max(1);
    [workgroups.div_ceil(y).max(1) as u32, y as u32, 1]
}

/// Settings of a kernel whose text depends on its window.
fn with_window(kernel: Kernel, window: &Window) -> Kernel {
    let Window {
        kernel: [kernel_h, kernel_w], stride: [stride_h, stride_w], dilation: [dilation_h, dilation_w], ..
    } = *window;
    kernel
        .with("kernel_h", Setting::Number(kernel_h))
        .with("kernel_w", Setting::Number(kernel_w))
        .with("stride_h", Setting::Number(stride_h))
        .with("stride_w", Setting::Number(stride_w))
        .with("dilation_h", Setting::Number(dilation_h))
        .with("dilation_w", Setting::Number(dilation_w))
}

/// Name of an activation in shader settings.
fn activation(activation: Activation) -> Setting {
    Setting::Text(match activation {
        Activation::Identity => "identity",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        Activation::Sigmoid => "sigmoid",
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::Precision;
    use crate::graph::StateKind;
    use crate::graph::half::{store_half, store_half_maps};
    use crate::graph::op::{BatchNorm, BatchNormGrad, Statistics};
    use crate::models::{Config, Input, Mode, Network};
    use crate::train::task::Classify;
    use crate::train::{Step, StepOptions};

    const PIXELS: Input = Input::Pixels { mean: [0.5; 3], std: [0.2; 3] };

    fn assert_cut_into_aligned_slices(graph: &Graph) {
        let offsets = |node: usize| {
            let launches = lower(graph, node, Target::TILES, Choices::TABLE).unwrap();
            launches.into_iter().flat_map(|launch| launch.views).map(|view| view.offset)
        };
        let offsets: Vec<u64> = (0..graph.nodes().len()).flat_map(offsets).collect();
        assert!(offsets.iter().any(|&offset| offset > 0), "some node runs in slices");
        assert!(offsets.iter().all(|offset| offset.is_multiple_of(OFFSET_ALIGNMENT_BYTES)));
    }

    /// 64 pictures of 401 px: maps beyond one binding, of sizes that rarely fall on multiples of 256 bytes.
    #[test]
    fn odd_resolutions_are_cut_into_aligned_slices() {
        let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
        let mut inference = Network::build(&config, 64, [401, 401], PIXELS, Mode::Inference).unwrap().graph;
        assert_cut_into_aligned_slices(&inference);
        store_half(&mut inference).unwrap();
        assert_cut_into_aligned_slices(&inference);
        for precision in [Precision::F32, Precision::F16] {
            let options = StepOptions { precision, ..StepOptions::default() };
            let step = Step::build(&config, 64, [401, 401], PIXELS, &Classify::default(), &options).unwrap();
            assert_cut_into_aligned_slices(&step.graph);
        }
    }

    /// Three quads take 24 bytes in f16, so 16 rows of them are no multiple of 256. In chunks of a multiple of 16 rows,
    /// 62 pictures would have chunks of 19,472 rows and slices of 287 chunks: 16 times an odd number of rows.
    #[test]
    fn odd_numbers_of_quads_are_cut_into_aligned_slices() {
        let mut g = Graph::new();
        let x = g.input("x", Spec::channels([62, 401, 401, 12])).unwrap();
        let vector = || Spec::channels([12]);
        let [gamma, beta] = ["gamma", "beta"].map(|name| g.input(name, vector()).unwrap());
        let [mean, variance] =
            ["mean", "variance"].map(|name| g.state(name.into(), vector(), StateKind::Statistic, 0.0).unwrap());
        let norm = BatchNorm { eps: 1e-5, momentum: 0.1, activation: Activation::Relu };
        let made = g.apply("norm", norm, &[x, gamma, beta], &[mean, variance]).unwrap();
        let inputs = [x, made[0], gamma, beta, made[1], made[2]];
        g.apply(
            "gradient",
            BatchNormGrad { activation: Activation::Relu, statistics: Statistics::Batch },
            &inputs,
            &[],
        )
        .unwrap();
        assert_cut_into_aligned_slices(&g);
        store_half_maps(&mut g).unwrap();
        assert_cut_into_aligned_slices(&g);
    }

    #[test]
    fn folded_dispatches_cover_everything_within_the_limit() {
        for n in [0, 1, 65_535, 65_536, 1_000_000, 65_535 * 65_535] {
            let [x, y, z] = fold(n);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(x as usize * y as usize >= n, "{n}");
            assert!((x as usize - 1) * (y as usize) < n.max(1), "{n}: no more than one workgroup of a row is idle");
        }
    }
}
