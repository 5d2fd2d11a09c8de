//! Sums of gradients: of maps, weights and features that are read more than once, and of several losses.

use resnet_rs::graph::autodiff::{self, Loss};
use resnet_rs::graph::op::{AvgPool, BatchNorm, Conv2d, DepthwiseConv2d, GlobalAvgPool, Linear, ScaleAdd, Window};
use resnet_rs::graph::{Activation, Spec, TensorId};

use super::{HALVES, Net, check, check_all};

/// Each operation that adds the contribution of other readers itself reads a map that a later node reads as well.
#[test]
fn shared_inputs() {
    let mut net = Net::default();
    let x = net.map("x", [2, 5, 3, 3]);
    let by_conv = net.conv("conv", x, 3, Window::square(3, 1, 1));
    let sum = net.apply("sum", ScaleAdd { activation: Activation::Relu, ..ScaleAdd::ADD }, &[by_conv, x]);
    let by_pool = net.apply("pool", AvgPool::new(HALVES), &[sum]);
    let by_strided = net.conv("strided", sum, 3, Window::square(1, 2, 0));
    let y = net.apply("second sum", ScaleAdd::ADD, &[by_strided, by_pool]);
    let squeezed = net.apply("squeeze", GlobalAvgPool::TO_FEATURES, &[y]);
    let gate = net.linear("excite", squeezed, 3, true, Activation::Sigmoid);
    let y = net.apply("scale", ScaleAdd { gate: true, shortcut: true, activation: Activation::Silu }, &[y, gate, y]);
    let normalised = net.batch_norm("norm", y, Activation::Relu);
    let y = net.apply("third sum", ScaleAdd::ADD, &[normalised, y]);
    let loss = net.loss_of_map(y);
    check("shared maps", &net, loss);
}

/// A detector's head: one convolution, depthwise convolution, batch norm and classifier for three maps of different
/// sizes, each with a loss of its own.
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
            let y = net.apply(&name("pool"), GlobalAvgPool::TO_FEATURES, &[y]);
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

/// Two losses of one network. One of them is listed twice, so its weights add up.
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
