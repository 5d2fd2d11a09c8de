//! A network's nodes as ONNX's.
//!
//! A map `[N, H, W, C]` becomes `[N, C, H, W]`, and features `[N, C]` become a map of one pixel, `[N, C, 1, 1]`. So a
//! gate multiplies a map directly, and a linear layer over a 1x1 convolution's weights becomes that convolution; the
//! file holds its weights once. The classifier is the one linear layer with a plain matrix; its result stays `[N, C]`.

use std::collections::HashMap;

use super::Error;
use super::proto::{AttributeProto, NodeProto, TensorProto};
use crate::graph::op::{Epilogue, Filter, Resize, ScaleAdd, ScaledSigmoid, Window};
use crate::graph::{Activation, Graph, Node, Op, TensorId};
use crate::weights::HostTensor;

/// A graph as nodes.
pub(super) struct Translation<'a> {
    graph: &'a Graph,
    /// The name in the file of each tensor so far.
    names: HashMap<TensorId, String>,
    /// The nodes so far.
    pub(super) nodes: Vec<NodeProto>,
    /// Numbers that the nodes need besides the parameters.
    pub(super) constants: Vec<TensorProto>,
    /// Names of the outputs so far.
    outputs: Vec<String>,
}

impl<'a> Translation<'a> {
    /// Translates a graph. `names` are the names of its inputs and parameters in the file.
    ///
    /// # Errors
    /// [`Error::Operation`] for an operation of training or of this program's own algorithms.
    pub(super) fn of(graph: &'a Graph, names: HashMap<TensorId, String>) -> Result<Self, Error> {
        let mut translation = Self { graph, names, nodes: Vec::new(), constants: Vec::new(), outputs: Vec::new() };
        for node in graph.nodes() {
            translation.add(node)?;
        }
        Ok(translation)
    }

    /// The name in the file and the shape of a tensor.
    pub(super) fn tensor(&self, id: TensorId) -> (String, [usize; 4]) {
        (self.names[&id].clone(), self.graph.spec(id).as_map())
    }

    /// Makes a value the output of this name. What is no node's result, or is an output already, is copied.
    pub(super) fn output(&mut self, name: &str, value: &str) {
        let is_result = self.nodes.iter().any(|node| node.output.iter().any(|output| output == value));
        let value = match is_result && !self.outputs.iter().any(|output| output == value) {
            true => value.to_owned(),
            false => self.emit(name, "Identity", &[value], Vec::new()),
        };
        let of_nodes = self.nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        of_nodes
            .chain(self.names.values_mut())
            .filter(|found| **found == value)
            .for_each(|found| name.clone_into(found));
        self.outputs.push(name.to_owned());
    }
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
            Op::AvgPool(op) => self.avg_pool(at, x[0], op, shapes[0]),
            Op::MaxPool(op) => self.max_pool(at, x[0], op, shapes[0]),
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
            | Op::AdamW(_)
            | Op::BiasCorrection(_)
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
        let size = self.ints(at, &op.size);
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
        let floor = self.float(&format!("{at}/floor"), op.floor);
        let scale = self.float(&format!("{at}/scale"), op.scale);
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

    /// A list of whole numbers.
    pub(super) fn ints(&mut self, at: &str, values: &[usize]) -> String {
        self.emit(at, "Constant", &[], vec![AttributeProto::ints("value_ints", values)])
    }

    /// A number.
    pub(super) fn float(&mut self, at: &str, value: f32) -> String {
        self.emit(at, "Constant", &[], vec![AttributeProto::float("value_float", value)])
    }

    /// A tensor that the file holds beside the parameters.
    pub(super) fn constant(&mut self, name: String, shape: &[usize], data: Vec<f32>) -> String {
        self.constants.push(TensorProto::floats(&name, &HostTensor { shape: shape.into(), data }));
        name
    }

    /// Appends a node and returns its result, which has the node's name: where in the network it stands, and the
    /// operator.
    pub(super) fn emit(&mut self, at: &str, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let [result] = self.emit_many(at, op_type, inputs, attribute);
        result
    }

    /// As [`Self::emit`], for an operator with several results.
    pub(super) fn emit_many<const N: usize>(
        &mut self,
        at: &str,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> [String; N] {
        let name = format!("{at}/{op_type}");
        let results = std::array::from_fn(|i| if i == 0 { name.clone() } else { format!("{name}:{i}") });
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: results.to_vec(),
            name,
            op_type: op_type.to_owned(),
            attribute,
        });
        results
    }
}

/// Attributes of a window over a map `[N, H, W, C]`. A dilation of 1 is not written.
pub(super) fn attributes(window: &Window, map: &[usize]) -> Vec<AttributeProto> {
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
mod tests;
