//! Convolution of NHWC maps with HWIO kernels, and its two gradients.

use super::{Activation, Padding, Rule, map, no_gradient, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// What happens to a convolution's sum before it is stored: `activation((sum + bias) * gate + shortcut)`.
/// Each present part is one more input, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// Per output channel, `[Co]`.
    pub bias: bool,
    /// Squeeze-and-excitation gate, per image and channel, `[N, Co]`.
    pub gate: bool,
    /// Residual, same shape as the output.
    pub shortcut: bool,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue {
    /// The bare sum.
    pub const NONE: Self = Self { bias: false, gate: false, shortcut: false, activation: Activation::Identity };

    /// Number of inputs that it adds to an operation's.
    pub(super) fn parts(&self) -> usize {
        usize::from(self.bias) + usize::from(self.gate) + usize::from(self.shortcut)
    }

    /// Bias, gate and shortcut, of the inputs that it adds.
    pub(crate) fn operands<T: Copy>(&self, parts: &[T]) -> [Option<T>; 3] {
        let mut parts = parts.iter().copied();
        [self.bias, self.gate, self.shortcut].map(|present| if present { parts.next() } else { None })
    }

    /// Checks those inputs against the shape `[N, OH, OW, Co]` of the output.
    pub(super) fn check(&self, parts: &[&Spec], output: [usize; 4]) -> Result<(), String> {
        let [n, _, _, co] = output;
        let [bias, gate, shortcut] = self.operands(parts);
        bias.map_or(Ok(()), |bias| same("bias", &bias.shape, &[co]))?;
        gate.map_or(Ok(()), |gate| same("gate", &gate.shape, &[n, co]))?;
        shortcut.map_or(Ok(()), |shortcut| same("shortcut", &shortcut.shape, &output))
    }
}

/// `y[n, oy, ox, o] = sum over ky, kx, i of x[n, oy*stride + ky - top, ox*stride + kx - left, i] * w[ky, kx, i, o]`,
/// top and left being the padding.
///
/// Inputs: x `[N, H, W, Ci]`, w `[KH, KW, Ci, Co]`, then the epilogue's parts. Output `[N, OH, OW, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Step of the window, the same in both directions.
    pub stride: usize,
    /// Zeros around the map.
    pub padding: Padding,
    /// Fused work on the result.
    pub epilogue: Epilogue,
}

impl Conv2d {
    /// A plain convolution.
    pub fn new(stride: usize, padding: impl Into<Padding>) -> Self {
        Self { stride, padding: padding.into(), epilogue: Epilogue::NONE }
    }

    /// Parts that the sum over taps and input channels is cut into, added in order afterwards: where `y` is so small that its tiles would
    /// leave most of a GPU idle. Each part needs scratch memory of `y`'s size.
    pub fn parts(&self, w: &Spec, y: &Spec, busy: Workgroups) -> usize {
        let [kh, kw, ci, _] = w.as_map();
        parts(y, [y.rows(), y.last()], kh * kw * ci.div_ceil(4), busy)
    }
}

/// Workgroups of matrix products that keep a device busy. What has fewer is cut into parts whose sums are added up afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workgroups {
    /// Of a map or its gradient.
    pub map: usize,
    /// Of a gradient of weights.
    pub weights: usize,
}

/// Side of the tile that small products get, half of the largest.
const UNIT: usize = 64;

/// Taps times quads of input channels of a part, at least. A workgroup takes some 0.4 us for four of them where few share a compute
/// unit, so these take a third of the pass that adds up parts (measured on an H200 with 512 workgroups: RS-50's answer at 160 px
/// takes 8 % less with 12 than with 24).
const SHORTEST_PART: usize = 12;

/// Parts of the sums of a map, of which `[rows, columns]` are computed at once, over a sequence of taps and quads.
fn parts(map: &Spec, [rows, columns]: [usize; 2], sequence: usize, busy: Workgroups) -> usize {
    let tiles = rows.div_ceil(UNIT) * columns.div_ceil(UNIT);
    let for_binding = (super::MAX_BINDING_BYTES / part_bytes(map).max(1)) as usize;
    (busy.map / tiles.max(1)).min(sequence / SHORTEST_PART).min(for_binding).max(1)
}

/// Bytes of a partial result of a map, which is f32 whatever the storage of the map.
fn part_bytes(map: &Spec) -> u64 {
    map.bytes() / map.quad_bytes() * 16
}

/// Bytes of the partial results of a map.
fn parts_bytes(parts: usize, map: &Spec) -> u64 {
    if parts > 1 { parts as u64 * part_bytes(map) } else { 0 }
}

/// Longest side of a map: kernels keep both coordinates of a pixel in one register.
pub(super) const MAX_SIDE: usize = 32_767;

impl Rule for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + self.epilogue.parts())?;
        let [n, h, w, ci] = map(inputs[0])?;
        let [kh, kw, wi, co] = map(inputs[1])?;
        if wi != ci {
            return Err(format!("the kernel takes {wi} channels, the map has {ci}"));
        }
        let [top, left] = self.padding.before([h, w], [kh, kw], self.stride);
        if (h + 2 * top).max(w + 2 * left) > MAX_SIDE {
            return Err(format!("a side of {} pixels is too long, {MAX_SIDE} is the most, padding included", h.max(w)));
        }
        let [oh, ow] = self.padding.windows([h, w], [kh, kw], self.stride)?;
        let output = [n, oh, ow, co];
        self.epilogue.check(&inputs[2..], output)?;
        Ok(vec![Spec::channels(output)])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        let kernel = &inputs[1].shape;
        outputs[0].elements() as u64 * (kernel[0] * kernel[1] * kernel[2]) as u64
    }

    fn workspace_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        parts_bytes(self.parts(inputs[1], outputs[0], busy), outputs[0])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        if self.epilogue != Epilogue::NONE {
            return Err(no_gradient(node, " once its epilogue is fused; differentiate before fusion"));
        }
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let shape = back.graph.spec(w).shape.clone();
        let weight_grad = Conv2dWeightGrad { stride: self.stride, padding: self.padding, kernel: [shape[0], shape[1]] };
        let dw = back.emit(node, weight_grad, &[x, dy])?[0];
        back.accumulate(node, w, dw)?;
        if back.needs(x) {
            let [_, h, width, _] = map(back.graph.spec(x)).unwrap_or_default();
            let (stride, padding) = (self.stride, self.padding);
            back.accumulate_with(node, x, |addend| {
                (Conv2dInputGrad { stride, padding, size: [h, width], addend: addend.is_some() }.into(), vec![dy, w])
            })?;
        }
        Ok(())
    }
}

/// Gradient of [`Conv2d`] with respect to its map:
/// `dx[n, y, x, i] = sum over (ky, kx, o) that reach it of dy[n, (y + top - ky) / stride, ..., o] * w[ky, kx, i, o]`.
///
/// Inputs: dy `[N, OH, OW, Co]`, w `[KH, KW, Ci, Co]`, and, with `addend`, a gradient `[N, H, W, Ci]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dInputGrad {
    /// Stride of the convolution.
    pub stride: usize,
    /// Padding of the convolution.
    pub padding: Padding,
    /// Height and width of the convolution's input, which the stride alone does not determine.
    pub size: [usize; 2],
    /// Whether a third input is added: another path's gradient of the same map.
    pub addend: bool,
}

impl Conv2dInputGrad {
    /// Parts of the sum over taps and output channels, as [`Conv2d::parts`]. The phases of a strided convolution run one after another, a
    /// share of the map and of the taps each.
    pub fn parts(&self, w: &Spec, dx: &Spec, busy: Workgroups) -> usize {
        let [kh, kw, ci, co] = w.as_map();
        let taps = kh.div_ceil(self.stride) * kw.div_ceil(self.stride);
        let phase = [dx.rows().div_ceil(self.stride * self.stride), ci];
        parts(dx, phase, taps * co.div_ceil(4), busy)
    }
}

impl Rule for Conv2dInputGrad {
    fn name(&self) -> &'static str {
        "conv2d_input_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + usize::from(self.addend))?;
        let [n, oh, ow, co] = map(inputs[0])?;
        let [kh, kw, ci, wo] = map(inputs[1])?;
        let [h, w] = self.size;
        let windows = self.padding.windows([h, w], [kh, kw], self.stride)?;
        same("dy", &[oh, ow, co], &[windows[0], windows[1], wo])?;
        if self.addend {
            same("addend", &inputs[2].shape, &[n, h, w, ci])?;
        }
        Ok(vec![Spec::channels([n, h, w, ci])])
    }

    fn macs(&self, inputs: &[&Spec], _outputs: &[&Spec]) -> u64 {
        let kernel = &inputs[1].shape;
        inputs[0].elements() as u64 * (kernel[0] * kernel[1] * kernel[2]) as u64
    }

    /// The kernel with its channel dimensions exchanged, so that the gradient reads it as the forward pass does.
    fn workspace_bytes(&self, inputs: &[&Spec], _outputs: &[&Spec], _busy: Workgroups) -> u64 {
        inputs[1].bytes()
    }

    fn partial_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        parts_bytes(self.parts(inputs[1], outputs[0], busy), outputs[0])
    }
}

/// Gradient of [`Conv2d`] with respect to its kernel:
/// `dw[ky, kx, i, o] = sum over n, oy, ox of x[n, oy*stride + ky - top, ox*stride + kx - left, i] * dy[n, oy, ox, o]`.
///
/// Inputs: x `[N, H, W, Ci]`, dy `[N, OH, OW, Co]`. Output `[KH, KW, Ci, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dWeightGrad {
    /// Stride of the convolution.
    pub stride: usize,
    /// Padding of the convolution.
    pub padding: Padding,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
}

/// How the sum of a weight gradient is cut into runs of consecutive output lines. Each run has its own partial result, added in
/// order afterwards, so that the outcome does not depend on which finishes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Images in a run.
    pub images: usize,
    /// Runs that an image is cut into; more than 1 only where `images` is 1.
    pub per_image: usize,
    /// Lines of an image in a run.
    pub lines: usize,
    /// Runs in all.
    pub count: usize,
}

/// Pixels of a run, at least: 16 tiles of 16, enough for the sum of the runs to cost little beside.
const SHORTEST_RUN: usize = 256;

impl Conv2dWeightGrad {
    /// Runs enough to keep the device busy with workgroups of the largest tile.
    pub fn runs(&self, x: &Spec, dy: &Spec, busy: Workgroups) -> Runs {
        let rows = self.kernel[0] * self.kernel[1] * x.last().next_multiple_of(4);
        Runs::cut(x, dy, (2 * busy.weights).div_ceil(rows.div_ceil(UNIT) * dy.last().div_ceil(UNIT)))
    }
}

impl Runs {
    /// About `for_occupancy` runs, or more: their maps stay below the binding limit, and an invocation that walks over a run's pixels below
    /// [`super::MAX_LOOP_ITERATIONS`].
    pub(super) fn cut(x: &Spec, dy: &Spec, for_occupancy: usize) -> Self {
        let [images, height, width, _] = dy.as_map().map(|d| d.max(1));
        let image_bytes = (x.bytes().max(dy.bytes()) / images as u64).max(1);
        let for_binding = (super::MAX_BINDING_BYTES / image_bytes) as usize;
        // A line costs one iteration of its own besides its pixels'.
        let line_iterations = width + 1;
        let for_loop = super::MAX_LOOP_ITERATIONS / (height * line_iterations + 1);
        let shortest = (SHORTEST_RUN / (height * width)).min(images);
        let per_run = images.div_ceil(for_occupancy).max(shortest).min(for_binding).min(for_loop).max(1);
        let lines_for_occupancy = (height * images).div_ceil(for_occupancy).max(SHORTEST_RUN.div_ceil(width));
        let lines_for_loop = super::MAX_LOOP_ITERATIONS / line_iterations;
        let lines = lines_for_occupancy.min(lines_for_loop).clamp(1, height);
        let per_image = if per_run > 1 { 1 } else { height.div_ceil(lines) };
        Self {
            images: per_run,
            per_image,
            lines: height.div_ceil(per_image),
            count: images.div_ceil(per_run) * per_image,
        }
    }
}

impl Rule for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let [n, h, w, ci] = map(inputs[0])?;
        let [dn, oh, ow, co] = map(inputs[1])?;
        let [kh, kw] = self.kernel;
        let windows = self.padding.windows([h, w], [kh, kw], self.stride)?;
        same("dy", &[dn, oh, ow], &[n, windows[0], windows[1]])?;
        Ok(vec![Spec::weights([kh, kw, ci, co])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        outputs[0].elements() as u64 * inputs[1].rows() as u64
    }

    fn workspace_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        let runs = self.runs(inputs[0], inputs[1], busy).count as u64;
        if runs > 1 { runs * outputs[0].bytes() } else { 0 }
    }
}
