//! Tests of what windows compute, in addition to the gradients that the self-test's cases check.

use resnet_rs::graph::op::{Conv2d, DepthwiseConv2d, Padding, Window};
use resnet_rs::graph::{Op, Spec};
use resnet_rs::reference::run;

use super::Net;

/// A dilated kernel gives the same result as a dense kernel with zeros between its taps.
#[test]
fn a_dilated_kernel_is_a_dense_one_with_zeros() {
    let window = Window { kernel: [2, 3], dilation: [3, 2], ..Window::square(1, 1, Padding::Zeros([2, 3])) };
    let dense = Window { kernel: window.extent(), dilation: [1; 2], ..window };
    let ([kh, kw], [eh, ew]) = (window.kernel, dense.kernel);
    let mut net = Net::default();
    let x = net.map("x", [2, 5, 6, 2]);
    let dilated = net.conv("dilated", x, 3, window);
    let sparse = net.conv("dense", x, 3, dense);
    let weights = |net: &Net, name: &str| net.graph.find(&format!("{name}.weight")).unwrap();
    let taps = net.values.get(weights(&net, "dilated")).unwrap().to_vec();
    let mut spread = vec![0.0; eh * ew * 2 * 3];
    for (tap, values) in taps.chunks_exact(2 * 3).enumerate() {
        assert!(tap < kh * kw);
        let at = (tap / kw * 3) * ew + tap % kw * 2;
        spread[at * 2 * 3..][..2 * 3].copy_from_slice(values);
    }
    net.values.set(&net.graph, weights(&net, "dense"), spread).unwrap();
    run(&net.graph, &mut net.values).unwrap();
    let [dilated, sparse] = [dilated, sparse].map(|id| net.values.get(id).unwrap());
    assert!(dilated.iter().any(|&v| v != 0.0));
    assert_eq!(dilated, sparse);
}

#[test]
fn weights_of_another_kernel_are_refused() {
    let mut net = Net::default();
    let x = net.map("x", [1, 5, 5, 2]);
    let w = net.parameter("w", Spec::weights([3, 1, 2, 2]));
    let channels = net.parameter("channels", Spec::depthwise([3, 1, 2]));
    let window = Window::square(3, 1, 1);
    for (op, weights) in [(Op::from(Conv2d::new(window)), w), (DepthwiseConv2d::new(window).into(), channels)] {
        let error = net.graph.apply1("conv", op, &[x, weights]).unwrap_err().to_string();
        assert!(error.contains("a kernel of 3 x 1, the window is one of 3 x 3"), "{error}");
    }
}
