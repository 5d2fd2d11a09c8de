//! Depthwise convolution, with a separate kernel for each channel, and its two gradients.

use super::{Activation, Half, Op, Rule, Window, map, no_gradient, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// `y[n, oy, ox, c] = activation(sum over ky, kx of x[n, iy, ix, c] * w[ky, kx, c] + bias[c])`,
/// where window (oy, ox) reads pixel (iy, ix) with its tap (ky, kx); see [`Window`].
///
/// Inputs: x `[N, H, W, C]`, w `[KH, KW, C]` and, with `bias`, bias `[C]`. Output `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseConv2d {
    /// What each output pixel sees.
    pub window: Window,
    /// Whether a bias is added: that of a folded batch norm.
    pub bias: bool,
    /// Applied last.
    pub activation: Activation,
}

impl DepthwiseConv2d {
    /// A convolution without bias and activation.
    pub fn new(window: Window) -> Self {
        Self { window, bias: false, activation: Activation::Identity }
    }
}

/// Height, width and channels of a kernel.
fn kernel(spec: &Spec) -> Result<[usize; 3], String> {
    spec.shape.as_slice().try_into().map_err(|_| format!("expected a kernel [KH, KW, C], got {:?}", spec.shape))
}

impl Rule for DepthwiseConv2d {
    fn name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    /// A fused convolution belongs to a frozen part of the network. Only the result of that part is read, so there is
    /// nothing to rebuild.
    fn kept_by_recomputation(&self, _inputs: &[&Spec]) -> bool {
        self.bias
    }

    fn with_bias(&self, activation: Activation) -> Option<Op> {
        let bare = !self.bias && self.activation == Activation::Identity;
        bare.then(|| Self { bias: true, activation, ..*self }.into())
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + usize::from(self.bias))?;
        let [n, h, w, c] = map(inputs[0])?;
        let [kh, kw, channels] = kernel(inputs[1])?;
        same("the kernel's channels", &[channels], &[c])?;
        if self.bias {
            same("bias", &inputs[2].shape, &[c])?;
        }
        self.window.check_kernel([kh, kw])?;
        let [oh, ow] = self.window.windows([h, w])?;
        Ok(vec![Spec::channels([n, oh, ow, c])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (outputs[0].elements() * inputs[1].rows()) as u64
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        if self.bias || self.activation != Activation::Identity {
            return Err(no_gradient(node, " once its batch norm is folded; differentiate before fusion"));
        }
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let window = self.window;
        let dw = back.emit(node, DepthwiseWeightGrad { window }, &[x, dy])?[0];
        back.accumulate(node, w, dw)?;
        if back.needs(x) {
            let [_, h, width, _] = map(back.graph.spec(x)).unwrap_or_default();
            back.accumulate_with(node, x, |addend| {
                (DepthwiseInputGrad { window, size: [h, width], addend: addend.is_some() }.into(), vec![dy, w])
            })?;
        }
        Ok(())
    }
}

/// Gradient of [`DepthwiseConv2d`] with respect to its map:
/// `dx[n, y, x, c] = sum over ky, kx of dy[n, oy, ox, c] * w[ky, kx, c]`,
/// where window (oy, ox) reads pixel (y, x) with its tap (ky, kx).
///
/// Inputs: dy `[N, OH, OW, C]`, w `[KH, KW, C]` and, with `addend`, a gradient `[N, H, W, C]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseInputGrad {
    /// Window of the convolution.
    pub window: Window,
    /// Height and width of the convolution's input, which its windows alone do not determine.
    pub size: [usize; 2],
    /// Whether a third input is added: another path's gradient of the same map.
    pub addend: bool,
}

impl Rule for DepthwiseInputGrad {
    fn name(&self) -> &'static str {
        "depthwise_input_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2 + usize::from(self.addend))?;
        let [n, oh, ow, c] = map(inputs[0])?;
        let [kh, kw, channels] = kernel(inputs[1])?;
        self.window.check_kernel([kh, kw])?;
        let windows = self.window.windows(self.size)?;
        same("dy", &[oh, ow, c], &[windows[0], windows[1], channels])?;
        let shape = [n, self.size[0], self.size[1], c];
        if self.addend {
            same("addend", &inputs[2].shape, &shape)?;
        }
        Ok(vec![Spec::channels(shape)])
    }

    fn macs(&self, inputs: &[&Spec], _outputs: &[&Spec]) -> u64 {
        (inputs[0].elements() * inputs[1].rows()) as u64
    }
}

/// Gradient of [`DepthwiseConv2d`] with respect to its kernel:
/// `dw[ky, kx, c] = sum over n, oy, ox of x[n, iy, ix, c] * dy[n, oy, ox, c]`,
/// where window (oy, ox) reads pixel (iy, ix) with its tap (ky, kx).
///
/// Inputs: x `[N, H, W, C]`, dy `[N, OH, OW, C]`. Output `[KH, KW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseWeightGrad {
    /// Window of the convolution.
    pub window: Window,
}

impl Rule for DepthwiseWeightGrad {
    fn name(&self) -> &'static str {
        "depthwise_weight_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let [n, h, w, c] = map(inputs[0])?;
        let [kh, kw] = self.window.kernel;
        let windows = self.window.windows([h, w])?;
        same("dy", &inputs[1].shape, &[n, windows[0], windows[1], c])?;
        Ok(vec![Spec::depthwise([kh, kw, c])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (inputs[1].elements() * outputs[0].rows()) as u64
    }
}
