//! Linear layers: the classifier, and the two layers of a squeeze-and-excitation gate.

use super::{Activation, Half, Rule, features, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// `y = activation(x * w + b)`.
///
/// Inputs: x `[N, Ci]`, w `[Ci, Co]` (or a 1x1 convolution's `[1, 1, Ci, Co]`, the same bytes), b `[Co]`. Output
/// `[N, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Applied to the result.
    pub activation: Activation,
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

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn activation(&self) -> Activation {
        self.activation
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

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(mut dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let (x, w, b) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        if self.activation != Activation::Identity {
            let grad = ActivationGrad { activation: self.activation };
            let told_by = match grad.reads_result() {
                true => node.outputs[0],
                // Features are small: to compute the argument again costs less than to keep it.
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
}

/// `dw = transpose(x) * dy`, `db = sum over rows of dy`. Inputs: x `[N, Ci]`, dy `[N, Co]`. Outputs: dw, shaped as w,
/// and db `[Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearWeightGrad {
    /// Whether w is a 1x1 convolution's `[1, 1, Ci, Co]` rather than `[Ci, Co]`; the elements are the same.
    pub pointwise: bool,
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
}

/// `dx = dy * activation'`.
///
/// Inputs, each `[N, C]`: the activation's result y if [`Self::reads_result`], else its argument x; then dy.
/// Output `[N, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActivationGrad {
    /// Activation of the forward node.
    pub activation: Activation,
}

impl ActivationGrad {
    /// Whether the derivative is computed from the result, which another node keeps in any case. SiLU is not monotonic,
    /// so its result does not determine its derivative.
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
