//! Operations that join the branch of a residual block to its shortcut: channel gates, dropped branches, the addition.

use super::{Activation, Half, Rule, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{DType, Error, Layout, Node, Spec};

/// `y = activation(x * gate + shortcut)`: squeeze-and-excitation's scaling, the residual addition and its activation.
///
/// Inputs: x `[N, H, W, C]`, then, if present, gate `[N, C]` and shortcut `[N, H, W, C]`. Without a gate, x may be any
/// tensor whose channels are padded, weights included; the shortcut then has the same shape and layout as x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScaleAdd {
    /// Whether x is scaled per image and channel.
    pub gate: bool,
    /// Whether a shortcut is added.
    pub shortcut: bool,
    /// Applied last.
    pub activation: Activation,
}

impl ScaleAdd {
    /// The plain sum of two tensors.
    pub const ADD: Self = Self { gate: false, shortcut: true, activation: Activation::Identity };
}

/// Shape and layout of x and the result, in f32.
fn scale_add_spec(inputs: &[&Spec], gate: bool, shortcut: bool) -> Result<Spec, String> {
    super::arity(inputs, 1 + usize::from(gate) + usize::from(shortcut))?;
    let x = Spec { dtype: DType::F32, ..inputs[0].clone() };
    if x.layout == Layout::Plain {
        return Err("adds quads of channels, which a plain tensor does not have".into());
    }
    if gate {
        let [n, _, _, c] = map(&x)?;
        same("gate", &inputs[1].shape, &[n, c])?;
    }
    if shortcut {
        let shortcut = inputs[1 + usize::from(gate)];
        same("shortcut", &shortcut.shape, &x.shape)?;
        if shortcut.layout != x.layout {
            return Err(format!("the shortcut lies in memory as {:?}, x as {:?}", shortcut.layout, x.layout));
        }
    }
    Ok(x)
}

impl Rule for ScaleAdd {
    fn name(&self) -> &'static str {
        "scale_add"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    /// Keeps the sums that end residual blocks.
    fn kept_by_recomputation(&self, _inputs: &[&Spec]) -> bool {
        self.shortcut
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        Ok(vec![scale_add_spec(inputs, self.gate, self.shortcut)?])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let grad = ScaleAddGrad { gate: self.gate, shortcut: self.shortcut, activation: self.activation };
        if !grad.gate && grad.activation == Activation::Identity {
            for &tensor in &node.inputs {
                back.accumulate(node, tensor, dy)?;
            }
            return Ok(());
        }
        let mut inputs = vec![dy, node.inputs[0]];
        inputs.extend(self.gate.then(|| node.inputs[1]));
        inputs.extend(if grad.reads_result() {
            Some(node.outputs[0])
        } else {
            node.inputs.get(inputs.len() - 1).copied()
        });
        let gradients = back.emit(node, grad, &inputs)?;
        back.accumulate(node, node.inputs[0], gradients[0])?;
        if self.gate {
            back.accumulate(node, node.inputs[1], gradients[1])?;
        }
        if self.shortcut {
            // Without a gate both paths receive the same gradient, stored once.
            let gradient = if self.gate { gradients[2] } else { gradients[0] };
            back.accumulate(node, node.inputs[1 + usize::from(self.gate)], gradient)?;
        }
        Ok(())
    }
}

/// Gradient of [`ScaleAdd`]. With `d = dy * activation'(x * gate + shortcut)`: `dx = d * gate`,
/// `dgate = sum over H, W of d * x`, `dshortcut = d`.
///
/// Inputs: dy, x, then the gate if there is one, then the result y if [`Self::reads_result`], else the shortcut if
/// there is one. Outputs: dx; with a gate also dgate `[N, C]`; with both a gate and a shortcut also dshortcut (without
/// a gate it equals dx).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScaleAddGrad {
    /// As in the forward node.
    pub gate: bool,
    /// As in the forward node.
    pub shortcut: bool,
    /// As in the forward node.
    pub activation: Activation,
}

impl ScaleAddGrad {
    /// Whether the derivative is computed from the result y: for ReLU, since y is positive where its argument is. The
    /// next block keeps y in any case, while no other node keeps a shortcut that is a batch norm's result.
    pub fn reads_result(&self) -> bool {
        self.activation == Activation::Relu
    }
}

impl Rule for ScaleAddGrad {
    fn name(&self) -> &'static str {
        "scale_add_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let [dy, rest @ ..] = inputs else { return Err("takes dy first".into()) };
        let x = scale_add_spec(rest, self.gate, self.shortcut || self.reads_result())?;
        same("dy", &dy.shape, &x.shape)?;
        let mut outputs = vec![x.clone()];
        if self.gate {
            outputs.push(Spec::channels([x.shape[0], x.last()]));
            if self.shortcut {
                outputs.push(x);
            }
        }
        Ok(outputs)
    }
}

/// Which elements are dropped together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropoutScope {
    /// Each element on its own: dropout.
    Element,
    /// All of a picture: stochastic depth.
    Sample,
}

/// `y = x * mask / (1 - rate)`, the mask 0 with probability `rate`, else 1.
///
/// Inputs: x `[N, C]` or `[N, H, W, C]`, clock `[2]` (u32: seed, step). The mask is a hash of seed, step, `stream` and
/// position (see `shaders/shared/random.wgsl`), so the backward pass, which applies the same operation to the gradient,
/// computes the same mask. Stochastic depth drops a block's gate, which is one number per channel, rather than its map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of zero, in `[0, 1)`.
    pub rate: f32,
    /// Which elements are dropped together.
    pub scope: DropoutScope,
    /// Distinguishes the dropouts of one network.
    pub stream: u32,
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        if inputs[0].layout != Layout::Channels || !matches!(inputs[0].shape.len(), 2 | 4) {
            return Err(format!("drops features [N, C] or maps [N, H, W, C], got {:?}", inputs[0].shape));
        }
        same("clock", &inputs[1].shape, &[2])?;
        if inputs[1].dtype != DType::U32 {
            return Err("the clock holds u32: seed, step".into());
        }
        if !(0.0..1.0).contains(&self.rate) {
            return Err(format!("the rate must lie in [0, 1), got {}", self.rate));
        }
        Ok(vec![Spec::channels(inputs[0].shape.clone())])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let (x, clock) = (node.inputs[0], node.inputs[1]);
        if back.needs(x) {
            let dx = back.emit(node, *self, &[dy, clock])?[0];
            back.accumulate(node, x, dx)?;
        }
        Ok(())
    }
}

/// A feature matrix `[N, C]` with one value everywhere. No inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// Rows and channels.
    pub shape: [usize; 2],
    /// The value.
    pub value: f32,
}

impl Rule for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 0)?;
        Ok(vec![Spec::channels(self.shape)])
    }

    fn gradient(&self, _node: &Node, _back: &mut Backward<'_>) -> Result<(), Error> {
        Ok(())
    }
}
