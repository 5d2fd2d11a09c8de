//! Reverse-mode differentiation: appends to the graph the backward pass and the nodes that use the gradients.

use std::collections::{HashMap, HashSet};

use super::op::ScaleAdd;
use super::{Error, Graph, Node, Op, Role, TensorId};

/// A loss to differentiate: the first output of a loss node, and its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// The number `[1]`.
    pub id: TensorId,
    /// The loss's factor in the sum of all losses.
    pub weight: f32,
}

/// The gradient with respect to a loss, where the backward pass starts: `weight * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seed {
    /// The loss's factor in the sum of all losses.
    pub weight: f32,
    /// A number `[1]` that multiplies all gradients, so that small gradients stay within f16's range.
    pub scale: Option<TensorId>,
}

/// The backward pass under construction, as the operations' gradient rules see it.
pub struct Backward<'g> {
    /// The graph being extended.
    pub graph: &'g mut Graph,
    seeds: HashMap<TensorId, Seed>,
    gradients: HashMap<TensorId, TensorId>,
    needed: HashSet<TensorId>,
}

impl Backward<'_> {
    /// The start of the backward pass at a loss: the loss's weight and the scale, or the gradient that has been
    /// accumulated for it.
    pub fn seed_of(&self, loss: TensorId) -> Option<Seed> {
        let seed = self.seeds.get(&loss).copied();
        seed.or_else(|| self.gradient_of(loss).map(|gradient| Seed { weight: 1.0, scale: Some(gradient) }))
    }

    /// Gradient of the losses with respect to `tensor`, as far as it has been accumulated.
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

    /// Adds `gradient` to the contributions of other readers of `tensor`.
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

    /// Like [`Self::accumulate`], for operations that add the other readers' contribution themselves and so save a pass
    /// over memory.
    /// `build` receives that contribution, if there is one, and returns the operation and its inputs; the contribution
    /// follows them as the last input.
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

/// Appends the gradients of the weighted sum of `losses` with respect to every parameter, times `scale`, a number
/// `[1]`, if there is one.
///
/// `use_gradient` is called with each parameter and its gradient as soon as no later node of the backward pass reads
/// the parameter. An optimiser node that is appended there may overwrite the parameter, and the memory of the gradient
/// becomes free early.
///
/// # Errors
/// [`Error::NoLoss`] if one of `losses` is not the first output of a loss node; [`Error::NoGradient`] if an operation
/// between a loss and a parameter cannot be differentiated; what `use_gradient` returns.
pub fn differentiate(
    graph: &mut Graph,
    losses: &[Loss],
    scale: Option<TensorId>,
    use_gradient: impl FnMut(&mut Graph, TensorId, TensorId) -> Result<(), Error>,
) -> Result<(), Error> {
    if losses.is_empty() {
        return Err(Error::NoLoss { tensor: "nothing".into(), problem: "no loss is given".into() });
    }
    let mut seeds: HashMap<TensorId, Seed> = HashMap::new();
    for &Loss { id, weight } in losses {
        check_loss(graph, id)?;
        seeds.entry(id).or_insert(Seed { weight: 0.0, scale }).weight += weight;
    }
    walk(graph, seeds, HashMap::new(), use_gradient)
}

/// Like [`differentiate`], but starts from given gradients of any tensors, as pairs `(tensor, gradient)`, instead of
/// from losses.
///
/// # Errors
/// [`Error::NoGradient`] if an operation between such a tensor and a parameter cannot be differentiated; what
/// `use_gradient` returns.
pub fn propagate(
    graph: &mut Graph,
    gradients: &[(TensorId, TensorId)],
    use_gradient: impl FnMut(&mut Graph, TensorId, TensorId) -> Result<(), Error>,
) -> Result<(), Error> {
    walk(graph, HashMap::new(), gradients.iter().copied().collect(), use_gradient)
}

/// Appends the gradients of the nodes in reverse order, starting from `seeds` and `gradients`.
fn walk(
    graph: &mut Graph,
    seeds: HashMap<TensorId, Seed>,
    gradients: HashMap<TensorId, TensorId>,
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
    let mut back = Backward { graph, seeds, gradients, needed };
    for (node, completed) in forward.iter().zip(completes).rev() {
        if node.outputs.iter().any(|&t| back.seed_of(t).is_some()) {
            node.op.rule().gradient(node, &mut back)?;
        }
        for parameter in completed {
            if let Some(gradient) = back.gradient_of(parameter) {
                use_gradient(back.graph, parameter, gradient)?;
            }
        }
    }
    Ok(())
}

/// Checks that a tensor is the first output of a loss node.
fn check_loss(graph: &Graph, loss: TensorId) -> Result<(), Error> {
    let problem = match graph.nodes().iter().find(|node| node.outputs.contains(&loss)) {
        None => "no node of the graph writes it".to_owned(),
        Some(node) if !node.op.rule().is_loss() => format!("{} is no loss", node.op.rule().name()),
        Some(node) if node.outputs[0] != loss => {
            format!("the loss of {} is its first output, {}", node.name, graph.tensor(node.outputs[0]).name)
        }
        Some(_) => return Ok(()),
    };
    Err(Error::NoLoss { tensor: graph.tensor(loss).name.clone(), problem })
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
        let pooled = g.apply1("pool", GlobalAvgPool::TO_FEATURES, &[sum]).unwrap();
        let logits = g.apply1("fc", Linear { activation: Activation::Identity }, &[pooled, fc, bias]).unwrap();
        let loss = g.apply1("loss", SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels]);
        let loss = loss.unwrap_or_else(|e| panic!("{e}"));
        let mut found = Vec::new();
        differentiate(&mut g, &[Loss { id: loss, weight: 1.0 }], None, |g, parameter, gradient| {
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
