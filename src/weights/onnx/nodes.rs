//! A network's nodes as ONNX's.
//!
//! A map `[N, H, W, C]` becomes `[N, C, H, W]`, and features `[N, C]` become a map of one pixel, `[N, C, 1, 1]`. So a
//! gate multiplies a map directly, and a linear layer over a 1x1 convolution's weights becomes that convolution; the
//! file holds its weights once. The classifier is the one linear layer with a plain matrix; its result stays `[N, C]`.

use std::collections::HashMap;

use super::Error;
use super::proto::{AttributeProto, NodeProto};
use crate::graph::op::{Epilogue, Filter, Resize, ScaleAdd, ScaledSigmoid, Window};
use crate::graph::{Activation, Graph, Node, Op, Port, TensorId};

/// Translates a graph to nodes. `names` are the names of its inputs and parameters in the file.
///
/// # Errors
/// [`Error::Operation`] for an operation of training or of this program's own algorithms.
pub(super) fn translate(
    graph: &Graph,
    names: HashMap<TensorId, String>,
    outputs: &[Port],
) -> Result<Vec<NodeProto>, Error> {
    let mut translation = Translation { graph, names, nodes: Vec::new() };
    for node in graph.nodes() {
        translation.add(node)?;
    }
    let Translation { names, mut nodes, .. } = translation;
    for value in nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if let Some(port) = outputs.iter().find(|port| *value == names[&port.id]) {
            port.name.clone_into(value);
        }
    }
    Ok(nodes)
}

struct Translation<'a> {
    graph: &'a Graph,
    /// The name in the file of each tensor so far.
    names: HashMap<TensorId, String>,
    nodes: Vec<NodeProto>,
}

impl Translation<'_> {
    fn add(&mut self, node: &Node) -> Result<(), Error> {
        let at = node.name.as_str();
        let inputs: Vec<String> = node.inputs.iter().map(|id| self.names[id].clone()).collect();
        let x: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|&id| self.graph.spec(id).shape.as_slice()).collect();
        let result = match &node.op {
            Op::Conv2d(op) => {
                let (operands, parts) = x.split_at(2 + usize::from(op.epilogue.bias));
                let sum = self.emit(at, "Conv", operands, attributes(&op.window, shapes[0]));
                self.join(at, sum, Epilogue { bias: false, ..op.epilogue }, parts)
            }
            Op::DepthwiseConv2d(op) => {
                let mut attributes = attributes(&op.window, shapes[0]);
                attributes.push(AttributeProto::int("group", shapes[1][2]));
                let sum = self.emit(at, "Conv", &x, attributes);
                self.activate(at, sum, op.activation)
            }
            Op::Linear(op) => {
                let sum = if shapes[1].len() == 4 {
                    self.emit(at, "Conv", &x, vec![AttributeProto::ints("kernel_shape", &[1, 1])])
                } else {
                    let rows = self.emit(at, "Flatten", &x[..1], Vec::new());
                    self.emit(at, "Gemm", &[&rows, x[1], x[2]], vec![AttributeProto::int("transB", 1)])
                };
                self.activate(at, sum, op.activation)
            }
            Op::BatchNormInference(op) => {
                let y = self.emit(at, "BatchNormalization", &x, vec![AttributeProto::float("epsilon", op.eps)]);
                self.activate(at, y, op.activation)
            }
            Op::ScaleAdd(op) => {
                let ScaleAdd { gate, shortcut, activation } = *op;
                self.join(at, inputs[0].clone(), Epilogue { bias: false, gate, shortcut, activation }, &x[1..])
            }
            Op::GlobalAvgPool(_) => self.emit(at, "GlobalAveragePool", &x, Vec::new()),
            // Padding after an odd map, which the mean does not count, makes the last window average what it covers.
            // `ceil_mode` means the same, but runtimes interpret it differently. Operator set 17 has no dilation here.
            Op::AvgPool(op) if op.window.dilation == [1; 2] => {
                let mut attributes = attributes(&op.window, shapes[0]);
                attributes.push(AttributeProto::int("count_include_pad", usize::from(op.zeros_count)));
                self.emit(at, "AveragePool", &x, attributes)
            }
            Op::MaxPool(op) => self.emit(at, "MaxPool", &x, attributes(&op.window, shapes[0])),
            Op::Concat(_) => self.emit(at, "Concat", &x, vec![AttributeProto::int("axis", 1)]),
            Op::Argmax(_) => {
                let axes = vec![AttributeProto::int("axis", 1), AttributeProto::int("keepdims", 0)];
                self.emit(at, "ArgMax", &x, axes)
            }
            Op::Resize(op) => self.resize(at, x[0], op),
            Op::ScaledSigmoid(op) => self.scaled_sigmoid(at, x[0], op),
            // Operations of training, or of this program's own algorithms.
            Op::Standardize(_)
            | Op::Conv2dInputGrad(_)
            | Op::Conv2dWeightGrad(_)
            | Op::DepthwiseInputGrad(_)
            | Op::DepthwiseWeightGrad(_)
            | Op::WinogradWeights(_)
            | Op::WinogradInput(_)
            | Op::WinogradProduct(_)
            | Op::WinogradOutput(_)
            | Op::BatchNorm(_)
            | Op::BatchNormGrad(_)
            | Op::BiasGrad(_)
            | Op::Normalize(_)
            | Op::FoldBatchNorm(_)
            | Op::ScaleAddGrad(_)
            | Op::GlobalAvgPoolGrad(_)
            | Op::AvgPool(_)
            | Op::AvgPoolGrad(_)
            | Op::MaxPoolGrad(_)
            | Op::ResizeGrad(_)
            | Op::SliceChannels(_)
            | Op::LinearInputGrad(_)
            | Op::LinearWeightGrad(_)
            | Op::ActivationGrad(_)
            | Op::Dropout(_)
            | Op::Fill(_)
            | Op::SoftmaxCrossEntropy(_)
            | Op::SoftmaxCrossEntropyGrad(_)
            | Op::PixelCrossEntropy(_)
            | Op::PixelCrossEntropyGrad(_)
            | Op::Confusion(_)
            | Op::FocalLoss(_)
            | Op::FocalLossGrad(_)
            | Op::BoxLoss(_)
            | Op::BoxLossGrad(_)
            | Op::DepthLoss(_)
            | Op::DepthLossGrad(_)
            | Op::ScaledSigmoidGrad(_)
            | Op::SgdMomentum(_)
            | Op::Accumulate(_)
            | Op::MovingAverage(_)
            | Op::SquaredNorm(_)
            | Op::GradientScale(_)
            | Op::Unscale(_)
            | Op::AdaptLossScale(_) => {
                return Err(Error::Operation { node: at.to_owned(), op: node.op.rule().name() });
            }
        };
        self.names.insert(node.outputs[0], result);
        Ok(())
    }

    /// `activation(value * gate + shortcut)`, with the terms that the epilogue names. The bias is added already.
    fn join(&mut self, at: &str, mut value: String, epilogue: Epilogue, parts: &[&str]) -> String {
        let [_, gate, shortcut] = epilogue.operands(parts);
        if let Some(gate) = gate {
            value = self.emit(&format!("{at}/gate"), "Mul", &[&value, gate], Vec::new());
        }
        if let Some(shortcut) = shortcut {
            value = self.emit(&format!("{at}/shortcut"), "Add", &[&value, shortcut], Vec::new());
        }
        self.activate(at, value, epilogue.activation)
    }

    /// ONNX takes all sizes of the result at once, and the number of pictures is only known when the file runs.
    fn resize(&mut self, at: &str, x: &str, op: &Resize) -> String {
        let size = self.emit(at, "Constant", &[], vec![AttributeProto::ints("value_ints", &op.size)]);
        let [start, end] = [("start", 0), ("end", 2)].map(|(name, axis)| AttributeProto::int(name, axis));
        let kept = self.emit(at, "Shape", &[x], vec![start, end]);
        let sizes = self.emit(at, "Concat", &[&kept, &size], vec![AttributeProto::int("axis", 0)]);
        let [mode, position] = match op.filter {
            Filter::Nearest => ["nearest", "asymmetric"],
            Filter::Bilinear => ["linear", "half_pixel"],
        };
        let attributes = [("mode", mode), ("coordinate_transformation_mode", position), ("nearest_mode", "floor")];
        let attributes = attributes.map(|(name, value)| AttributeProto::text(name, value));
        self.emit(at, "Resize", &[x, "", "", &sizes], attributes.to_vec())
    }

    fn scaled_sigmoid(&mut self, at: &str, x: &str, op: &ScaledSigmoid) -> String {
        let share = self.emit(at, "Sigmoid", &[x], Vec::new());
        let [floor, scale] = [("floor", op.floor), ("scale", op.scale)].map(|(name, number)| {
            let value = vec![AttributeProto::float("value_float", number)];
            self.emit(&format!("{at}/{name}"), "Constant", &[], value)
        });
        let kept = self.emit(at, "Clip", &[&share, &floor], Vec::new());
        self.emit(at, "Mul", &[&kept, &scale], Vec::new())
    }

    fn activate(&mut self, at: &str, value: String, activation: Activation) -> String {
        let at = format!("{at}/act");
        match activation {
            Activation::Identity => value,
            Activation::Relu => self.emit(&at, "Relu", &[&value], Vec::new()),
            Activation::Sigmoid => self.emit(&at, "Sigmoid", &[&value], Vec::new()),
            Activation::Silu => {
                let share = self.emit(&at, "Sigmoid", &[&value], Vec::new());
                self.emit(&at, "Mul", &[&value, &share], Vec::new())
            }
        }
    }

    /// Appends a node and returns its result, which has the node's name: where in the network it stands, and the
    /// operator.
    fn emit(&mut self, at: &str, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("{at}/{op_type}");
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute,
        });
        name
    }
}

/// Attributes of a window over a map `[N, H, W, C]`. A dilation of 1 is not written.
fn attributes(window: &Window, map: &[usize]) -> Vec<AttributeProto> {
    let [[top, bottom], [left, right]] = window.zeros([map[1], map[2]]);
    let mut attributes = vec![
        AttributeProto::ints("kernel_shape", &window.kernel),
        AttributeProto::ints("strides", &window.stride),
        AttributeProto::ints("pads", &[top, left, bottom, right]),
    ];
    if window.dilation != [1; 2] {
        attributes.push(AttributeProto::ints("dilations", &window.dilation));
    }
    attributes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::graph::freeze::freeze;
    use crate::graph::op::{AvgPool, BatchNormInference, Conv2d, DepthwiseConv2d, Fill, MaxPool, Padding};
    use crate::graph::{Init, Precision, Spec};
    use crate::models::{ActivationChoice, Config, Input, Mode, Network, PRESETS, ResNet, Stem, StemDownsampling};

    /// The nodes of a network, without weights.
    fn nodes_of(config: &Config) -> Vec<NodeProto> {
        let network = Network::build(config, 1, [65; 2], Input::Tensor, Mode::Inference).unwrap();
        let outputs = network.outputs.clone();
        let graph = freeze(network.graph.clone(), &network.output_ids(), Precision::F32).unwrap().graph;
        translate(&graph, called(&graph), &outputs).unwrap()
    }

    /// Inputs and parameters by their own names.
    fn called(graph: &Graph) -> HashMap<TensorId, String> {
        let of_nodes = graph.producers();
        let outside = graph.ids().filter(|id| !of_nodes.contains_key(id));
        outside.map(|id| (id, graph.tensor(id).name.clone())).collect()
    }

    /// A graph of one operation over maps of 7 x 6 pixels and 8 channels and parameters of these shapes, named p0, p1,
    /// ..
    fn one(op: impl Into<Op>, maps: usize, parameters: &[Spec]) -> Result<Vec<NodeProto>, Error> {
        let mut graph = Graph::new();
        let map = |i: usize| graph.input(&format!("x{i}"), Spec::channels([1, 7, 6, 8])).unwrap();
        let mut inputs: Vec<TensorId> = (0..maps).map(map).collect();
        for (i, spec) in parameters.iter().enumerate() {
            inputs.insert(1 + i, graph.parameter(format!("p{i}"), spec.clone(), Init::Constant(0.0)).unwrap());
        }
        let output = graph.apply1("at", op, &inputs).unwrap();
        translate(&graph, called(&graph), &[Port { name: "y", id: output }])
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
        let window = Window { dilation: [2; 2], ..Window::square(2, 1, 0) };
        let refused = one(AvgPool::new(window), 1, &[]).unwrap_err().to_string();
        assert!(refused.contains("at: avg_pool has no counterpart in ONNX"), "{refused}");
    }
}
