//! A head as detectors have it: the same layers on maps of several sizes, with a loss for each. Gradients of shared
//! weights of every layout meet here, and losses that count by their weights.

use super::Case;
use super::draft::Draft;
use crate::graph::autodiff::{self, Loss};
use crate::graph::op::{
    BatchNorm, Conv2d, DepthwiseConv2d, GlobalAvgPool, Linear, Padding, SoftmaxCrossEntropy, Window,
};
use crate::graph::{Activation, DType, Spec};

/// About ten reductions of some fifty terms each lie between a map and a gradient.
const K: usize = 500;

/// Gradients of one convolution, depthwise convolution, batch norm and classifier for three maps. With a loss scale.
pub(super) fn on_three_maps(seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let vector = Spec::channels([10]);
    let w = draft.parameter("w", Spec::weights([3, 3, 6, 10]), |_, v| v);
    let channels = draft.parameter("channels", Spec::depthwise([3, 1, 10]), |_, v| v);
    let gamma = draft.parameter("gamma", vector.clone(), |_, v| 1.0 + 0.5 * v);
    let beta = draft.parameter("beta", vector.clone(), |_, v| 0.5 * v);
    let mean = draft.state("mean", vector.clone(), |_, v| 0.1 * v);
    let var = draft.state("var", vector, |_, v| 1.0 + 0.5 * v);
    let fc = draft.parameter("fc", Spec::weights([10, 5]), |_, v| v);
    let bias = draft.parameter("bias", Spec::channels([5]), |_, v| 0.5 * v);
    let scale = draft.input_with("scale", Spec::plain([1], DType::F32), |_, _| 1024.0);
    let dilated = Window { dilation: [2; 2], ..Window::square(3, 1, 2) };
    let columns = Window { kernel: [3, 1], ..Window::square(1, 1, Padding::Zeros([1, 0])) };
    let mut losses = Vec::new();
    for (i, (size, weight)) in [([7, 6], 1.0), ([4, 3], 0.5), ([2, 2], 2.0)].into_iter().enumerate() {
        let x = draft.input(&format!("map {i}"), Spec::channels([2, size[0], size[1], 6]));
        let labels = draft.integers(&format!("labels {i}"), vec![2], |_, bits| bits % 5);
        let y = draft.apply(Conv2d::new(dilated), &[x, w], &[])[0];
        let y = draft.apply(DepthwiseConv2d::new(columns), &[y, channels], &[])[0];
        let norm = BatchNorm { eps: 1e-5, momentum: 0.1, activation: Activation::Silu };
        let y = draft.apply(norm, &[y, gamma, beta], &[mean, var])[0];
        let y = draft.apply(GlobalAvgPool::TO_FEATURES, &[y], &[])[0];
        let logits = draft.apply(Linear { activation: Activation::Identity }, &[y, fc, bias], &[])[0];
        let cross_entropy = SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false };
        losses.push(Loss { id: draft.apply(cross_entropy, &[logits, labels], &[])[0], weight });
    }
    let mut compared = vec![mean, var];
    draft.rewrite(|graph| {
        autodiff::differentiate(graph, &losses, Some(scale), |_, _, gradient| {
            compared.push(gradient);
            Ok(())
        })
    });
    compared.extend(losses.iter().map(|loss| loss.id));
    for id in compared {
        draft.compare(id, K);
    }
    draft.case("one head on three maps, a loss each".into())
}
