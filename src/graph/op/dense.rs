//! Linear layers: the classifier, and the two layers of a squeeze-and-excitation gate.

use super::{
    Activation, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue, Padding, Rule, Workgroups, features, same,
};
use crate::graph::autodiff::Backward;
use crate::graph::{DType, Error, Node, Spec};

/// `y = activation(x * w + b)`.
///
/// Inputs: x `[N, Ci]`, w `[Ci, Co]` (or a 1x1 convolution's `[1, 1, Ci, Co]`, the same bytes), b `[Co]`. Output `[N, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Applied to the result.
    pub activation: Activation,
}

/// Rows from which a layer is a matrix product to its kernels. With fewer, reading the weights is what takes time.
const ROWS_OF_A_PRODUCT: usize = 8;

impl Linear {
    /// The layer as a 1x1 convolution over maps of one pixel, which its kernels run instead where there are rows enough.
    /// Weights in half precision stay apart: features are f32 always, and a convolution's operands are stored alike.
    pub fn as_convolution(&self, x: &Spec, w: &Spec) -> Option<Conv2d> {
        let epilogue = Epilogue { bias: true, activation: self.activation, ..Epilogue::NONE };
        (x.rows() >= ROWS_OF_A_PRODUCT && w.dtype == DType::F32).then_some(Conv2d { epilogue, ..Conv2d::new(1, 0) })
    }
}

/// The input and output features of a layer's weights.
fn weights(spec: &Spec) -> Result<[usize; 2], String> {
    match *spec.shape.as_slice() {
        [i, o] | [1, 1, i, o] => Ok([i, o]),
        _ => Err(format!("expected weights [Ci, Co] or [1, 1, Ci, Co], got {:?}", spec.shape)),
    }
}

impl Rule for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 3)?;
        let [n, ci] = features(inputs[0])?;
        let w = weights(inputs[1])?;
        if w[0] != ci {
            return Err(format!("the weights take {} features, the input has {ci}", w[0]));
        }
        same("bias", &inputs[2].shape, &[w[1]])?;
        Ok(vec![Spec::channels([n, w[1]])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (inputs[0].elements() * outputs[0].last()) as u64
    }

    fn workspace_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        self.as_convolution(inputs[0], inputs[1]).map_or(0, |product| product.workspace_bytes(inputs, outputs, busy))
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(mut dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let (x, w, b) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        if self.activation != Activation::Identity {
            let grad = ActivationGrad { activation: self.activation };
            let told_by = match grad.reads_result() {
                true => node.outputs[0],
                // Features are few: computing the argument again costs less than keeping it.
                false => back.emit(node, Self { activation: Activation::Identity }, &[x, w, b])?[0],
            };
            dy = back.emit(node, grad, &[told_by, dy])?[0];
        }
        let pointwise = back.graph.spec(w).shape.len() == 4;
        let gradients = back.emit(node, LinearWeightGrad { pointwise }, &[x, dy])?;
        back.accumulate(node, w, gradients[0])?;
        back.accumulate(node, b, gradients[1])?;
        if back.needs(x) {
            let dx = back.emit(node, LinearInputGrad, &[dy, w])?[0];
            back.accumulate(node, x, dx)?;
        }
        Ok(())
    }
}

/// `dx = dy * transpose(w)`. Inputs: dy `[N, Co]`, w `[Ci, Co]` or `[1, 1, Ci, Co]`. Output `[N, Ci]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearInputGrad;

impl LinearInputGrad {
    /// The same of a 1x1 convolution over maps of one pixel.
    pub const AS_CONVOLUTION: Conv2dInputGrad =
        Conv2dInputGrad { stride: 1, padding: Padding::NONE, size: [1, 1], addend: false };
}

impl Rule for LinearInputGrad {
    fn name(&self) -> &'static str {
        "linear_input_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let [n, co] = features(inputs[0])?;
        let [ci, wo] = weights(inputs[1])?;
        same("dy", &[co], &[wo])?;
        Ok(vec![Spec::channels([n, ci])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (inputs[0].elements() * outputs[0].last()) as u64
    }

    fn workspace_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        Self::AS_CONVOLUTION.workspace_bytes(inputs, outputs, busy)
    }

    fn partial_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        Self::AS_CONVOLUTION.partial_bytes(inputs, outputs, busy)
    }
}

/// `dw = transpose(x) * dy`, `db = sum over rows of dy`. Inputs: x `[N, Ci]`, dy `[N, Co]`. Outputs: dw, shaped as w, and db `[Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearWeightGrad {
    /// Whether w is a 1x1 convolution's `[1, 1, Ci, Co]` rather than `[Ci, Co]`; the elements are the same.
    pub pointwise: bool,
}

impl LinearWeightGrad {
    /// The same of a 1x1 convolution over maps of one pixel.
    pub const AS_CONVOLUTION: Conv2dWeightGrad = Conv2dWeightGrad { stride: 1, padding: Padding::NONE, kernel: [1, 1] };
}

impl Rule for LinearWeightGrad {
    fn name(&self) -> &'static str {
        "linear_weight_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let [n, ci] = features(inputs[0])?;
        let [dn, co] = features(inputs[1])?;
        same("dy", &[dn], &[n])?;
        let dw = if self.pointwise { Spec::weights([1, 1, ci, co]) } else { Spec::weights([ci, co]) };
        Ok(vec![dw, Spec::channels([co])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (outputs[0].elements() * inputs[0].shape[0]) as u64
    }

    fn workspace_bytes(&self, inputs: &[&Spec], outputs: &[&Spec], busy: Workgroups) -> u64 {
        Self::AS_CONVOLUTION.workspace_bytes(inputs, outputs, busy)
    }
}

/// `dx = dy * activation'`.
///
/// Inputs: what tells the derivative, the activation's result y if [`Self::reads_result`], else its argument x, and dy; each `[N, C]`.
/// Output `[N, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActivationGrad {
    /// Activation of the forward node.
    pub activation: Activation,
}

impl ActivationGrad {
    /// Whether the derivative is taken from the result, which another node keeps in any case. SiLU falls before it rises, so its result
    /// does not tell.
    pub fn reads_result(&self) -> bool {
        self.activation != Activation::Silu
    }
}

impl Rule for ActivationGrad {
    fn name(&self) -> &'static str {
        "activation_grad"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let shape = features(inputs[0])?;
        same("dy", &inputs[1].shape, &shape)?;
        Ok(vec![Spec::channels(shape)])
    }
}
