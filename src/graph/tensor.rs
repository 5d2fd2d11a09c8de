//! Tensors: shape, element type, storage layout and role.

/// Number of channels in a quad. Channels are stored and processed in quads, each of which is one `vec4` in a shader.
pub const LANES: usize = 4;

/// Output channels of a block of weights. Kernels multiply by blocks of columns. A block is contiguous, so it is read
/// sequentially, which suits caches and prefetchers: on a CPU adapter wide layers take a third of the time.
pub const WEIGHT_BLOCK: usize = 32;

/// Element type of a tensor in GPU memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16, for storage alone: kernels compute in f32. Only in padded layouts, so that a quad is 8 bytes.
    F16,
    /// Unsigned 32-bit: labels, counters, and pixels packed as RGBA, 8 bits each, red lowest.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
        }
    }
}

/// How a tensor's logical shape is laid out in memory, row-major in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The shape itself, without padding: labels, scalars, counters.
    Plain,
    /// The last dimension holds channels and is padded to a multiple of [`LANES`]:
    /// maps `[N, H, W, C]`, features `[N, C]`, per-channel vectors `[C]`.
    Channels,
    /// The last two dimensions are input and output channels, both padded to a multiple of [`LANES`] with zeros:
    /// convolution kernels `[KH, KW, Ci, Co]`, linear weights `[Ci, Co]`. The output channels come in blocks of
    /// [`WEIGHT_BLOCK`], one block's rows after another's (`shaders/shared/weights.wgsl`).
    Weights,
    /// Like [`Layout::Channels`], for the kernels of a depthwise convolution `[KH, KW, C]`: one for each channel.
    Depthwise,
}

/// Initial values of a parameter, as timm draws them (timm/models/resnet.py).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Constant(f32),
    /// Kaiming's normal distribution by fan-out, with the gain for ReLU: the standard deviation is
    /// `sqrt(2 / (KH * KW * Co))`, or `sqrt(2 / (KH * KW))` for a depthwise convolution.
    KaimingFanOut,
    /// A normal distribution around 0.
    Normal {
        /// Its standard deviation.
        deviation: f32,
    },
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half the width of the interval.
        bound: f32,
    },
}

/// What a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// A weight that is not trained, since its part of the network is frozen.
    Frozen,
    /// A running statistic of a batch norm.
    Statistic,
    /// What the optimiser remembers of earlier gradients.
    Momentum,
    /// The moving average of a parameter or a running statistic.
    Average,
    /// The sum of a parameter's gradients over the parts of a batch, recomputed by every step.
    Gradient,
    /// Sums of squared gradients, recomputed by every step.
    SquaredNorms,
    /// The loss scale of mixed precision, or the number of steps since it changed or a step overflowed.
    LossScale,
}

impl StateKind {
    /// Whether an inference network reads the state. The other kinds serve training alone.
    pub fn is_answered_with(self) -> bool {
        matches!(self, Self::Frozen | Self::Statistic)
    }

    /// Whether the next step reads the value that this step leaves in the state.
    pub fn outlives_a_step(self) -> bool {
        !matches!(self, Self::Gradient | Self::SquaredNorms)
    }
}

/// The role of a tensor, which determines how long it lives and who fills it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Fed from outside before each run.
    Input,
    /// Learned; persists between runs.
    Parameter(Init),
    /// Not learned, but persists between runs.
    State(StateKind, Init),
    /// Result of a forward node.
    Activation,
    /// Result of a backward node.
    Gradient,
}

impl Role {
    /// Whether the tensor outlives a run.
    pub fn is_persistent(self) -> bool {
        matches!(self, Role::Parameter(_) | Role::State(..))
    }
}

/// A tensor with the name by which users of a network or a step refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name, unique among the ports of a network or a step.
    pub name: &'static str,
    /// The tensor.
    pub id: TensorId,
}

/// Identifies a tensor within its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub(super) u32);

impl TensorId {
    /// Position in [`super::Graph::tensors`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Shape, layout and element type: what shape inference computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Logical dimensions, outermost first; maps are NHWC, convolution kernels HWIO.
    pub shape: Vec<usize>,
    /// How the shape lies in memory.
    pub layout: Layout,
    /// Element type.
    pub dtype: DType,
}

impl Spec {
    /// An f32 tensor whose last dimension holds channels.
    pub fn channels(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), layout: Layout::Channels, dtype: DType::F32 }
    }

    /// An f32 tensor whose last two dimensions are input and output channels.
    pub fn weights(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), layout: Layout::Weights, dtype: DType::F32 }
    }

    /// An f32 tensor of one kernel a channel, `[KH, KW, C]`.
    pub fn depthwise(shape: [usize; 3]) -> Self {
        Self { shape: shape.into(), layout: Layout::Depthwise, dtype: DType::F32 }
    }

    /// An unpadded tensor.
    pub fn plain(shape: impl Into<Vec<usize>>, dtype: DType) -> Self {
        Self { shape: shape.into(), layout: Layout::Plain, dtype }
    }

    /// Whether it is a map: pictures or features with a height and a width.
    pub fn is_map(&self) -> bool {
        self.layout == Layout::Channels && self.shape.len() == 4
    }

    /// Number of logical elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Dimensions in memory, padding included.
    pub fn storage_shape(&self) -> Vec<usize> {
        let padded = match self.layout {
            Layout::Plain => 0,
            Layout::Channels | Layout::Depthwise => 1,
            Layout::Weights => 2,
        };
        let first_padded = self.shape.len().saturating_sub(padded);
        let pad = |(i, &d): (usize, &usize)| if i >= first_padded { d.next_multiple_of(LANES) } else { d };
        self.shape.iter().enumerate().map(pad).collect()
    }

    /// Bytes in GPU memory, padding included.
    pub fn bytes(&self) -> u64 {
        self.storage_shape().iter().map(|&d| d as u64).product::<u64>() * self.dtype.bytes()
    }

    /// Bytes of a quad.
    pub fn quad_bytes(&self) -> u64 {
        LANES as u64 * self.dtype.bytes()
    }

    /// Elements of the last dimension.
    pub fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The last dimension in quads.
    pub fn quads(&self) -> usize {
        self.last().div_ceil(LANES)
    }

    /// The tensor's four dimensions for a convolution: features `[N, C]` are a map of one pixel, and a linear layer's
    /// weights `[Ci, Co]` are a kernel of one tap.
    pub fn as_map(&self) -> [usize; 4] {
        match *self.shape.as_slice() {
            [n, h, w, c] => [n, h, w, c],
            [i, o] if self.layout == Layout::Weights => [1, 1, i, o],
            _ => [self.rows(), 1, 1, self.last()],
        }
    }

    /// Product of all dimensions but the last: pixels of a map, rows of a feature matrix.
    pub fn rows(&self) -> usize {
        self.elements() / self.last().max(1)
    }
}

/// A tensor of a graph.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Unique within the graph. Parameters and statistics carry timm's names.
    pub name: String,
    /// Shape, layout, element type.
    pub spec: Spec,
    /// The tensor's role.
    pub role: Role,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_follows_the_layout() {
        let map = Spec::channels([2, 5, 7, 3]);
        assert_eq!(map.storage_shape(), [2, 5, 7, 4]);
        assert_eq!(map.bytes(), 2 * 5 * 7 * 4 * 4);
        assert_eq!(Spec { dtype: DType::F16, ..map.clone() }.bytes(), map.bytes() / 2);
        assert_eq!(map.rows(), 70);
        assert_eq!(Spec::weights([3, 3, 3, 10]).storage_shape(), [3, 3, 4, 12]);
        assert_eq!(Spec::plain([3], DType::U32).bytes(), 12);
    }
}
