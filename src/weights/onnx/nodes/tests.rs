use std::collections::HashSet;

use super::*;
use crate::graph::freeze::freeze;
use crate::graph::op::{AvgPool, BatchNormInference, Conv2d, DepthwiseConv2d, Fill, MaxPool, Padding};
use crate::graph::{Init, Port, Precision, Spec};
use crate::models::{ActivationChoice, Config, Input, Mode, Network, PRESETS, ResNet, Stem, StemDownsampling};

/// The nodes of a network, without weights.
fn nodes_of(config: &Config) -> Vec<NodeProto> {
    let network = Network::build(config, 1, [65; 2], Input::Tensor, Mode::Inference).unwrap();
    let outputs = network.outputs.clone();
    let graph = freeze(network.graph.clone(), &network.output_ids(), Precision::F32).unwrap().graph;
    ended(&graph, &outputs).unwrap().nodes
}

/// A graph whose outputs have their names.
fn ended<'a>(graph: &'a Graph, outputs: &[Port]) -> Result<Translation<'a>, Error> {
    let mut translation = Translation::of(graph, called(graph))?;
    for port in outputs {
        let value = translation.tensor(port.id).0;
        translation.output(port.name, &value);
    }
    Ok(translation)
}

/// Inputs and parameters by their own names.
fn called(graph: &Graph) -> HashMap<TensorId, String> {
    let of_nodes = graph.producers();
    let outside = graph.ids().filter(|id| !of_nodes.contains_key(id));
    outside.map(|id| (id, graph.tensor(id).name.clone())).collect()
}

/// The nodes of [`one_with_constants`].
fn one(op: impl Into<Op>, maps: usize, parameters: &[Spec]) -> Result<Vec<NodeProto>, Error> {
    Ok(one_with_constants(op, maps, parameters)?.0)
}

/// Nodes and constants of a graph of one operation, over maps of 7 x 6 pixels and 8 channels, and parameters of these
/// shapes, named p0, p1, ..
fn one_with_constants(
    op: impl Into<Op>,
    maps: usize,
    parameters: &[Spec],
) -> Result<(Vec<NodeProto>, Vec<TensorProto>), Error> {
    let mut graph = Graph::new();
    let map = |i: usize| graph.input(&format!("x{i}"), Spec::channels([1, 7, 6, 8])).unwrap();
    let mut inputs: Vec<TensorId> = (0..maps).map(map).collect();
    for (i, spec) in parameters.iter().enumerate() {
        inputs.insert(1 + i, graph.parameter(format!("p{i}"), spec.clone(), Init::Constant(0.0)).unwrap());
    }
    let output = graph.apply1("at", op, &inputs).unwrap();
    let Translation { nodes, constants, .. } = ended(&graph, &[Port { name: "y", id: output }])?;
    Ok((nodes, constants))
}

/// Operator and inputs of each node.
fn calls(nodes: &[NodeProto]) -> Vec<String> {
    nodes.iter().map(|node| format!("{}({})", node.op_type, node.input.join(", "))).collect()
}

fn ints(node: &NodeProto, name: &str) -> Vec<i64> {
    node.attribute.iter().find(|attribute| attribute.name == name).unwrap().ints.clone()
}

/// ONNX requires that every name is unique and every value is written before it is read.
#[test]
fn every_network_is_in_order() {
    let base = ResNet::rs([1, 1, 1, 1], 0.25);
    let switched = [
        ResNet { activation: ActivationChoice::Silu, ..base },
        ResNet { stem_downsampling: StemDownsampling::FirstBlock, se_ratio: 0.0, ..base },
        ResNet { stem: Stem::Plain, activation: ActivationChoice::Silu, se_ratio: 0.0, ..base },
    ];
    let layers = PRESETS.iter().map(|preset| preset.layers).chain(switched.map(Into::into));
    for config in layers.map(|layers| Config::new(layers, 10)) {
        let nodes = nodes_of(&config);
        let mut written = HashSet::from(["input"]);
        for node in &nodes {
            let made_by_nodes = |name: &&str| name.contains('/') && !name.contains("fold_batch_norm");
            let unknown =
                node.input.iter().map(String::as_str).find(|name| made_by_nodes(name) && !written.contains(name));
            assert_eq!(unknown, None, "{:?}: {}", config.layers, node.name);
            assert!(written.insert(&node.output[0]), "{:?}: {} twice", config.layers, node.name);
        }
        assert_eq!(nodes.last().unwrap().output, ["logits"], "{:?}", config.layers);
        assert!(nodes.iter().all(|node| node.op_type != "BatchNormalization"), "{:?}", config.layers);
    }
}

#[test]
fn an_epilogue_keeps_its_order() {
    let epilogue = Epilogue { bias: true, gate: true, shortcut: true, activation: Activation::Silu };
    let parameters = [Spec::weights([1, 1, 8, 8]), Spec::channels([8]), Spec::channels([1, 8])];
    let nodes = one(Conv2d { epilogue, ..Conv2d::new(Window::POINTWISE) }, 2, &parameters).unwrap();
    let expected = [
        "Conv(x0, p0, p1)",
        "Mul(at/Conv, p2)",
        "Add(at/gate/Mul, x1)",
        "Sigmoid(at/shortcut/Add)",
        "Mul(at/shortcut/Add, at/act/Sigmoid)",
    ];
    assert_eq!(calls(&nodes), expected);
    assert_eq!(nodes[4].output, ["y"]);
}

/// TensorFlow puts the odd zero after the map.
#[test]
fn paddings_are_top_left_bottom_right() {
    let window = Window { kernel: [3, 5], ..Window::square(3, 2, Padding::Same) };
    let op = DepthwiseConv2d::new(window);
    let nodes = one(op, 1, &[Spec::depthwise([3, 5, 8])]).unwrap();
    assert_eq!(ints(&nodes[0], "pads"), [1, 1, 1, 2]);
    assert_eq!((ints(&nodes[0], "kernel_shape"), ints(&nodes[0], "strides")), (vec![3, 5], vec![2, 2]));
    assert_eq!(nodes[0].attribute.last().unwrap().i, Some(8), "a group a channel");
    let nodes = one(AvgPool::new(Window::square(2, 2, Padding::Same)), 1, &[]).unwrap();
    assert_eq!(ints(&nodes[0], "pads"), [0, 0, 1, 0], "7 rows are odd, 6 columns are not");
    let nodes = one(MaxPool { window: Window::square(3, 2, 1) }, 1, &[]).unwrap();
    assert_eq!((ints(&nodes[0], "kernel_shape"), ints(&nodes[0], "pads")), (vec![3, 3], vec![1; 4]));
    assert!(nodes[0].attribute.iter().all(|attribute| attribute.name != "dilations"));
}

#[test]
fn each_axis_has_its_own_numbers() {
    let window = Window { kernel: [3, 1], stride: [1, 2], dilation: [2, 1], padding: Padding::Zeros([2, 0]) };
    let nodes = one(Conv2d::new(window), 1, &[Spec::weights([3, 1, 8, 8])]).unwrap();
    assert_eq!((ints(&nodes[0], "kernel_shape"), ints(&nodes[0], "strides")), (vec![3, 1], vec![1, 2]));
    assert_eq!((ints(&nodes[0], "dilations"), ints(&nodes[0], "pads")), (vec![2, 1], vec![2, 0, 2, 0]));
}

#[test]
fn a_resized_map_keeps_its_pictures_and_channels() {
    let nodes = one(Resize { size: [14, 9], filter: Filter::Bilinear }, 1, &[]).unwrap();
    let expected = ["Constant()", "Shape(x0)", "Concat(at/Shape, at/Constant)", "Resize(x0, , , at/Concat)"];
    assert_eq!(calls(&nodes), expected);
    assert_eq!(ints(&nodes[0], "value_ints"), [14, 9]);
    assert_eq!(nodes[3].attribute[1].s.as_deref(), Some(&b"half_pixel"[..]));
}

#[test]
fn a_scaled_sigmoid_has_a_floor() {
    let nodes = one(ScaledSigmoid { scale: 10.0, floor: 1e-4 }, 1, &[]).unwrap();
    let expected = [
        "Sigmoid(x0)",
        "Constant()",
        "Constant()",
        "Clip(at/Sigmoid, at/floor/Constant)",
        "Mul(at/Clip, at/scale/Constant)",
    ];
    assert_eq!(calls(&nodes), expected);
    assert_eq!([1, 2].map(|i: usize| nodes[i].attribute[0].f), [Some(1e-4), Some(10.0)]);
}

#[test]
fn a_batch_norm_that_is_left_stays_one() {
    let op = BatchNormInference { eps: 1e-3, activation: Activation::Relu };
    let nodes = one(op, 1, &vec![Spec::channels([8]); 4]).unwrap();
    assert_eq!(calls(&nodes), ["BatchNormalization(x0, p0, p1, p2, p3)", "Relu(at/BatchNormalization)"]);
    assert_eq!(nodes[0].attribute[0].f, Some(1e-3));
}

#[test]
fn what_onnx_does_not_have_is_refused_by_name() {
    let refused = one(Fill { shape: [1, 8], value: 1.0 }, 0, &[]).unwrap_err().to_string();
    assert!(refused.contains("at: fill has no counterpart in ONNX"), "{refused}");
}

/// The numbers of a constant.
fn floats(constant: &TensorProto) -> Vec<f32> {
    bytemuck::cast_slice::<u8, f32>(&constant.raw_data).to_vec()
}

/// Three taps two pixels apart over rows 0 to 6, zeros around: of 2 or 3 taps. Columns 0 to 5 likewise.
#[test]
fn a_dilated_mean_is_a_sum_with_its_counts() {
    let window = Window { dilation: [2; 2], ..Window::square(3, 1, 2) };
    let (nodes, constants) = one_with_constants(AvgPool::new(window), 1, &[]).unwrap();
    assert_eq!(calls(&nodes), ["Conv(x0, at/ones)", "Mul(at/Conv, at/shares)"]);
    assert_eq!((ints(&nodes[0], "dilations"), ints(&nodes[0], "pads")), (vec![2; 2], vec![2; 4]));
    let [ones, shares] = &constants[..] else { panic!("{} constants", constants.len()) };
    assert_eq!((&ones.dims[..], floats(ones)), (&[8, 1, 3, 3][..], vec![1.0; 72]));
    let (down, across) = ([2, 2, 3, 3, 3, 2, 2], [2, 2, 3, 3, 2, 2]);
    let want: Vec<f32> = down.iter().flat_map(|d| across.iter().map(move |a| 1.0 / (d * a) as f32)).collect();
    assert_eq!((&shares.dims[..], floats(shares)), (&[1, 1, 7, 6][..], want));

    let (_, constants) = one_with_constants(AvgPool { window, zeros_count: true }, 1, &[]).unwrap();
    assert_eq!(floats(&constants[1]), [1.0 / 9.0; 42]);
}

/// Two taps three pixels apart reach the map over three lines of zeros.
#[test]
fn zeros_as_wide_as_a_pool_are_a_node_of_their_own() {
    let window = Window { dilation: [3; 2], ..Window::square(2, 1, 3) };
    let nodes = one(MaxPool { window }, 1, &[]).unwrap();
    let [pads, least] = ["at/pads/Constant", "at/least/Constant"];
    let expected = ["Constant()", "Constant()", &format!("Pad(x0, {pads}, {least})"), "MaxPool(at/Pad)"];
    assert_eq!(calls(&nodes), expected);
    assert_eq!(ints(&nodes[0], "value_ints"), [0, 0, 3, 3, 0, 0, 3, 3]);
    assert_eq!(nodes[1].attribute[0].f, Some(f32::MIN));
    assert_eq!((ints(&nodes[3], "dilations"), ints(&nodes[3], "pads")), (vec![3; 2], vec![0; 4]));
    let narrow = MaxPool { window: Window { dilation: [3; 2], ..Window::square(4, 1, 3) } };
    assert_eq!(calls(&one(narrow, 1, &[]).unwrap()), ["MaxPool(x0)"]);
}

/// Outputs in the middle of the graph, twice the same tensor, and an input.
#[test]
fn a_graph_may_have_several_outputs() {
    let mut graph = Graph::new();
    let x = graph.input("x", Spec::channels([1, 4, 4, 8])).unwrap();
    let relu = ScaleAdd { gate: false, shortcut: false, activation: Activation::Relu };
    let first = graph.apply1("first", relu, &[x]).unwrap();
    let last = graph.apply1("last", relu, &[first]).unwrap();
    let ports = [("a", last), ("b", first), ("c", last), ("d", x)].map(|(name, id)| Port { name, id });
    let nodes = ended(&graph, &ports).unwrap().nodes;
    assert_eq!(calls(&nodes), ["Relu(x)", "Relu(b)", "Identity(a)", "Identity(x)"]);
    let outputs: Vec<&String> = nodes.iter().flat_map(|node| &node.output).collect();
    assert_eq!(outputs, ["b", "a", "c", "d"]);
}
