//! Many operations in one graph: a bottleneck with squeeze-and-excitation and a classifier, in inference, fused, and as
//! a whole training step. Here a node reads the padding lanes that the node before it wrote.

use super::Case;
use super::draft::Draft;
use crate::graph::autodiff::{self, Loss};
use crate::graph::half::store_half_maps;
use crate::graph::op::{
    AdaptLossScale, AvgPool, BatchNorm, BatchNormInference, Conv2d, Dropout, DropoutScope, GlobalAvgPool,
    GradientScale, Linear, Padding, ScaleAdd, SgdMomentum, SoftmaxCrossEntropy, SquaredNorm, Unscale, Window,
};
use crate::graph::{Activation, DType, Role, Spec, TensorId, fuse};

/// Smooth activations throughout: with a ReLU, a value within rounding of 0 would flip a gradient.
const ACTIVATION: Activation = Activation::Silu;

/// A step chains about twenty reductions of about a hundred terms each.
const K: usize = 2000;

struct Block {
    draft: Draft,
    training: bool,
}

impl Block {
    fn conv_bn(&mut self, name: &str, x: TensorId, out: usize, window: Window, act: Activation) -> TensorId {
        let (channels, [kh, kw]) = (self.draft.graph.spec(x).last(), window.kernel);
        let w = self.draft.parameter(&format!("{name}.w"), Spec::weights([kh, kw, channels, out]), |_, v| v);
        let y = self.draft.apply(Conv2d::new(window), &[x, w], &[])[0];
        let vector = Spec::channels([out]);
        let gamma = self.draft.parameter(&format!("{name}.gamma"), vector.clone(), |_, v| 1.0 + 0.5 * v);
        let beta = self.draft.parameter(&format!("{name}.beta"), vector.clone(), |_, v| 0.5 * v);
        let mean = self.draft.state(&format!("{name}.mean"), vector.clone(), |_, v| 0.1 * v);
        let var = self.draft.state(&format!("{name}.var"), vector, |_, v| 1.0 + 0.5 * v);
        if self.training {
            let op = BatchNorm { eps: 1e-5, momentum: 0.1, activation: act };
            self.draft.apply(op, &[y, gamma, beta], &[mean, var])[0]
        } else {
            self.draft.apply(BatchNormInference { eps: 1e-5, activation: act }, &[y, gamma, beta, mean, var], &[])[0]
        }
    }

    fn linear(&mut self, name: &str, x: TensorId, weights: Spec, activation: Activation) -> TensorId {
        let bias = Spec::channels([weights.last()]);
        let w = self.draft.parameter(&format!("{name}.w"), weights, |_, v| v);
        let b = self.draft.parameter(&format!("{name}.b"), bias, |_, v| 0.5 * v);
        self.draft.apply(Linear { activation }, &[x, w, b], &[])[0]
    }

    /// Builds the network with channel counts that are not multiples of 4 and odd maps. Returns the logits.
    fn build(&mut self) -> TensorId {
        let x = self.draft.input("x", Spec::channels([3, 7, 5, 6]));
        let y = self.conv_bn("conv1", x, 5, Window::POINTWISE, ACTIVATION);
        let y = self.conv_bn("conv2", y, 5, Window::square(3, 2, 1), ACTIVATION);
        let y = self.conv_bn("conv3", y, 9, Window::POINTWISE, Activation::Identity);
        let gate = self.draft.apply(GlobalAvgPool::TO_FEATURES, &[y], &[])[0];
        let gate = self.linear("reduce", gate, Spec::weights([1, 1, 9, 3]), Activation::Sigmoid);
        let mut gate = self.linear("excite", gate, Spec::weights([1, 1, 3, 9]), Activation::Sigmoid);
        if self.training {
            let clock = self.draft.integers("clock", vec![2], |i, _| [9, 4][i]);
            let drop_path = Dropout { rate: 0.25, scope: DropoutScope::Sample, stream: 0 };
            gate = self.draft.apply(drop_path, &[gate, clock], &[])[0];
        }
        let shortcut = self.draft.apply(AvgPool::new(Window::square(2, 2, Padding::Same)), &[x], &[])[0];
        let shortcut = self.conv_bn("shortcut", shortcut, 9, Window::POINTWISE, Activation::Identity);
        let join = ScaleAdd { gate: true, shortcut: true, activation: ACTIVATION };
        let y = self.draft.apply(join, &[y, gate, shortcut], &[])[0];
        let y = self.conv_bn("conv4", y, 9, Window::square(3, 1, 1), Activation::Identity);
        let y = self.draft.apply(ScaleAdd { activation: ACTIVATION, ..ScaleAdd::ADD }, &[y, y], &[])[0];
        let pooled = self.draft.apply(GlobalAvgPool::TO_FEATURES, &[y], &[])[0];
        self.linear("classifier", pooled, Spec::weights([9, 5]), Activation::Identity)
    }
}

/// The block with running statistics, as built or after fusion.
pub(super) fn inference(fused: bool, seed: u32) -> Case {
    let mut block = Block { draft: Draft::new(seed), training: false };
    let logits = block.build();
    let mut draft = block.draft;
    if fused {
        draft.rewrite(|graph| fuse::for_inference(graph, &[logits]));
    }
    draft.compare(logits, K);
    draft.case(format!("block in inference{}", if fused { ", fused" } else { "" }))
}

/// The block's training step: loss, gradients, optimiser, running statistics.
pub(super) fn training_step(seed: u32) -> Case {
    let mut block = Block { draft: Draft::new(seed), training: true };
    let logits = block.build();
    let mut draft = block.draft;
    let labels = draft.integers("labels", vec![3], |_, bits| bits % 5);
    let loss = draft.apply(SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels], &[])[0];
    let lr = draft.input_with("lr", Spec::plain([1], DType::F32), |_, _| 0.5);
    let parameters: Vec<TensorId> =
        draft.graph.persistent().filter(|&id| matches!(draft.graph.tensor(id).role, Role::Parameter(_))).collect();
    let momenta: Vec<(TensorId, TensorId)> = parameters
        .into_iter()
        .map(|p| {
            let (name, spec) = (format!("{}.momentum", draft.graph.tensor(p).name), draft.graph.spec(p).clone());
            (p, draft.state(&name, spec, |_, v| 0.1 * v))
        })
        .collect();
    let sgd = SgdMomentum::new(0.9, true, 0.01);
    draft.rewrite(|graph| {
        autodiff::differentiate(graph, &[Loss { id: loss, weight: 1.0 }], None, |graph, parameter, gradient| {
            let velocity = momenta.iter().filter(|(p, _)| *p == parameter).map(|(_, v)| *v);
            let updates: Vec<TensorId> = std::iter::once(parameter).chain(velocity).collect();
            graph.apply("sgd", sgd.clone(), &[lr, gradient], &updates).map(drop)
        })
    });
    draft.compare(loss, K);
    let persistent: Vec<TensorId> = draft.graph.persistent().collect();
    for id in persistent {
        draft.compare(id, K);
    }
    draft.case("block in a training step".into())
}

/// A step of a single convolution and a classifier in mixed precision. With the largest loss scale the gradient of its
/// map overflows: the step must be skipped and the scale halved.
pub(super) fn mixed_step(loss_scale: f64, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let number = || Spec::plain([1], DType::F32);
    // Exact in f16.
    let x = draft.input_with("x", Spec::channels([2, 3, 3, 5]), |_, v| (64.0 * v).round() / 64.0);
    let w = draft.parameter("w", Spec::weights([1, 1, 5, 8]), |_, v| v);
    let (fc, bias) = (Spec::weights([8, 4]), Spec::channels([4]));
    let (fc, bias) = (draft.parameter("fc", fc, |_, v| v), draft.parameter("bias", bias, |_, v| v));
    let labels = draft.integers("labels", vec![2], |i, _| i as u32);
    let factor = draft.input_with("factor", number(), |_, _| 1.0);
    let scale = draft.state("scale", number(), |_, _| loss_scale);
    let steps = draft.state("steps", number(), |_, _| 0.0);
    let y = draft.apply(Conv2d::new(Window::POINTWISE), &[x, w], &[])[0];
    let pooled = draft.apply(GlobalAvgPool::TO_FEATURES, &[y], &[])[0];
    let logits = draft.apply(Linear { activation: Activation::Identity }, &[pooled, fc, bias], &[])[0];
    let loss = draft.apply(SoftmaxCrossEntropy { label_smoothing: 0.0, mixed: false }, &[logits, labels], &[])[0];
    let mut gradient = None;
    draft.rewrite(|graph| {
        autodiff::differentiate(graph, &[Loss { id: loss, weight: 1.0 }], Some(scale), |_, parameter, found| {
            gradient = gradient.or((parameter == w).then_some(found));
            Ok(())
        })
    });
    let Some(gradient) = gradient else { unreachable!("the kernel learns") };
    let factor = draft.apply(Unscale, &[factor, scale], &[])[0];
    let sums = draft.state("sums", number(), |_, _| 0.0);
    draft.apply(SquaredNorm, &[factor, gradient], &[sums]);
    let clip = draft.apply(GradientScale { max_norm: f32::INFINITY }, &[sums, factor], &[])[0];
    draft.apply(AdaptLossScale { growth_steps: 2000 }, &[clip], &[scale, steps]);
    draft.rewrite(store_half_maps);
    for exact in [clip, scale, steps] {
        draft.compare(exact, 1);
    }
    draft.case(format!("step in mixed precision, loss scale {loss_scale}"))
}
