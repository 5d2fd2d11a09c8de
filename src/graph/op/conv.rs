//! Convolution of NHWC maps with HWIO kernels, and its two gradients.

use super::{Activation, Half, Linear, Op, Padding, Rule, ScaleAdd, map, no_gradient, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// What happens to a convolution's sum before it is stored: `activation((sum + bias) * gate + shortcut)`.
/// Each present operand is one more input, in this order.
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

    /// Number of operands: of the inputs that it adds to an operation's.
    pub(super) fn arity(&self) -> usize {
        usize::from(self.bias) + usize::from(self.gate) + usize::from(self.shortcut)
    }

    /// Bias, gate and shortcut, out of the inputs that it adds.
    pub(crate) fn operands<T: Copy>(&self, inputs: &[T]) -> [Option<T>; 3] {
        let mut inputs = inputs.iter().copied();
        [self.bias, self.gate, self.shortcut].map(|present| if present { inputs.next() } else { None })
    }

    /// Checks those inputs against the shape `[N, OH, OW, Co]` of the output.
    pub(super) fn check(&self, inputs: &[&Spec], output: [usize; 4]) -> Result<(), String> {
        let [n, _, _, co] = output;
        let [bias, gate, shortcut] = self.operands(inputs);
        bias.map_or(Ok(()), |bias| same("bias", &bias.shape, &[co]))?;
        gate.map_or(Ok(()), |gate| same("gate", &gate.shape, &[n, co]))?;
        shortcut.map_or(Ok(()), |shortcut| same("shortcut", &shortcut.shape, &output))
    }
}

/// `y[n, oy, ox, o] = sum over ky, kx, i of x[n, oy*stride + ky - top, ox*stride + kx - left, i] * w[ky, kx, i, o]`,
/// top and left being the padding.
///
/// Inputs: x `[N, H, W, Ci]`, w `[KH, KW, Ci, Co]`, then the epilogue's operands. Output `[N, OH, OW, Co]`.
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
}

/// A step that recomputes activations keeps a convolution's results if each takes more multiply-adds than this. RS-50 at 160
/// px then takes 14 % more multiply-adds a step (RS-420: 11 %) and needs 28 % (33 %) of the memory. Half the limit saves 6 %
/// of the multiply-adds and takes a quarter more memory; twice the limit adds as many and, for RS-50, saves nothing.
const CHEAP_MACS: usize = 512;

/// Longest side of a map: kernels keep both coordinates of a pixel in one register.
pub(super) const MAX_SIDE: usize = 32_767;

impl Rule for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn activation(&self) -> Activation {
        self.epilogue.activation
    }

    /// Fused ones are of a frozen part, of which nothing but the result is ever asked for.
    fn kept_by_recomputation(&self, inputs: &[&Spec]) -> bool {
        let [kh, kw, ci, _] = inputs[1].as_map();
        self.epilogue != Epilogue::NONE || kh * kw * ci > CHEAP_MACS
    }

    fn with_bias(&self, activation: Activation) -> Option<Op> {
        let epilogue = Epilogue { bias: true, activation, ..Epilogue::NONE };
        (self.epilogue == Epilogue::NONE).then(|| Self { epilogue, ..*self }.into())
    }

    fn with_join(&self, join: &ScaleAdd) -> Option<Op> {
        let ScaleAdd { gate, shortcut, activation } = *join;
        let bare = Epilogue { bias: self.epilogue.bias, ..Epilogue::NONE };
        let epilogue = Epilogue { gate, shortcut, activation, ..bare };
        (self.epilogue == bare).then(|| Self { epilogue, ..*self }.into())
    }

    /// A 1x1 convolution is a linear layer of each pixel.
    fn of_means(&self, inputs: &[&Spec]) -> Option<Op> {
        let biased = Epilogue { bias: true, ..Epilogue::NONE };
        let pointwise = inputs[1].shape.starts_with(&[1, 1]) && *self == Self { epilogue: biased, ..Self::new(1, 0) };
        pointwise.then(|| Linear { activation: Activation::Identity }.into())
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + self.epilogue.arity())?;
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

impl Rule for Conv2dInputGrad {
    fn name(&self) -> &'static str {
        "conv2d_input_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
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

impl Rule for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
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
}
