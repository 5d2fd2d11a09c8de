//! Gradients against central differences in f64, of every operation by the self-test's cases and of blocks; and fusion against
//! the graph it came from.
#![allow(clippy::unwrap_used)]

#[path = "common/synth.rs"]
#[allow(dead_code)]
mod synth;

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use resnet_rs::graph::autodiff::{self, Loss};
use resnet_rs::graph::op::{
    AvgPool, BatchNorm, BatchNormInference, Conv2d, DepthwiseConv2d, Dropout, DropoutScope, Fill, GlobalAvgPool,
    Linear, Padding, ScaleAdd, SgdMomentum, SoftmaxCrossEntropy, Window,
};
use resnet_rs::graph::{
    Activation, DType, Error, Graph, Init, Node, Op, Role, Spec, StateKind, Tensor, TensorId, fuse,
};
use resnet_rs::reference::{Values, run};
use resnet_rs::selftest::{Case, cases};

/// The average pool of ResNet-D's shortcuts.
const HALVES: Window = Window { kernel: [2; 2], stride: [2; 2], dilation: [1; 2], padding: Padding::Same };

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Sigmoid];

/// A graph with values for everything that is fed. Maps are parameters, so that their gradients are checked as well.
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

    /// The same by labels of this name.
    fn loss_by(&mut self, labels: &str, logits: TensorId) -> TensorId {
        let [n, classes] = self.shape(logits)[..] else { panic!("not features") };
        let labels = self.graph.input(labels, Spec::plain([n], DType::U32)).unwrap();
        self.values.set(&self.graph, labels, (0..n).map(|i| (i * 2 % classes) as f64).collect()).unwrap();
        self.apply("loss", SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels])
    }

    /// Cross-entropy of a map: curved first, so that the map's values matter to its gradient, then weighted pixel by pixel
    /// by a convolution as large as the map.
    fn loss_of_map(&mut self, x: TensorId) -> TensorId {
        let curve = ScaleAdd { gate: false, shortcut: false, activation: Activation::Sigmoid };
        let curved = self.apply("curve", curve, &[x]);
        let [_, h, w, _] = self.shape(x)[..] else { panic!("not a map") };
        let weighted = self.conv("readout", curved, 3, Window { kernel: [h, w], ..Window::POINTWISE });
        let logits = self.apply("readout.pool", GlobalAvgPool, &[weighted]);
        self.loss(logits)
    }
}

/// Which elements are positive behind each ReLU: unchanged by a perturbation that crosses no kink.
fn positive(graph: &Graph, values: &Values) -> Vec<bool> {
    let behind = graph.nodes().iter().filter(|n| n.op.rule().activation() == Activation::Relu).map(|n| n.outputs[0]);
    behind.flat_map(|id| values.get(id).unwrap().iter().map(|&y| y > 0.0)).collect()
}

/// Compares the gradient of every element of every parameter with its central difference.
///
/// With steps of eps^(1/3) truncation and rounding both cost about 1e-11 of a loss of order one, so 1e-6 of a gradient that
/// is at least 1e-3 leaves room for third derivatives of up to 100.
fn check(what: &str, net: &Net, loss: TensorId) {
    check_all(what, net, &[Loss { id: loss, weight: 1.0 }]);
}

/// The same of a weighted sum of losses.
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

/// A case's tensors with what it is differentiable in as parameters, fed, and its nodes; and the ids that its tensors have here.
fn with_parameters(case: &Case) -> (Net, HashMap<TensorId, TensorId>) {
    let (mut net, from) = (Net::default(), &case.graph);
    let results = from.producers();
    let mut here = HashMap::new();
    for id in from.ids().filter(|id| !results.contains_key(id)) {
        let Tensor { name, spec, role } = from.tensor(id).clone();
        let learned = case.differentiable.contains(&id);
        let role = if learned { Role::Parameter(Init::Constant(0.0)) } else { role };
        here.insert(id, net.graph.add_tensor(name, spec, role).unwrap());
    }
    for node in from.nodes() {
        let [inputs, updates] =
            [&node.inputs, &node.updates].map(|ids| ids.iter().map(|id| here[id]).collect::<Vec<_>>());
        let outputs = net.graph.apply(&node.name, node.op.clone(), &inputs, &updates).unwrap();
        here.extend(node.outputs.iter().copied().zip(outputs));
    }
    for (id, elements) in &case.feeds {
        net.values.set(&net.graph, here[id], elements.clone()).unwrap();
    }
    (net, here)
}

/// Multiply-adds and elements that one run of a case may take to be checked here: others are larger, but not different.
const LARGEST_RUN: usize = 1_000_000;

/// What the runs for one of a case's tensors may take together, which decides how many of its elements are checked.
const RUNS: usize = 4_000_000;

/// Appends the gradients of a result that `seed` weighs element by element. A loss has one element, so its weight is the
/// loss scale.
fn backward(
    graph: &mut Graph,
    result: TensorId,
    seed: TensorId,
    mut found: impl FnMut(TensorId, TensorId),
) -> Result<(), Error> {
    let use_gradient = |_: &mut Graph, parameter, gradient| {
        found(parameter, gradient);
        Ok(())
    };
    let is_loss = |node: &Node| node.op.rule().is_loss() && node.outputs[0] == result;
    if graph.nodes().iter().any(is_loss) {
        autodiff::differentiate(graph, &[Loss { id: result, weight: 1.0 }], Some(seed), use_gradient)
    } else {
        autodiff::pull_back(graph, result, seed, use_gradient)
    }
}

/// Holds the gradients of a case's first result, weighted element by element, against central differences, as [`check`] does a
/// loss's. Returns the largest gradient that was checked, or nothing for a case that is too large.
fn check_case(case: &Case) -> Option<f64> {
    let (net, here) = with_parameters(case);
    let result = here[&case.compare[0].0];
    let macs: u64 = net.graph.nodes().iter().map(|node| node.cost(&net.graph).macs).sum();
    let work = macs as usize + net.graph.tensors().iter().map(|t| t.spec.elements()).sum::<usize>();
    if work > LARGEST_RUN {
        return None;
    }
    let (mut graph, mut values) = (net.graph.clone(), net.values.clone());
    let seed = graph.input("seed", graph.spec(result).clone()).unwrap();
    let weights: Vec<f64> = synth::value("seed", graph.spec(seed).elements(), 7).into_iter().map(f64::from).collect();
    values.set(&graph, seed, weights.clone()).unwrap();
    let mut gradients = Vec::new();
    backward(&mut graph, result, seed, |parameter, gradient| gradients.push((parameter, gradient)))
        .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    assert_eq!(gradients.len(), case.differentiable.len(), "{}: every input once", case.name);
    run(&graph, &mut values).unwrap();
    let kinks = positive(&net.graph, &values);

    let (mut all, mut checked, mut skipped) = (0.0f64, 0, 0);
    for (parameter, gradient) in gradients {
        let name = &net.graph.tensor(parameter).name;
        let analytic = values.get(gradient).unwrap();
        let largest = analytic.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
        all = all.max(largest);
        let start = net.values.get(parameter).unwrap();
        let count = (RUNS / work).clamp(4, 100).min(start.len());
        for nth in 0..count {
            // All elements of a short tensor, else some that lie in no line.
            let i = if count == start.len() { nth } else { nth * 0x9E37_79B1 % start.len() };
            let step = f64::EPSILON.cbrt() * start[i].abs().max(1.0);
            let result_at = |offset: f64| {
                let mut moved = net.values.clone();
                let mut elements = start.to_vec();
                elements[i] += offset;
                moved.set(&net.graph, parameter, elements).unwrap();
                run(&net.graph, &mut moved).unwrap();
                (positive(&net.graph, &moved) == kinks).then(|| moved.get(result).unwrap().to_vec())
            };
            let (Some(above), Some(below)) = (result_at(step), result_at(-step)) else {
                skipped += 1;
                continue;
            };
            // Element by element, since most are equal: their roundings would add up.
            let differences = weights.iter().zip(above.iter().zip(&below)).map(|(w, (a, b))| w * (a - b));
            let numeric = differences.sum::<f64>() / (2.0 * step);
            let error = (analytic[i] - numeric).abs();
            let what =
                || format!("{}: {name}[{i}]: {} by the chain rule, {numeric} by differences", case.name, analytic[i]);
            // A batch norm of two pixels has gradients that almost cancel.
            assert!(error <= 1e-6 * largest.max(1e-3), "{}: off by {error:e}", what());
            checked += 1;
        }
    }
    // A batch norm moves thousands of elements at once, and joins have inputs of exactly 0.
    assert!(skipped * 10 <= checked, "{}: {skipped} of {checked} elements lie at a kink", case.name);
    Some(all)
}

/// The self-test's cases, each operation of which that has a gradient says so.
#[test]
fn every_differentiable_case() {
    let cases: Vec<Case> = cases::standard().into_iter().chain((0..20).flat_map(cases::random)).collect();
    let has_gradient = |case: &&Case| {
        let mut graph = case.graph.clone();
        let result = case.compare[0].0;
        let makes_it = |node: &Node| !node.inputs.is_empty() && node.outputs.first() == Some(&result);
        let single = graph.nodes().len() == 1 && makes_it(&graph.nodes()[0]);
        let seed = graph.input("seed", graph.spec(result).clone()).unwrap();
        single && backward(&mut graph, result, seed, |_, _| ()).is_ok()
    };
    let in_full = |case: &&Case| case.graph.tensors().iter().all(|tensor| tensor.spec.dtype != DType::F16);
    for case in cases.iter().filter(in_full).filter(has_gradient) {
        assert!(!case.differentiable.is_empty(), "{} has a gradient, which nobody checks", case.name);
    }
    let differentiable: Vec<&Case> = cases.iter().filter(|case| !case.differentiable.is_empty()).collect();
    let checked = differentiable.par_iter().map(|case| (case, check_case(case)));
    let alive: HashSet<&str> = checked
        .filter(|(_, largest)| largest.is_some_and(|largest| largest > 1e-3))
        .map(|(case, _)| case.graph.nodes()[0].op.variant())
        .collect();
    let wanted: HashSet<&str> = differentiable.iter().map(|case| case.graph.nodes()[0].op.variant()).collect();
    assert_eq!(alive, wanted, "operations with a gradient that is not too small to be checked");
}

/// One tensor in both places of a join.
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

/// Each operation that adds the others' contribution itself reads a map that a later node reads as well.
#[test]
fn shared_inputs() {
    let mut net = Net::default();
    let x = net.map("x", [2, 5, 3, 3]);
    let by_conv = net.conv("conv", x, 3, Window::square(3, 1, 1));
    let sum = net.apply("sum", ScaleAdd { activation: Activation::Relu, ..ScaleAdd::ADD }, &[by_conv, x]);
    let by_pool = net.apply("pool", AvgPool { window: HALVES }, &[sum]);
    let by_strided = net.conv("strided", sum, 3, Window::square(1, 2, 0));
    let y = net.apply("second sum", ScaleAdd::ADD, &[by_strided, by_pool]);
    let squeezed = net.apply("squeeze", GlobalAvgPool, &[y]);
    let gate = net.linear("excite", squeezed, 3, true, Activation::Sigmoid);
    let y = net.apply("scale", ScaleAdd { gate: true, shortcut: true, activation: Activation::Silu }, &[y, gate, y]);
    let normalised = net.batch_norm("norm", y, Activation::Relu);
    let y = net.apply("third sum", ScaleAdd::ADD, &[normalised, y]);
    let loss = net.loss_of_map(y);
    check("shared maps", &net, loss);
}

/// A head as detectors have it: one convolution, depthwise convolution, batch norm and classifier for three maps of
/// different sizes, each with a loss of its own.
#[test]
fn one_head_on_three_maps() {
    let mut net = Net::default();
    let w = net.parameter("w", Spec::weights([3, 3, 2, 4]));
    let channels = net.parameter("channels", Spec::depthwise([3, 3, 4]));
    let (gamma, beta) = (net.vector("gamma", 4), net.vector("beta", 4));
    let [mean, var] = net.statistics("norm", 4);
    let (fc, bias) = (net.parameter("fc", Spec::weights([4, 3])), net.vector("bias", 3));
    let losses: Vec<Loss> = [[5, 4], [3, 3], [2, 1]]
        .into_iter()
        .zip([1.0, 0.5, 2.0])
        .map(|([height, width], weight)| {
            let name = |what: &str| format!("{what} of {height} x {width}");
            let x = net.map(&name("map"), [2, height, width, 2]);
            let y = net.apply(&name("conv"), Conv2d::new(Window::square(3, 1, 1)), &[x, w]);
            let y = net.apply(&name("depthwise"), DepthwiseConv2d::new(Window::square(3, 1, 1)), &[y, channels]);
            let norm = BatchNorm { eps: 1e-5, momentum: 0.1, activation: Activation::Silu };
            let y = net.graph.apply(&name("norm"), norm, &[y, gamma, beta], &[mean, var]).unwrap()[0];
            let y = net.apply(&name("pool"), GlobalAvgPool, &[y]);
            let logits = net.apply(&name("classifier"), Linear { activation: Activation::Identity }, &[y, fc, bias]);
            Loss { id: net.loss_by(&name("labels"), logits), weight }
        })
        .collect();
    check_all("one head", &net, &losses);
}

/// Weights that are read twice on one path, and features that three layers read.
#[test]
fn weights_and_features_read_more_than_once() {
    let mut net = Net::default();
    let x = net.map("x", [1, 3, 3, 2]);
    let w = net.parameter("w", Spec::weights([1, 1, 2, 2]));
    let y = net.apply("first", Conv2d::new(Window::POINTWISE), &[x, w]);
    let curve = ScaleAdd { gate: false, shortcut: false, activation: Activation::Silu };
    let y = net.apply("between", curve, &[y]);
    let y = net.apply("second", Conv2d::new(Window::POINTWISE), &[y, w]);
    let loss = net.loss_of_map(y);
    check("a kernel", &net, loss);

    let mut net = Net::default();
    let x = net.parameter("x", Spec::channels([2, 4]));
    let (w, b) = (net.parameter("w", Spec::weights([4, 4])), net.vector("b", 4));
    let y = net.apply("first", Linear { activation: Activation::Silu }, &[x, w, b]);
    let y = net.apply("second", Linear { activation: Activation::Sigmoid }, &[y, w, b]);
    let [one, two] = ["one", "two"].map(|name| net.linear(name, y, 3, false, Activation::Identity));
    let sum = net.apply("sum", ScaleAdd::ADD, &[one, two]);
    let loss = net.loss(sum);
    check("features", &net, loss);
}

/// Two losses of one network, one of them twice: their weights add up.
#[test]
fn several_losses_count_by_their_weights() {
    let mut net = Net::default();
    let x = net.parameter("x", Spec::channels([3, 4]));
    let y = net.linear("hidden", x, 4, false, Activation::Silu);
    let [first, second] = ["first", "second"].map(|name| {
        let logits = net.linear(name, y, 3, false, Activation::Identity);
        net.loss_by(&format!("{name}.labels"), logits)
    });
    let loss = |id, weight| Loss { id, weight };
    check_all("two losses", &net, &[loss(first, 0.75), loss(second, -2.0)]);
    check_all("one of them twice", &net, &[loss(second, 0.5), loss(first, 0.75), loss(second, 1.25)]);
}

#[test]
fn what_is_no_loss_is_not_differentiated() {
    let mut net = Net::default();
    let x = net.parameter("x", Spec::channels([2, 3]));
    let logits = net.linear("fc", x, 3, false, Activation::Identity);
    net.loss(logits);
    let node = net.graph.nodes().last().unwrap().clone();
    let mut refused = |losses: &[TensorId]| {
        let losses: Vec<Loss> = losses.iter().map(|&id| Loss { id, weight: 1.0 }).collect();
        autodiff::differentiate(&mut net.graph, &losses, None, |_, _, _| Ok(())).unwrap_err().to_string()
    };
    assert_eq!(refused(&[]), "cannot differentiate nothing: no loss is given");
    assert_eq!(refused(&[node.outputs[0], x]), "cannot differentiate x: no node of the graph writes it");
    assert!(refused(&[logits]).ends_with("linear is no loss"), "{}", refused(&[logits]));
    let top1 = refused(&[node.outputs[1]]);
    assert!(top1.contains("the loss of loss is its first output, loss/softmax_cross_entropy:0"), "{top1}");
}

/// A parameter whose first reader leads nowhere still gets its gradient, once.
#[test]
fn dead_ends_are_passed_over() {
    let mut net = Net::default();
    let x = net.map("x", [2, 3, 3, 2]);
    net.apply("dead end", GlobalAvgPool, &[x]);
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
        let gate = net.apply("squeeze", GlobalAvgPool, &[y]);
        let gate = net.linear("fc1", gate, 3, true, Activation::Relu);
        let gate = net.linear("fc2", gate, 5, true, Activation::Sigmoid);
        let drop_path = Dropout { rate: 0.3, scope: DropoutScope::Sample, stream: 0 };
        let gate = net.apply("drop path", drop_path, &[gate, clock]);
        let shortcut = net.apply("pool", AvgPool { window: HALVES }, &[x]);
        let shortcut = net.conv("downsample", shortcut, 5, Window::POINTWISE);
        let shortcut = net.batch_norm("bn4", shortcut, Activation::Identity);
        let y = net.apply("join", ScaleAdd { gate: true, shortcut: true, activation }, &[y, gate, shortcut]);
        let loss = net.loss_of_map(y);
        check(&format!("block with {activation:?}"), &net, loss);
    }
}

/// A training-mode inverted bottleneck: expanded, convolved channel by channel, gated, projected, dropped, added to its input.
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
        let gate = net.apply("squeeze", GlobalAvgPool, &[y]);
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

/// Three steps worked out by hand: gradient 1, lr 0.1, momentum 0.5, weight decay 0.2, from p = 2, v = 0.
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
        g.apply("sgd", sgd, &[grad, lr], &[p, v]).unwrap();
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
    let gate = net.apply("se", GlobalAvgPool, &[y]);
    let gate = net.linear("se.fc1", gate, 2, true, Activation::Relu);
    let gate = net.linear("se.fc2", gate, 6, true, Activation::Sigmoid);
    let shortcut = net.apply("downsample.0", AvgPool { window: HALVES }, &[x]);
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
    let mut expected = vec!["avg_pool_2x2", "global_avg_pool"];
    expected.extend(["conv2d"; 4]);
    expected.extend(["fold_batch_norm"; 4]);
    expected.extend(["linear"; 3]);
    expected.sort_unstable();
    assert_eq!(kinds, expected);
}
