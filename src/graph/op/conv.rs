//! Convolution of NHWC maps with HWIO kernels, and its two gradients.

use super::{Activation, Half, Linear, Op, Rule, ScaleAdd, Window, map, no_gradient, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// Element-wise work on a convolution's sum before it is stored: `activation((sum + bias) * gate + shortcut)`. Each
/// operand that is present is one more input of the operation, in this order.
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
    /// The sum as it is.
    pub const NONE: Self = Self { bias: false, gate: false, shortcut: false, activation: Activation::Identity };

    /// A bias, and an activation.
    pub fn bias(activation: Activation) -> Self {
        Self { bias: true, activation, ..Self::NONE }
    }

    /// Whether a convolution with this epilogue has a gradient: none, or a bias, perhaps with a ReLU. The others are
    /// made by fusion, after differentiation.
    pub(crate) fn is_differentiable(&self) -> bool {
        let differentiable = [Self::NONE, Self::bias(Activation::Identity), Self::bias(Activation::Relu)];
        differentiable.contains(self)
    }

    /// Number of operands that are present.
    pub(super) fn arity(&self) -> usize {
        usize::from(self.bias) + usize::from(self.gate) + usize::from(self.shortcut)
    }

    /// Bias, gate and shortcut, each if it is present. `inputs` are the operands.
    pub(crate) fn operands<T: Copy>(&self, inputs: &[T]) -> [Option<T>; 3] {
        let mut inputs = inputs.iter().copied();
        [self.bias, self.gate, self.shortcut].map(|present| if present { inputs.next() } else { None })
    }

    /// Checks the operands against the shape `[N, OH, OW, Co]` of the output.
    pub(super) fn check(&self, inputs: &[&Spec], output: [usize; 4]) -> Result<(), String> {
        let [n, _, _, co] = output;
        let [bias, gate, shortcut] = self.operands(inputs);
        bias.map_or(Ok(()), |bias| same("bias", &bias.shape, &[co]))?;
        gate.map_or(Ok(()), |gate| same("gate", &gate.shape, &[n, co]))?;
        shortcut.map_or(Ok(()), |shortcut| same("shortcut", &shortcut.shape, &output))
    }
}

/// `y[n, oy, ox, o] = sum over ky, kx, i of x[n, iy, ix, i] * w[ky, kx, i, o]`,
/// where window (oy, ox) reads pixel (iy, ix) with its tap (ky, kx); see [`Window`].
///
/// Inputs: x `[N, H, W, Ci]`, w `[KH, KW, Ci, Co]`, then the epilogue's operands. Output `[N, OH, OW, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// What each output pixel sees.
    pub window: Window,
    /// Fused work on the result.
    pub epilogue: Epilogue,
}

impl Conv2d {
    /// A plain convolution.
    pub fn new(window: Window) -> Self {
        Self { window, epilogue: Epilogue::NONE }
    }
}

/// A step that recomputes activations keeps the result of a convolution if each element takes more multiply-adds than
/// this. RS-50 at 160 px then takes 14 % more multiply-adds a step (RS-420: 11 %) and needs 28 % (33 %) of the memory.
/// Half the limit saves 6 % of the multiply-adds and takes a quarter more memory; twice the limit adds 6 % and, for
/// RS-50, saves no memory.
const CHEAP_MACS: usize = 512;

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

    /// A convolution with an epilogue is kept: it belongs to a frozen part, of which only the result is read, or it is
    /// one of a head's, which ends in a bias.
    fn kept_by_recomputation(&self, inputs: &[&Spec]) -> bool {
        let [kh, kw, ci, _] = inputs[1].as_map();
        self.epilogue != Epilogue::NONE || kh * kw * ci > CHEAP_MACS
    }

    fn with_bias(&self, activation: Activation) -> Option<Op> {
        let epilogue = Epilogue::bias(activation);
        (self.epilogue == Epilogue::NONE).then(|| Self { epilogue, ..*self }.into())
    }

    fn with_join(&self, join: &ScaleAdd) -> Option<Op> {
        let ScaleAdd { gate, shortcut, activation } = *join;
        let bare = Epilogue { bias: self.epilogue.bias, ..Epilogue::NONE };
        let epilogue = Epilogue { gate, shortcut, activation, ..bare };
        (self.epilogue == bare).then(|| Self { epilogue, ..*self }.into())
    }

    /// A 1x1 convolution is a linear layer of each pixel.
    fn of_means(&self) -> Option<Op> {
        let epilogue = Epilogue::bias(Activation::Identity);
        let pointwise = *self == Self { window: Window::POINTWISE, epilogue };
        pointwise.then(|| Linear { activation: Activation::Identity }.into())
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + self.epilogue.arity())?;
        let [n, h, w, ci] = map(inputs[0])?;
        let [kh, kw, wi, co] = map(inputs[1])?;
        if wi != ci {
            return Err(format!("the kernel takes {wi} channels, the map has {ci}"));
        }
        self.window.check_kernel([kh, kw])?;
        let [oh, ow] = self.window.windows([h, w])?;
        let output = [n, oh, ow, co];
        self.epilogue.check(&inputs[2..], output)?;
        Ok(vec![Spec::channels(output)])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        let kernel = &inputs[1].shape;
        outputs[0].elements() as u64 * (kernel[0] * kernel[1] * kernel[2]) as u64
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        if !self.epilogue.is_differentiable() {
            return Err(no_gradient(node, " once its epilogue is fused; differentiate before fusion"));
        }
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let Some(mut dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        if self.epilogue.bias {
            let relu = self.epilogue.activation == Activation::Relu;
            let inputs = if relu { vec![dy, node.outputs[0]] } else { vec![dy] };
            let gradients = back.emit(node, BiasGrad { relu }, &inputs)?;
            back.accumulate(node, node.inputs[2], gradients[0])?;
            dy = gradients.get(1).copied().unwrap_or(dy);
        }
        let window = self.window;
        let dw = back.emit(node, Conv2dWeightGrad { window }, &[x, dy])?[0];
        back.accumulate(node, w, dw)?;
        if back.needs(x) {
            let [_, h, width, _] = map(back.graph.spec(x)).unwrap_or_default();
            back.accumulate_with(node, x, |addend| {
                (Conv2dInputGrad { window, size: [h, width], addend: addend.is_some() }.into(), vec![dy, w])
            })?;
        }
        Ok(())
    }
}

/// Gradient of a convolution's bias: `db = sum over n, y, x of d`, where `d = dy`, or after a ReLU `d = dy` where the
/// result is above 0 and 0 elsewhere.
///
/// Inputs: dy `[N, H, W, C]` and, with `relu`, the convolution's result. Outputs: db `[C]` and, with `relu`, d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BiasGrad {
    /// Whether a ReLU follows the bias.
    pub relu: bool,
}

impl Rule for BiasGrad {
    fn name(&self) -> &'static str {
        "bias_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.relu))?;
        let shape = map(inputs[0])?;
        let bias = Spec::channels([shape[3]]);
        if !self.relu {
            return Ok(vec![bias]);
        }
        same("the result", &inputs[1].shape, &shape)?;
        Ok(vec![bias, Spec::channels(shape)])
    }
}

/// Gradient of [`Conv2d`] with respect to its map:
/// `dx[n, y, x, i] = sum over ky, kx, o of dy[n, oy, ox, o] * w[ky, kx, i, o]`,
/// where window (oy, ox) reads pixel (y, x) with its tap (ky, kx): `oy = (y + zeros above - ky * dilation) / stride`
/// where that is whole, and so across.
///
/// Inputs: dy `[N, OH, OW, Co]`, w `[KH, KW, Ci, Co]`, and, with `addend`, a gradient `[N, H, W, Ci]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dInputGrad {
    /// Window of the convolution.
    pub window: Window,
    /// Height and width of the convolution's input, which its windows alone do not determine.
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
        self.window.check_kernel([kh, kw])?;
        let windows = self.window.windows([h, w])?;
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
/// `dw[ky, kx, i, o] = sum over n, oy, ox of x[n, iy, ix, i] * dy[n, oy, ox, o]`,
/// where window (oy, ox) reads pixel (iy, ix) with its tap (ky, kx).
///
/// Inputs: x `[N, H, W, Ci]`, dy `[N, OH, OW, Co]`. Output `[KH, KW, Ci, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dWeightGrad {
    /// Window of the convolution.
    pub window: Window,
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
        let [kh, kw] = self.window.kernel;
        let windows = self.window.windows([h, w])?;
        same("dy", &[dn, oh, ow], &[n, windows[0], windows[1]])?;
        Ok(vec![Spec::weights([kh, kw, ci, co])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        outputs[0].elements() as u64 * inputs[1].rows() as u64
    }
}
