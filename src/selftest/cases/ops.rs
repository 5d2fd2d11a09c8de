//! Functions that make cases of a single operation: shapes in, a fed graph out.

use super::Case;
use super::draft::Draft;
use crate::graph::op::{
    ActivationGrad, AvgPool, AvgPoolGrad, BatchNorm, BatchNormGrad, BatchNormInference, BiasGrad, Conv2d,
    Conv2dInputGrad, Conv2dWeightGrad, DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad, Dropout, DropoutScope,
    Epilogue, Fill, FoldBatchNorm, GlobalAvgPool, GlobalAvgPoolGrad, Linear, LinearInputGrad, LinearWeightGrad,
    MaxPool, MaxPoolGrad, Normalize, ScaleAdd, ScaleAddGrad, SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, Standardize,
    Statistics, Window, WinogradInput, WinogradOutput, WinogradProduct, WinogradTile, WinogradWeights,
};
use crate::graph::{Activation, DType, Spec, TensorId};

/// Contribution of an activation to K. WGSL allows an exponential an error of 3 + 2|x| units in the last place.
fn roundings(activation: Activation) -> usize {
    match activation {
        Activation::Identity | Activation::Relu => 0,
        Activation::Silu | Activation::Sigmoid => 16,
    }
}

/// A multiple of `1 / per_unit`, a power of two, so that products of a few such numbers are exact in f32.
///
/// The derivative of ReLU jumps at 0. If it is recomputed from sums and products of such numbers, f32 and f64 agree on
/// the side; an offset of half the finest step keeps the sum away from 0.
pub(super) fn grid(v: f64, per_unit: f64) -> f64 {
    (v * per_unit).floor() / per_unit
}

/// A convolution's shapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvCase {
    /// `[N, H, W, Ci]`.
    pub(super) input: [usize; 4],
    pub(super) out: usize,
    pub(super) window: Window,
}

impl ConvCase {
    fn label(&self) -> String {
        format!("{} of {} to {}", self.window, label(self.input), self.out)
    }

    fn output(&self) -> [usize; 4] {
        let [n, _, _, _] = self.input;
        let [oh, ow] = windows(&self.window, self.input);
        [n, oh, ow, self.out]
    }

    fn size(&self) -> [usize; 2] {
        [self.input[1], self.input[2]]
    }

    fn weights(&self) -> Spec {
        let [kh, kw] = self.window.kernel;
        Spec::weights([kh, kw, self.input[3], self.out])
    }

    fn depthwise(self) -> Self {
        Self { out: self.input[3], ..self }
    }

    fn kernels(&self) -> Spec {
        let [kh, kw] = self.window.kernel;
        Spec::depthwise([kh, kw, self.out])
    }
}

/// How many windows a map has, vertically and horizontally.
fn windows(window: &Window, [_, h, w, _]: [usize; 4]) -> [usize; 2] {
    window.windows([h, w]).unwrap_or_else(|e| unreachable!("the suite's own windows fit: {e}"))
}

/// Adds the inputs of an epilogue on a result of shape `output`, and returns a label for them.
fn epilogue_inputs(draft: &mut Draft, inputs: &mut Vec<TensorId>, epilogue: Epilogue, output: [usize; 4]) -> String {
    let [n, _, _, c] = output;
    let mut label = String::new();
    if epilogue.bias {
        label += " + bias";
        inputs.push(draft.input("bias", Spec::channels([c])));
    }
    if epilogue.gate {
        label += " * gate";
        inputs.push(draft.input("gate", Spec::channels([n, c])));
    }
    if epilogue.shortcut {
        label += " + shortcut";
        inputs.push(draft.input("shortcut", Spec::channels(output)));
    }
    label
}

/// K: taps times input channels, and one for each part of the epilogue.
pub(super) fn conv2d(conv: ConvCase, epilogue: Epilogue, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = vec![draft.input("x", Spec::channels(conv.input)), draft.input("w", conv.weights())];
    let parts = epilogue_inputs(&mut draft, &mut inputs, epilogue, conv.output());
    let k = conv.window.taps() * conv.input[3] + 3 + roundings(epilogue.activation);
    draft.node(Conv2d { window: conv.window, epilogue }, &inputs, &[], &[k]);
    if epilogue.is_differentiable() {
        draft.differentiable(&inputs);
    }
    draft.case(format!("conv2d {}{parts}, {:?}", conv.label(), epilogue.activation))
}

/// K: taps times output channels, and the addend.
pub(super) fn conv2d_input_grad(conv: ConvCase, addend: bool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = vec![draft.input("dy", Spec::channels(conv.output())), draft.input("w", conv.weights())];
    if addend {
        inputs.push(draft.input("addend", Spec::channels(conv.input)));
    }
    let op = Conv2dInputGrad { window: conv.window, size: conv.size(), addend };
    draft.node(op, &inputs, &[], &[conv.window.taps() * conv.out + 1]);
    draft.case(format!("conv2d_input_grad {}{}", conv.label(), if addend { " + addend" } else { "" }))
}

/// K: output pixels of the whole batch.
pub(super) fn conv2d_weight_grad(conv: ConvCase, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = [draft.input("x", Spec::channels(conv.input)), draft.input("dy", Spec::channels(conv.output()))];
    let op = Conv2dWeightGrad { window: conv.window };
    draft.node(op, &inputs, &[], &[Spec::channels(conv.output()).rows()]);
    draft.case(format!("conv2d_weight_grad {}", conv.label()))
}

/// A depthwise convolution has the channels of its map; the case's output channels are ignored. K: taps, and one for
/// the bias.
pub(super) fn depthwise_conv2d(conv: ConvCase, bias: bool, activation: Activation, seed: u32) -> Case {
    let (mut draft, conv) = (Draft::new(seed), conv.depthwise());
    let mut inputs = vec![draft.input("x", Spec::channels(conv.input)), draft.input("w", conv.kernels())];
    inputs.extend(bias.then(|| draft.input("bias", Spec::channels([conv.out]))));
    let op = DepthwiseConv2d { window: conv.window, bias, activation };
    draft.node(op, &inputs, &[], &[conv.window.taps() + 1 + roundings(activation)]);
    if op == DepthwiseConv2d::new(conv.window) {
        draft.differentiable(&inputs);
    }
    let with_bias = if bias { " + bias" } else { "" };
    draft.case(format!("depthwise_conv2d {}{with_bias}, {activation:?}", conv.label()))
}

/// K: taps, and the addend.
pub(super) fn depthwise_input_grad(conv: ConvCase, addend: bool, seed: u32) -> Case {
    let (mut draft, conv) = (Draft::new(seed), conv.depthwise());
    let mut inputs = vec![draft.input("dy", Spec::channels(conv.output())), draft.input("w", conv.kernels())];
    inputs.extend(addend.then(|| draft.input("addend", Spec::channels(conv.input))));
    let op = DepthwiseInputGrad { window: conv.window, size: conv.size(), addend };
    draft.node(op, &inputs, &[], &[conv.window.taps() + 1]);
    draft.case(format!("depthwise_input_grad {}{}", conv.label(), if addend { " + addend" } else { "" }))
}

/// K: output pixels of the whole batch.
pub(super) fn depthwise_weight_grad(conv: ConvCase, seed: u32) -> Case {
    let (mut draft, conv) = (Draft::new(seed), conv.depthwise());
    let inputs = [draft.input("x", Spec::channels(conv.input)), draft.input("dy", Spec::channels(conv.output()))];
    let op = DepthwiseWeightGrad { window: conv.window };
    draft.node(op, &inputs, &[], &[Spec::channels(conv.output()).rows()]);
    draft.case(format!("depthwise_weight_grad {}", conv.label()))
}

/// K: a transform's terms along both sides.
pub(super) fn winograd_weights(tile: WinogradTile, flipped: bool, [ci, co]: [usize; 2], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let w = draft.input("w", Spec::weights([3, 3, ci, co]));
    draft.node(WinogradWeights { tile, flipped }, &[w], &[], &[9]);
    draft.case(format!("winograd_weights {tile:?} of {ci} to {co}{}", if flipped { ", flipped" } else { "" }))
}

/// K: a transform's terms along both sides, weighted by the squares of their factors: at most 42 (of 4, -5 and 1) along
/// each.
pub(super) fn winograd_input(
    tile: WinogradTile,
    [padding, dilation]: [usize; 2],
    shape: [usize; 4],
    seed: u32,
) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(WinogradInput { tile, padding, dilation }, &[x], &[], &[42]);
    draft.case(format!("winograd_input {tile:?} padding {padding} dilation {dilation} of {}", label(shape)))
}

/// K: input channels.
pub(super) fn winograd_product(tile: WinogradTile, tiles: usize, [ci, co]: [usize; 2], seed: u32) -> Case {
    let (mut draft, positions) = (Draft::new(seed), tile.positions());
    let v = draft.input("v", Spec::channels([1, positions, tiles, ci]));
    let u = draft.input("u", Spec::weights([positions, 1, ci, co]));
    draft.node(WinogradProduct, &[v, u], &[], &[ci]);
    draft.case(format!("winograd_product {positions} of {tiles}x{ci} to {co}"))
}

/// K: a transform's terms along both sides, and one for each part of the epilogue.
pub(super) fn winograd_output(
    tile: WinogradTile,
    dilation: usize,
    shape: [usize; 4],
    epilogue: Epilogue,
    seed: u32,
) -> Case {
    let (mut draft, [n, h, w, c]) = (Draft::new(seed), shape);
    let size = [n, h, w];
    let mut inputs = vec![draft.input("m", Spec::channels([1, tile.positions(), tile.tiles(size, dilation), c]))];
    let parts = epilogue_inputs(&mut draft, &mut inputs, epilogue, shape);
    let k = tile.positions() + 3 + roundings(epilogue.activation);
    draft.node(WinogradOutput { tile, size, dilation, epilogue }, &inputs, &[], &[k]);
    draft.case(format!(
        "winograd_output {tile:?} dilation {dilation} of {}{parts}, {:?}",
        label(shape),
        epilogue.activation
    ))
}

pub(super) fn label([n, h, w, c]: [usize; 4]) -> String {
    format!("{n}x{h}x{w}x{c}")
}

/// K: pixels of the batch, and the few operations of an element. Rows alternate around `offset` by at least 0.5, so
/// that no channel's deviation is tiny; a large offset shows whether the variance survives cancellation.
pub(super) fn batch_norm(shape: [usize; 4], activation: Activation, offset: f64, seed: u32) -> Case {
    let (mut draft, vector) = (Draft::new(seed), Spec::channels([shape[3]]));
    let side = |i: usize| if i / shape[3] % 2 == 1 { 0.75 } else { -0.75 };
    let x = draft.input_with("x", Spec::channels(shape), |i, v| offset + side(i) + 0.25 * v);
    let inputs = [x, draft.input("gamma", vector.clone()), draft.input("beta", vector.clone())];
    let updates = [draft.state("mean", vector.clone(), |_, v| v), draft.state("var", vector, |_, v| 1.0 + 0.5 * v)];
    let k = Spec::channels(shape).rows() + 8 + roundings(activation);
    draft.node(BatchNorm { eps: 1e-5, momentum: 0.1, activation }, &inputs, &updates, &[k; 5]);
    draft.differentiable(&inputs);
    draft.case(format!("batch_norm {} around {offset}, {activation:?}", label(shape)))
}

/// K: pixels of the batch, and the few operations of an element.
pub(super) fn batch_norm_grad(shape: [usize; 4], activation: Activation, statistics: Statistics, seed: u32) -> Case {
    let (mut draft, vector) = (Draft::new(seed), Spec::channels([shape[3]]));
    let inputs = [
        draft.input_with("x", Spec::channels(shape), |_, v| grid(v, 64.0)),
        draft.input("dy", Spec::channels(shape)),
        draft.input_with("gamma", vector.clone(), |_, v| grid(v, 16.0)),
        draft.input_with("beta", vector.clone(), |_, v| grid(v, 16.0) + 1.0 / 8192.0),
        draft.input_with("mean", vector.clone(), |_, v| grid(v, 64.0)),
        match statistics {
            Statistics::Batch => draft.input_with("inverse", vector, |_, v| grid(1.25 + 0.75 * v, 4.0)),
            // With an epsilon of 0 the square root is exact, so f32 and f64 agree on the side of a ReLU.
            Statistics::Running { .. } => draft.input_with("variance", vector, |_, v| if v > 0.0 { 4.0 } else { 0.25 }),
        },
    ];
    let k = Spec::channels(shape).rows() + 8 + roundings(activation);
    let grad = BatchNormGrad { activation, statistics };
    draft.node(grad, &inputs, &[], &[k; 3][..if grad.learns() { 3 } else { 1 }]);
    draft.case(format!("batch_norm_grad {}, {activation:?}, {statistics:?}", label(shape)))
}

/// K: pixels of the batch.
pub(super) fn bias_grad(shape: [usize; 4], relu: bool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = vec![draft.input("dy", Spec::channels(shape))];
    if relu {
        inputs.push(draft.input_with("y", Spec::channels(shape), |_, v| v.max(0.0)));
    }
    draft.node(BiasGrad { relu }, &inputs, &[], &[Spec::channels(shape).rows(), 1][..inputs.len()]);
    draft.case(format!("bias_grad {}{}", label(shape), if relu { ", relu" } else { "" }))
}

/// K: the handful of operations of an element.
pub(super) fn normalize(shape: [usize; 4], activation: Activation, seed: u32) -> Case {
    let (mut draft, vector) = (Draft::new(seed), Spec::channels([shape[3]]));
    let mut inputs = vec![draft.input("x", Spec::channels(shape))];
    inputs.extend(["gamma", "beta", "mean", "inverse"].map(|name| draft.input(name, vector.clone())));
    draft.node(Normalize { activation }, &inputs, &[], &[6 + roundings(activation)]);
    draft.case(format!("normalize {}, {activation:?}", label(shape)))
}

/// K: the handful of operations of an element.
pub(super) fn batch_norm_inference(shape: [usize; 4], activation: Activation, seed: u32) -> Case {
    let (mut draft, vector) = (Draft::new(seed), Spec::channels([shape[3]]));
    let mut inputs = vec![draft.input("x", Spec::channels(shape))];
    inputs.extend(["gamma", "beta", "mean"].map(|name| draft.input(name, vector.clone())));
    inputs.push(draft.input_with("var", vector, |_, v| 1.0 + 0.5 * v));
    draft.node(BatchNormInference { eps: 1e-5, activation }, &inputs, &[], &[6 + roundings(activation)]);
    draft.differentiable(&inputs[..3]);
    draft.case(format!("batch_norm_inference {}, {activation:?}", label(shape)))
}

/// K: the handful of operations of an element.
pub(super) fn fold_batch_norm(kernel: Spec, seed: u32) -> Case {
    let (mut draft, vector) = (Draft::new(seed), Spec::channels([kernel.last()]));
    let name = format!("fold_batch_norm {:?} {:?}", kernel.layout, kernel.shape);
    let mut inputs = vec![draft.input("w", kernel)];
    inputs.extend(["gamma", "beta", "mean"].map(|name| draft.input(name, vector.clone())));
    inputs.push(draft.input_with("var", vector, |_, v| 1.0 + 0.5 * v));
    draft.node(FoldBatchNorm { eps: 1e-5 }, &inputs, &[], &[6; 2]);
    draft.case(name)
}

/// Inputs of a join besides x.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) gate: bool,
    pub(super) shortcut: bool,
    pub(super) activation: Activation,
}

impl Join {
    fn inputs(self, draft: &mut Draft, shape: [usize; 4]) -> Vec<crate::graph::TensorId> {
        let mut inputs = vec![draft.input_with("x", Spec::channels(shape), |_, v| grid(v, 64.0))];
        if self.gate {
            let gate = Spec::channels([shape[0], shape[3]]);
            inputs.push(draft.input_with("gate", gate, |_, v| grid(v, 64.0)));
        }
        if self.shortcut {
            let shortcut = |_, v| grid(v, 64.0) + 1.0 / 8192.0;
            inputs.push(draft.input_with("shortcut", Spec::channels(shape), shortcut));
        }
        inputs
    }

    fn label(self, shape: [usize; 4]) -> String {
        let gate = if self.gate { " * gate" } else { "" };
        let shortcut = if self.shortcut { " + shortcut" } else { "" };
        format!("{}{gate}{shortcut}, {:?}", label(shape), self.activation)
    }
}

/// K: product and sum.
pub(super) fn scale_add(shape: [usize; 4], join: Join, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = join.inputs(&mut draft, shape);
    let op = ScaleAdd { gate: join.gate, shortcut: join.shortcut, activation: join.activation };
    draft.node(op, &inputs, &[], &[2 + roundings(join.activation)]);
    draft.differentiable(&inputs);
    draft.case(format!("scale_add {}", join.label(shape)))
}

/// The sum of two tensors of any shape and layout. K: one addition.
pub(super) fn sum(spec: Spec, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let name = format!("scale_add {:?} {:?} + the same", spec.layout, spec.shape);
    let inputs = [draft.input("x", spec.clone()), draft.input("shortcut", spec)];
    draft.node(ScaleAdd::ADD, &inputs, &[], &[1]);
    draft.differentiable(&inputs);
    draft.case(name)
}

/// K: a few products for the maps, the pixels of one image for the gate.
pub(super) fn scale_add_grad(shape: [usize; 4], join: Join, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let op = ScaleAddGrad { gate: join.gate, shortcut: join.shortcut, activation: join.activation };
    let mut inputs = vec![draft.input("dy", Spec::channels(shape))];
    // If the operation reads the result, it takes the shortcut's place.
    inputs.extend(Join { shortcut: join.shortcut || op.reads_result(), ..join }.inputs(&mut draft, shape));
    let own = 3 + roundings(join.activation);
    draft.node(op, &inputs, &[], &[own, shape[1] * shape[2] + own, own]);
    draft.case(format!("scale_add_grad {}", join.label(shape)))
}

/// K: pixels of one image.
pub(super) fn global_avg_pool(shape: [usize; 4], pool: GlobalAvgPool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(pool, &[x], &[], &[shape[1] * shape[2]]);
    draft.differentiable(&[x]);
    draft.case(format!("global_avg_pool {}{}", label(shape), if pool.to_map { " to a map" } else { "" }))
}

/// K: quotient and addend.
pub(super) fn global_avg_pool_grad(shape: [usize; 4], addend: bool, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let mut inputs = vec![draft.input("dy", Spec::channels([shape[0], shape[3]]))];
    if addend {
        inputs.push(draft.input("addend", Spec::channels(shape)));
    }
    draft.node(GlobalAvgPoolGrad { size: [shape[1], shape[2]], addend }, &inputs, &[], &[2]);
    draft.case(format!("global_avg_pool_grad {}{}", label(shape), if addend { " + addend" } else { "" }))
}

/// K: the window.
pub(super) fn avg_pool(shape: [usize; 4], pool: AvgPool, seed: u32) -> Case {
    let (mut draft, window) = (Draft::new(seed), pool.window);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(pool, &[x], &[], &[window.taps()]);
    draft.differentiable(&[x]);
    draft.case(format!("avg_pool {window} of {}{}", label(shape), if pool.zeros_count { ", zeros count" } else { "" }))
}

/// K: windows that read a pixel, each with a quotient, and the addend.
pub(super) fn avg_pool_grad(shape: [usize; 4], pool: AvgPool, addend: bool, seed: u32) -> Case {
    let window = pool.window;
    let (mut draft, [n, h, w, c], [oh, ow]) = (Draft::new(seed), shape, windows(&window, shape));
    let mut inputs = vec![draft.input("dy", Spec::channels([n, oh, ow, c]))];
    if addend {
        inputs.push(draft.input("addend", Spec::channels(shape)));
    }
    draft.node(AvgPoolGrad { pool, size: [h, w], addend }, &inputs, &[], &[2 * window.taps()]);
    let parts = [if pool.zeros_count { ", zeros count" } else { "" }, if addend { " + addend" } else { "" }];
    draft.case(format!("avg_pool_grad {window} of {}{}", label(shape), parts.concat()))
}

/// K: nothing is rounded, since the result is one of the map's own numbers.
pub(super) fn max_pool(shape: [usize; 4], window: Window, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    draft.node(MaxPool { window }, &[x], &[], &[1]);
    draft.differentiable(&[x]);
    draft.case(format!("max_pool {window} of {}", label(shape)))
}

/// K: windows that contain a pixel. The input passes a ReLU, so that some windows have several equal maxima, zeros.
pub(super) fn max_pool_grad(shape: [usize; 4], window: Window, seed: u32) -> Case {
    let (mut draft, [n, _, _, c], [oh, ow]) = (Draft::new(seed), shape, windows(&window, shape));
    let x = draft.input_with("x", Spec::channels(shape), |_, v| v - 0.5);
    let relu = ScaleAdd { gate: false, shortcut: false, activation: Activation::Relu };
    let x = draft.apply(relu, &[x], &[])[0];
    let dy = draft.input("dy", Spec::channels([n, oh, ow, c]));
    draft.node(MaxPoolGrad { window }, &[x, dy], &[], &[window.taps()]);
    draft.case(format!("max_pool_grad {window} of {}", label(shape)))
}

/// A linear layer's shapes: rows, input and output features, and whether its weights are a 1x1 convolution's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub(super) rows: usize,
    pub(super) input: usize,
    pub(super) out: usize,
    pub(super) pointwise: bool,
}

impl Layer {
    fn weights(self) -> Spec {
        if self.pointwise { Spec::weights([1, 1, self.input, self.out]) } else { Spec::weights([self.input, self.out]) }
    }

    fn label(self) -> String {
        let weights = if self.pointwise { ", 1x1 kernel" } else { "" };
        format!("{}x{} to {}{weights}", self.rows, self.input, self.out)
    }
}

/// K: input features.
pub(super) fn linear(layer: Layer, activation: Activation, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels([layer.rows, layer.input]));
    let inputs = [x, draft.input("w", layer.weights()), draft.input("b", Spec::channels([layer.out]))];
    draft.node(Linear { activation }, &inputs, &[], &[layer.input + 1 + roundings(activation)]);
    draft.differentiable(&inputs);
    draft.case(format!("linear {}, {activation:?}", layer.label()))
}

/// K: output features.
pub(super) fn linear_input_grad(layer: Layer, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = [draft.input("dy", Spec::channels([layer.rows, layer.out])), draft.input("w", layer.weights())];
    draft.node(LinearInputGrad, &inputs, &[], &[layer.out]);
    draft.case(format!("linear_input_grad {}", layer.label()))
}

/// K: rows.
pub(super) fn linear_weight_grad(layer: Layer, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels([layer.rows, layer.input]));
    let dy = draft.input("dy", Spec::channels([layer.rows, layer.out]));
    draft.node(LinearWeightGrad { pointwise: layer.pointwise }, &[x, dy], &[], &[layer.rows; 2]);
    draft.case(format!("linear_weight_grad {}", layer.label()))
}

/// K: a few products.
pub(super) fn activation_grad(shape: [usize; 2], activation: Activation, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let inputs = [draft.input("y", Spec::channels(shape)), draft.input("dy", Spec::channels(shape))];
    draft.node(ActivationGrad { activation }, &inputs, &[], &[3 + roundings(activation)]);
    draft.case(format!("activation_grad {shape:?}, {activation:?}"))
}

/// K: one product.
pub(super) fn dropout(shape: &[usize], op: Dropout, clock: [u32; 2], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let x = draft.input("x", Spec::channels(shape));
    let clock_id = draft.integers("clock", vec![2], |i, _| clock[i]);
    draft.node(op, &[x, clock_id], &[], &[1]);
    draft.differentiable(&[x]);
    let scope = if op.scope == DropoutScope::Element { "element" } else { "sample" };
    draft.case(format!("dropout {shape:?} by {scope}, rate {}, stream {}, clock {clock:?}", op.rate, op.stream))
}

/// K: nothing is added up.
pub(super) fn fill(shape: [usize; 2], value: f32, seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    draft.node(Fill { shape, value }, &[], &[], &[1]);
    draft.case(format!("fill {shape:?} with {value}"))
}

/// A loss node's inputs. Logits lie in `[-magnitude, magnitude)`.
fn loss_inputs(draft: &mut Draft, [rows, classes]: [usize; 2], magnitude: f64, mixed: bool) -> Vec<TensorId> {
    let mut inputs = vec![
        draft.input_with("logits", Spec::channels([rows, classes]), |_, v| magnitude * v),
        draft.integers("labels", vec![rows], |_, bits| bits % classes as u32),
    ];
    if mixed {
        inputs.push(draft.integers("others", vec![rows], |_, bits| bits % classes as u32));
        inputs.push(draft.input_with("shares", Spec::plain([rows], DType::F32), |_, v| 0.5 + 0.5 * v));
    }
    inputs
}

/// K: classes, and rows for the mean.
pub(super) fn loss(shape: [usize; 2], label_smoothing: f32, magnitude: f64, mixed: bool, seed: u32) -> Case {
    let (mut draft, [rows, classes]) = (Draft::new(seed), shape);
    let inputs = loss_inputs(&mut draft, shape, magnitude, mixed);
    let each = classes + roundings(Activation::Sigmoid);
    draft.node(SoftmaxCrossEntropy { label_smoothing, mixed }, &inputs, &[], &[each + rows, rows, each]);
    draft.differentiable(&inputs[..1]);
    let labels = if mixed { ", two labels" } else { "" };
    draft
        .case(format!("softmax_cross_entropy {rows}x{classes} within {magnitude}, smoothing {label_smoothing}{labels}"))
}

/// K: classes.
pub(super) fn loss_grad(shape: [usize; 2], magnitude: f64, op: SoftmaxCrossEntropyGrad, seed: u32) -> Case {
    let (mut draft, [rows, classes]) = (Draft::new(seed), shape);
    let SoftmaxCrossEntropyGrad { label_smoothing, mixed, weight, scaled } = op;
    let mut inputs = loss_inputs(&mut draft, shape, magnitude, mixed);
    inputs.extend(scaled.then(|| draft.input_with("scale", Spec::plain([1], DType::F32), |_, _| 1024.0)));
    draft.node(op, &inputs, &[], &[classes + roundings(Activation::Sigmoid)]);
    let (labels, scaled) = (if mixed { ", two labels" } else { "" }, if scaled { ", scaled" } else { "" });
    draft.case(format!(
        "softmax_cross_entropy_grad {rows}x{classes} within {magnitude}, smoothing {label_smoothing}{labels}, weight \
         {weight}{scaled}"
    ))
}

/// K: the handful of operations of an element.
pub(super) fn standardize(shape: [usize; 3], seed: u32) -> Case {
    let mut draft = Draft::new(seed);
    let pixels = draft.integers("pixels", shape.to_vec(), |_, bits| bits);
    let op = Standardize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    draft.node(op, &[pixels], &[], &[4]);
    draft.case(format!("standardize {shape:?}"))
}
