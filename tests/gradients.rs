//! Compares gradients of operations and blocks with central differences in f64, and fused graphs with the graphs before
//! fusion.
#![allow(clippy::unwrap_used)]

#[path = "gradients/cases.rs"]
mod cases;
#[path = "gradients/sums.rs"]
mod sums;
#[path = "common/synth.rs"]
#[allow(dead_code)]
mod synth;
#[path = "gradients/windows.rs"]
mod windows;

use resnet_rs::graph::autodiff::{self, Loss};
use resnet_rs::graph::op::{
    AvgPool, BatchNorm, BatchNormInference, Conv2d, DepthwiseConv2d, Dropout, DropoutScope, Fill, GlobalAvgPool,
    Linear, Padding, ScaleAdd, SgdMomentum, SoftmaxCrossEntropy, Window,
};
use resnet_rs::graph::{Activation, DType, Graph, Init, Op, Role, Spec, StateKind, TensorId, fuse};
use resnet_rs::reference::{Values, run};

/// The average pool of ResNet-D's shortcuts.
const HALVES: Window = Window { kernel: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Same };

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Sigmoid];

/// A graph with values for its inputs, parameters and states. Maps are parameters, so that their gradients are checked
/// as well.
#[derive(Default)]
struct Net {
    graph: Graph,
    values: Values,
}

impl Net {
    fn fed(&mut self, id: TensorId, value: impl Fn(f64) -> f64) -> TensorId {
        let tensor = self.graph.tensor(id);
        let made = synth::value(&tensor.name, tensor.spec.elements(), 7);
        self.values.set(&self.graph, id, made.into_iter().map(|v| value(f64::from(v))).collect()).unwrap();
        id
    }

    fn parameter(&mut self, name: &str, spec: Spec) -> TensorId {
        let id = self.graph.parameter(name.into(), spec, Init::Constant(0.0)).unwrap();
        self.fed(id, |v| v)
    }

    fn map(&mut self, name: &str, shape: [usize; 4]) -> TensorId {
        self.parameter(name, Spec::channels(shape))
    }

    fn vector(&mut self, name: &str, channels: usize) -> TensorId {
        self.parameter(name, Spec::channels([channels]))
    }

    fn shape(&self, id: TensorId) -> Vec<usize> {
        self.graph.spec(id).shape.clone()
    }

    fn apply(&mut self, name: &str, op: impl Into<Op>, inputs: &[TensorId]) -> TensorId {
        self.graph.apply1(name, op, inputs).unwrap()
    }

    fn conv(&mut self, name: &str, x: TensorId, out: usize, window: Window) -> TensorId {
        let (channels, [kh, kw]) = (self.shape(x)[3], window.kernel);
        let w = self.parameter(&format!("{name}.weight"), Spec::weights([kh, kw, channels, out]));
        self.apply(name, Conv2d::new(window), &[x, w])
    }

    fn depthwise(&mut self, name: &str, x: TensorId, window: Window) -> TensorId {
        let (channels, [kh, kw]) = (self.shape(x)[3], window.kernel);
        let w = self.parameter(&format!("{name}.weight"), Spec::depthwise([kh, kw, channels]));
        self.apply(name, DepthwiseConv2d::new(window), &[x, w])
    }

    fn statistics(&mut self, name: &str, channels: usize) -> [TensorId; 2] {
        let vector = Spec::channels([channels]);
        let mean = self.graph.state(format!("{name}.mean"), vector.clone(), StateKind::Statistic, 0.0).unwrap();
        let var = self.graph.state(format!("{name}.var"), vector, StateKind::Statistic, 1.0).unwrap();
        [self.fed(mean, |v| 0.1 * v), self.fed(var, |v| 1.0 + 0.2 * v)]
    }

    fn batch_norm(&mut self, name: &str, x: TensorId, activation: Activation) -> TensorId {
        let channels = self.shape(x)[3];
        let [mean, var] = self.statistics(name, channels);
        let gamma = self.vector(&format!("{name}.gamma"), channels);
        let beta = self.vector(&format!("{name}.beta"), channels);
        let op = BatchNorm { eps: 1e-5, momentum: 0.1, activation };
        self.graph.apply(name, op, &[x, gamma, beta], &[mean, var]).unwrap()[0]
    }

    fn linear(&mut self, name: &str, x: TensorId, out: usize, pointwise: bool, activation: Activation) -> TensorId {
        let channels = self.shape(x)[1];
        let shape = if pointwise { vec![1, 1, channels, out] } else { vec![channels, out] };
        let w = self.parameter(&format!("{name}.weight"), Spec::weights(shape));
        let b = self.vector(&format!("{name}.bias"), out);
        self.apply(name, Linear { activation }, &[x, w, b])
    }

    fn clock(&mut self) -> TensorId {
        let clock = self.graph.input("clock", Spec::plain([2], DType::U32)).unwrap();
        self.values.set(&self.graph, clock, vec![3_000_000_000.0, 5.0]).unwrap();
        clock
    }

    /// Cross-entropy of features `[N, C]`.
    fn loss(&mut self, logits: TensorId) -> TensorId {
        self.loss_by("labels", logits)
    }

    /// Cross-entropy of features, with labels in an input of this name.
    fn loss_by(&mut self, labels: &str, logits: TensorId) -> TensorId {
        let [n, classes] = self.shape(logits)[..] else { panic!("not features") };
        let labels = self.graph.input(labels, Spec::plain([n], DType::U32)).unwrap();
        self.values.set(&self.graph, labels, (0..n).map(|i| (i * 2 % classes) as f64).collect()).unwrap();
        self.apply("loss", SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels])
    }

    /// Cross-entropy of a map. A sigmoid comes first, so that the gradient depends on the map's values; then a
    /// convolution as large as the map weights each pixel.
    fn loss_of_map(&mut self, x: TensorId) -> TensorId {
        let curve = ScaleAdd { gate: false, shortcut: false, activation: Activation::Sigmoid };
        let curved = self.apply("curve", curve, &[x]);
        let [_, h, w, _] = self.shape(x)[..] else { panic!("not a map") };
        let weighted = self.conv("readout", curved, 3, Window { kernel: [h, w], ..Window::POINTWISE });
        let logits = self.apply("readout.pool", GlobalAvgPool::TO_FEATURES, &[weighted]);
        self.loss(logits)
    }
}

/// Whether each element of each ReLU's result is positive. A perturbation that crosses no kink leaves this unchanged.
fn positive(graph: &Graph, values: &Values) -> Vec<bool> {
    let behind = graph.nodes().iter().filter(|n| n.op.rule().activation() == Activation::Relu).map(|n| n.outputs[0]);
    behind.flat_map(|id| values.get(id).unwrap().iter().map(|&y| y > 0.0)).collect()
}

/// Compares the gradient of every element of every parameter with its central difference.
///
/// With steps of eps^(1/3), truncation and rounding each cause an error of about 1e-11 for a loss of order one. A
/// tolerance of 1e-6 of a gradient of at least 1e-3 therefore allows for third derivatives of up to 100.
fn check(what: &str, net: &Net, loss: TensorId) {
    check_all(what, net, &[Loss { id: loss, weight: 1.0 }]);
}

/// Like [`check`], for a weighted sum of losses.
fn check_all(what: &str, net: &Net, losses: &[Loss]) {
    let forward = &net.graph;
    let mut graph = forward.clone();
    let mut gradients = Vec::new();
    autodiff::differentiate(&mut graph, losses, None, |_, parameter, gradient| {
        gradients.push((parameter, gradient));
        Ok(())
    })
    .unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut values = net.values.clone();
    run(&graph, &mut values).unwrap();
    let kinks = positive(&graph, &values);

    let learned = forward.ids().filter(|&id| matches!(forward.tensor(id).role, Role::Parameter(_)));
    assert_eq!(gradients.len(), learned.count(), "{what}: every parameter once");
    let (mut checked, mut skipped) = (0, 0);
    for (parameter, gradient) in gradients {
        let name = &forward.tensor(parameter).name;
        let analytic = values.get(gradient).unwrap();
        let largest = analytic.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
        assert!(largest > 1e-3, "{what}: gradient of {name} is at most {largest:e}, too small to be checked");
        let start = net.values.get(parameter).unwrap();
        for (i, &g) in analytic.iter().enumerate() {
            let step = f64::EPSILON.cbrt() * start[i].abs().max(1.0);
            let loss_at = |offset: f64| {
                let mut moved = net.values.clone();
                let mut elements = start.to_vec();
                elements[i] += offset;
                moved.set(forward, parameter, elements).unwrap();
                run(forward, &mut moved).unwrap();
                let total = || losses.iter().map(|l| f64::from(l.weight) * moved.get(l.id).unwrap()[0]).sum::<f64>();
                (positive(forward, &moved) == kinks).then(total)
            };
            let (Some(above), Some(below)) = (loss_at(step), loss_at(-step)) else {
                skipped += 1;
                continue;
            };
            let numeric = (above - below) / (2.0 * step);
            let error = (g - numeric).abs() / largest;
            assert!(error <= 1e-6, "{what}: {name}[{i}]: {g} by the chain rule, {numeric} by differences: {error:e}");
            checked += 1;
        }
    }
    assert!(skipped * 100 <= checked, "{what}: {skipped} of {checked} elements lie at a kink");
}

/// One tensor is both operands of a join.
#[test]
fn gate_and_shortcut_of_one_map() {
    for (gate, activation) in [false, true].into_iter().flat_map(|g| ACTIVATIONS.map(|a| (g, a))) {
        let mut net = Net::default();
        let x = net.map("x", [2, 2, 3, 3]);
        let mut inputs = vec![x, x];
        if gate {
            inputs.insert(1, net.parameter("gate", Spec::channels([2, 3])));
        }
        let y = net.apply("join", ScaleAdd { gate, shortcut: true, activation }, &inputs);
        let loss = net.loss_of_map(y);
        check(&format!("gate {gate}, {activation:?}"), &net, loss);
    }
}

/// At a rate above 0 some elements are dropped, and some are not.
#[test]
fn dropout_drops_some() {
    for (scope, rate) in [DropoutScope::Element, DropoutScope::Sample].into_iter().flat_map(|s| [(s, 0.0), (s, 0.4)]) {
        let mut net = Net::default();
        let clock = net.clock();
        let x = net.parameter("x", Spec::channels([6, 5]));
        let y = net.apply("dropout", Dropout { rate, scope, stream: 2 }, &[x, clock]);
        run(&net.graph, &mut net.values).unwrap();
        let zeros = net.values.get(y).unwrap().iter().filter(|&&v| v == 0.0).count();
        let possible = if rate == 0.0 { 0..=0 } else { 1..=29 };
        assert!(possible.contains(&zeros), "{scope:?}, rate {rate}: {zeros} of 30 dropped");
    }
}

/// A parameter whose first reader does not lead to the loss still gets its gradient, and only once.
#[test]
fn dead_ends_are_passed_over() {
    let mut net = Net::default();
    let x = net.map("x", [2, 3, 3, 2]);
    net.apply("dead end", GlobalAvgPool::TO_FEATURES, &[x]);
    let loss = net.loss_of_map(x);
    check("dead end", &net, loss);
}

/// A training-mode bottleneck with squeeze-and-excitation, stochastic depth and a ResNet-D shortcut.
#[test]
fn residual_block() {
    for activation in [Activation::Relu, Activation::Silu] {
        let mut net = Net::default();
        let clock = net.clock();
        let x = net.map("x", [3, 5, 5, 4]);
        let y = net.conv("conv1", x, 2, Window::POINTWISE);
        let y = net.batch_norm("bn1", y, activation);
        let y = net.conv("conv2", y, 2, Window::square(3, 2, 1));
        let y = net.batch_norm("bn2", y, activation);
        let y = net.conv("conv3", y, 5, Window::POINTWISE);
        let y = net.batch_norm("bn3", y, Activation::Identity);
        let gate = net.apply("squeeze", GlobalAvgPool::TO_FEATURES, &[y]);
        let gate = net.linear("fc1", gate, 3, true, Activation::Relu);
        let gate = net.linear("fc2", gate, 5, true, Activation::Sigmoid);
        let drop_path = Dropout { rate: 0.3, scope: DropoutScope::Sample, stream: 0 };
        let gate = net.apply("drop path", drop_path, &[gate, clock]);
        let shortcut = net.apply("pool", AvgPool::new(HALVES), &[x]);
        let shortcut = net.conv("downsample", shortcut, 5, Window::POINTWISE);
        let shortcut = net.batch_norm("bn4", shortcut, Activation::Identity);
        let y = net.apply("join", ScaleAdd { gate: true, shortcut: true, activation }, &[y, gate, shortcut]);
        let loss = net.loss_of_map(y);
        check(&format!("block with {activation:?}"), &net, loss);
    }
}

/// A training-mode inverted bottleneck: expansion, depthwise convolution, gate, projection, stochastic depth, addition
/// of the input.
#[test]
fn inverted_bottleneck() {
    for kernel in [3, 5] {
        let mut net = Net::default();
        let clock = net.clock();
        let x = net.map("x", [3, 6, 5, 2]);
        let y = net.conv("expand", x, 5, Window::POINTWISE);
        let y = net.batch_norm("bn1", y, Activation::Silu);
        let y = net.depthwise("depthwise", y, Window::square(kernel, 1, Padding::Same));
        let y = net.batch_norm("bn2", y, Activation::Silu);
        let gate = net.apply("squeeze", GlobalAvgPool::TO_FEATURES, &[y]);
        let gate = net.linear("reduce", gate, 2, true, Activation::Silu);
        let gate = net.linear("excite", gate, 5, true, Activation::Sigmoid);
        let scale = ScaleAdd { gate: true, shortcut: false, activation: Activation::Identity };
        let y = net.apply("scale", scale, &[y, gate]);
        let y = net.conv("project", y, 2, Window::POINTWISE);
        let y = net.batch_norm("bn3", y, Activation::Identity);
        let ones = net.apply("ones", Fill { shape: [3, 2], value: 1.0 }, &[]);
        let kept = net.apply("drop", Dropout { rate: 0.3, scope: DropoutScope::Sample, stream: 0 }, &[ones, clock]);
        let y = net.apply("join", ScaleAdd { gate: true, ..ScaleAdd::ADD }, &[y, kept, x]);
        let loss = net.loss_of_map(y);
        check(&format!("kernel of {kernel}"), &net, loss);
    }
}

/// Stochastic depth without squeeze-and-excitation drops a gate of ones.
#[test]
fn dropped_gate_of_ones() {
    let mut net = Net::default();
    let clock = net.clock();
    let x = net.map("x", [4, 2, 2, 3]);
    let gate = net.apply("ones", Fill { shape: [4, 3], value: 1.0 }, &[]);
    let gate = net.apply("drop", Dropout { rate: 0.5, scope: DropoutScope::Sample, stream: 1 }, &[gate, clock]);
    let y = net.apply("join", ScaleAdd { gate: true, shortcut: true, activation: Activation::Silu }, &[x, gate, x]);
    let loss = net.loss_of_map(y);
    check("gate of ones", &net, loss);
}

/// Three steps computed by hand: gradient 1, lr 0.1, momentum 0.5, weight decay 0.2, from p = 2, v = 0.
///
/// | step | g = 1 + 0.2 p | v = 0.5 v + g | p (plain): p - 0.1 v |
/// |---|---|---|---|
/// | 1 | 1.4 | 1.4 | 1.86 |
/// | 2 | 1.372 | 2.072 | 1.6528 |
/// | 3 | 1.33056 | 2.36656 | 1.416144 |
///
/// | step | g | v | p (Nesterov): p - 0.1 (g + 0.5 v) |
/// |---|---|---|---|
/// | 1 | 1.4 | 1.4 | 1.79 |
/// | 2 | 1.358 | 2.058 | 1.5513 |
/// | 3 | 1.31026 | 2.33926 | 1.303311 |
#[test]
fn sgd_by_hand() {
    for (nesterov, path) in [(false, [1.86, 1.6528, 1.416144]), (true, [1.79, 1.5513, 1.303311])] {
        let mut net = Net::default();
        let g = &mut net.graph;
        let vector = Spec::channels([1]);
        let grad = g.input("grad", vector.clone()).unwrap();
        let lr = g.input("lr", Spec::plain([1], DType::F32)).unwrap();
        let p = g.parameter("p".into(), vector.clone(), Init::Constant(2.0)).unwrap();
        let v = g.state("v".into(), vector, StateKind::Momentum, 0.0).unwrap();
        let sgd = SgdMomentum::new(0.5, nesterov, 0.2);
        g.apply("sgd", sgd, &[lr, grad], &[p, v]).unwrap();
        for (id, value) in [(grad, 1.0), (lr, 0.1), (p, 2.0), (v, 0.0)] {
            net.values.set(&net.graph, id, vec![value]).unwrap();
        }
        for want in path {
            run(&net.graph, &mut net.values).unwrap();
            let got = net.values.get(p).unwrap()[0];
            // weight_decay is an f32, which is 0.2 up to 3e-9.
            assert!((got - want).abs() < 1e-7, "nesterov {nesterov}: {got}, by hand {want}");
        }
    }
}

/// Fusion changes nothing but the nodes: four convolutions carry all of a block's element-wise work.
#[test]
fn fusion_keeps_a_block() {
    let mut net = Net::default();
    let conv_bn = |net: &mut Net, name: &str, x, out, window, activation| {
        let y = net.conv(name, x, out, window);
        let bn = format!("{name}.bn");
        let [mean, var] = net.statistics(&bn, out);
        let gamma = net.vector(&format!("{bn}.gamma"), out);
        let beta = net.vector(&format!("{bn}.beta"), out);
        net.apply(&bn, BatchNormInference { eps: 1e-5, activation }, &[y, gamma, beta, mean, var])
    };
    let x = net.map("x", [2, 5, 7, 4]);
    let y = conv_bn(&mut net, "conv1", x, 3, Window::POINTWISE, Activation::Relu);
    let y = conv_bn(&mut net, "conv2", y, 3, Window::square(3, 2, 1), Activation::Relu);
    let y = conv_bn(&mut net, "conv3", y, 6, Window::POINTWISE, Activation::Identity);
    let gate = net.apply("se", GlobalAvgPool::TO_FEATURES, &[y]);
    let gate = net.linear("se.fc1", gate, 2, true, Activation::Relu);
    let gate = net.linear("se.fc2", gate, 6, true, Activation::Sigmoid);
    let shortcut = net.apply("downsample.0", AvgPool::new(HALVES), &[x]);
    let shortcut = conv_bn(&mut net, "downsample.1", shortcut, 6, Window::POINTWISE, Activation::Identity);
    let join = ScaleAdd { gate: true, shortcut: true, activation: Activation::Relu };
    let y = net.apply("join", join, &[y, gate, shortcut]);

    let mut separate = net.values.clone();
    run(&net.graph, &mut separate).unwrap();
    fuse::for_inference(&mut net.graph, &[y]).unwrap();
    run(&net.graph, &mut net.values).unwrap();
    let (separate, fused) = (separate.get(y).unwrap(), net.values.get(y).unwrap());
    let largest = separate.iter().fold(0.0, |max: f64, v| max.max(v.abs()));
    for (a, b) in separate.iter().zip(fused) {
        assert!((a - b).abs() <= 1e-12 * largest, "{a} apart, {b} fused");
    }

    let mut kinds: Vec<&str> = net.graph.nodes().iter().map(|n| n.op.rule().name()).collect();
    kinds.sort_unstable();
    let mut expected = vec!["avg_pool", "global_avg_pool"];
    expected.extend(["conv2d"; 4]);
    expected.extend(["fold_batch_norm"; 4]);
    expected.extend(["linear"; 3]);
    expected.sort_unstable();
    assert_eq!(kinds, expected);
}
