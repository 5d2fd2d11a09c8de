//! Reverse-mode differentiation: appends the backward pass, and whatever uses the gradients, to the graph.

use std::collections::{HashMap, HashSet};

use super::op::ScaleAdd;
use super::{Error, Graph, Node, Op, Role, TensorId};

/// The backward pass under construction, as the operations' gradient rules see it.
pub struct Backward<'g> {
    /// The graph being extended.
    pub graph: &'g mut Graph,
    gradients: HashMap<TensorId, TensorId>,
    needed: HashSet<TensorId>,
}

impl Backward<'_> {
    /// Gradient of the loss with respect to `tensor`, as far as it has been accumulated.
    pub fn gradient_of(&self, tensor: TensorId) -> Option<TensorId> {
        self.gradients.get(&tensor).copied()
    }

    /// Whether a parameter lies upstream of `tensor`, so that its gradient is of use.
    pub fn needs(&self, tensor: TensorId) -> bool {
        self.needed.contains(&tensor)
    }

    /// Appends a backward node of `forward` and returns its outputs.
    pub fn emit(&mut self, forward: &Node, op: impl Into<Op>, inputs: &[TensorId]) -> Result<Vec<TensorId>, Error> {
        self.graph.push(&forward.name, op.into(), inputs, &[], Role::Gradient)
    }

    /// Adds `gradient` to what other readers of `tensor` have contributed.
    pub fn accumulate(&mut self, forward: &Node, tensor: TensorId, gradient: TensorId) -> Result<(), Error> {
        if !self.needs(tensor) {
            return Ok(());
        }
        let sum = match self.gradient_of(tensor) {
            Some(others) => self.emit(forward, ScaleAdd::ADD, &[gradient, others])?[0],
            None => gradient,
        };
        self.gradients.insert(tensor, sum);
        Ok(())
    }

    /// Like [`Self::accumulate`], for operations that add the others' contribution themselves and so save a pass over memory:
    /// `build` receives it and returns the operation and its inputs before the addend.
    pub fn accumulate_with(
        &mut self,
        forward: &Node,
        tensor: TensorId,
        build: impl FnOnce(Option<TensorId>) -> (Op, Vec<TensorId>),
    ) -> Result<(), Error> {
        if !self.needs(tensor) {
            return Ok(());
        }
        let others = self.gradient_of(tensor);
        let (op, mut inputs) = build(others);
        inputs.extend(others);
        let sum = self.emit(forward, op, &inputs)?[0];
        self.gradients.insert(tensor, sum);
        Ok(())
    }
}

/// Appends the gradients of the first output of the graph's loss node with respect to every parameter, times `seed`, a number
/// `[1]`, if there is one: the gradient of the loss with respect to itself.
///
/// `use_gradient` is called with each parameter and its gradient as soon as nothing later in the backward pass reads
/// the parameter, so that an optimiser node appended there may overwrite it, and the gradient's memory is free again.
pub fn differentiate(
    graph: &mut Graph,
    loss: TensorId,
    seed: Option<TensorId>,
    mut use_gradient: impl FnMut(&mut Graph, TensorId, TensorId) -> Result<(), Error>,
) -> Result<(), Error> {
    let forward = graph.nodes().to_vec();
    let mut needed: HashSet<TensorId> =
        graph.ids().filter(|&id| matches!(graph.tensor(id).role, Role::Parameter(_))).collect();
    // Per node, the parameters that no earlier node reads: their gradients are complete once the node's rule has run.
    let mut completes: Vec<Vec<TensorId>> = Vec::with_capacity(forward.len());
    let mut read: HashSet<TensorId> = HashSet::new();
    for node in &forward {
        if node.inputs.iter().any(|t| needed.contains(t)) {
            needed.extend(&node.outputs);
        }
        let is_parameter = |t: TensorId| matches!(graph.tensor(t).role, Role::Parameter(_));
        completes.push(node.inputs.iter().copied().filter(|&t| is_parameter(t) && read.insert(t)).collect());
    }
    let gradients = seed.map(|seed| (loss, seed)).into_iter().collect();
    let mut back = Backward { graph, gradients, needed };
    let Some(last) = forward.iter().rposition(|n| n.outputs.first() == Some(&loss)) else {
        return Ok(());
    };
    for (i, node) in forward.iter().enumerate().take(last + 1).rev() {
        if i == last || node.outputs.iter().any(|&t| back.gradient_of(t).is_some()) {
            node.op.rule().gradient(node, &mut back)?;
        }
        for &parameter in &completes[i] {
            if let Some(gradient) = back.gradient_of(parameter) {
                use_gradient(back.graph, parameter, gradient)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::op::{Conv2d, GlobalAvgPool, Linear, SoftmaxCrossEntropy, Window};
    use super::super::{Activation, DType, Init, Spec};
    use super::*;

    /// Two readers of one map: the second contribution is added by the first convolution's own gradient node.
    #[test]
    fn contributions_meet_and_inputs_get_none() {
        let mut g = Graph::new();
        let x = g.input("x", Spec::channels([2, 4, 4, 3])).unwrap();
        let labels = g.input("labels", Spec::plain([2], DType::U32)).unwrap();
        let weight = |g: &mut Graph, name: &str, spec| g.parameter(name.into(), spec, Init::Constant(0.1)).unwrap();
        let w0 = weight(&mut g, "w0", Spec::weights([3, 3, 3, 8]));
        let w1 = weight(&mut g, "w1", Spec::weights([1, 1, 8, 8]));
        let (fc, bias) = (weight(&mut g, "fc", Spec::weights([8, 5])), weight(&mut g, "b", Spec::channels([5])));
        let h = g.apply1("stem", Conv2d::new(Window::square(3, 1, 1)), &[x, w0]).unwrap();
        let branch = g.apply1("branch", Conv2d::new(Window::POINTWISE), &[h, w1]).unwrap();
        let sum = g.apply1("sum", ScaleAdd { activation: Activation::Relu, ..ScaleAdd::ADD }, &[branch, h]).unwrap();
        let pooled = g.apply1("pool", GlobalAvgPool, &[sum]).unwrap();
        let logits = g.apply1("fc", Linear { activation: Activation::Identity }, &[pooled, fc, bias]).unwrap();
        let loss = g.apply1("loss", SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels]);
        let loss = loss.unwrap_or_else(|e| panic!("{e}"));
        let mut found = Vec::new();
        differentiate(&mut g, loss, None, |g, parameter, gradient| {
            assert_eq!(g.spec(parameter).shape, g.spec(gradient).shape);
            found.push(g.tensor(parameter).name.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, ["fc", "b", "w1", "w0"]);
        let kinds: Vec<_> = g.nodes().iter().map(|n| n.op.rule().name()).collect();
        assert_eq!(kinds.iter().filter(|k| **k == "scale_add").count(), 1, "no separate addition: {kinds:?}");
        let input_grads: Vec<_> = g.nodes().iter().filter(|n| n.op.rule().name() == "conv2d_input_grad").collect();
        assert_eq!(input_grads.len(), 1, "the network's input needs no gradient");
        assert_eq!(input_grads[0].inputs.len(), 3, "the shortcut's contribution is the addend");
    }
}
