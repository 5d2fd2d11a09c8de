//! Networks for other tools: ONNX files.
//!
//! A file holds the inference network in f32, fused and with batch norm folded: operators of ONNX's set 17, IR version
//! 8. Its input `input` is `[N, 3, H, W]`, standardised. N is free; H and W are fixed, since the padding of a map
//! depends on its size. [`export`] says what the outputs are.

mod detect;
mod nodes;
mod pools;
mod proto;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use prost::Message;
use rayon::prelude::*;
use serde::Serialize;

use super::{ModelCard, StateDict, timm};
use crate::graph::freeze::{Frozen, freeze};
use crate::graph::{self, Graph, Port, Precision, TensorId};
use crate::models::{self, Head, Input, Layers, Mode, Network, PRESETS};
use crate::reference;
use detect::Detector;
use nodes::Translation;
use proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto};

/// Version of ONNX's operators. ONNX Runtime has read it since release 1.12 (2022), and later versions add nothing that
/// these networks need.
const OPSET: i64 = 17;

/// Version of the file's structure, the one that came with these operators in ONNX 1.12.
const IR_VERSION: i64 = 8;

/// The largest size of a protocol buffer: readers count bytes in a signed 32-bit number.
const MOST_BYTES: usize = i32::MAX as usize;

/// Why a network cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation that ONNX does not have.
    #[error("{node}: {op} has no counterpart in ONNX: only networks for inference can be exported")]
    Operation {
        /// Name of the node.
        node: String,
        /// Kind of operation.
        op: &'static str,
    },
    /// Detections are asked of a network that finds no objects.
    #[error("{}: only a detector has detections to choose, and this network's task is {task}", path.display())]
    NoDetector {
        /// The file of the weights.
        path: PathBuf,
        /// What the network does.
        task: &'static str,
    },
    /// The file would be larger than protocol buffers may be.
    #[error(
        "the file would have {bytes} bytes, and ONNX allows {most} in one: export a narrower or shallower network, or \
         take the weights as .safetensors"
    )]
    TooLarge {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes that it may have.
        most: usize,
    },
    /// A weight is NaN or infinite, or becomes so when batch norm is folded.
    #[error(
        "tensor {tensor} holds {value} once batch norm is folded: the training has diverged, or the file is damaged. \
         Export earlier weights"
    )]
    NotFinite {
        /// Its name in the file.
        tensor: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// The weights are not those of the network.
    #[error(transparent)]
    Weights(#[from] super::Error),
    /// The network cannot be built, for instance because the pictures are too small.
    #[error(transparent)]
    Model(#[from] models::Error),
    /// The network cannot be fused.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// Its weights cannot be folded.
    #[error(transparent)]
    Reference(#[from] reference::Error),
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Height and width of the input, px, each at least 1. `None` is the card's square.
    pub size: Option<[usize; 2]>,
    /// Whether a detector answers with detections instead of all its boxes.
    pub with_nms: bool,
}

/// The bytes of an ONNX file: a card's network with a file's weights. `path` names the file in messages.
///
/// The outputs by the network's task, for N pictures of H x W px and K classes:
///
/// | Task | Outputs |
/// |---|---|
/// | `classify` | `logits` `[N, K]`, before the softmax |
/// | `segment` | `logits` `[N, K, H, W]`, before the softmax |
/// | `depth` | `depth` `[N, 1, H / 2, W / 2]`, metres |
/// | `detect` | `logits` `[N, A, K]`, before the sigmoid; `boxes` `[N, A, 4]` and `anchors` `[A, 4]` |
/// | `detect` with [`Options::with_nms`] | `boxes` `[M, 4]`, `scores` `[M]`, `classes` `[M]`, `pictures` `[M]` |
///
/// A detector's `anchors` are left, top, right and bottom in px of the input, and [`crate::boxes::decode`] turns a row
/// of `boxes` and its anchor into a box. With the choice of detections, `boxes` are such edges of the M detections of
/// all pictures, and `pictures` are indices in the batch, rising; a picture's scores fall. The choice is that of
/// [`crate::boxes::Selection`] with its defaults, torchvision's.
///
/// Weights are named and shaped as in timm (OIHW); a folded batch norm is in those of its convolution, whose bias is
/// then `CONVOLUTION.bias`. The file's metadata says how a picture becomes the input, all numbers and lists as JSON:
/// `res` in pixels (a number, or height and width), `crop_pct` (the share of the resized picture that the central crop
/// keeps), `interpolation` and `crop_mode` (timm's names), `mean` and `std` of red, green and blue on a scale from 0 to
/// 1; besides `task`, `model`, and `classes` where their names are known. The first class of a detector is the
/// background.
///
/// ```no_run
/// use resnet_rs::weights::{StateDict, onnx, timm};
///
/// let path = std::path::Path::new("run/best.safetensors");
/// let weights = StateDict::read(path)?;
/// let card = timm::recognise(path, &weights)?;
/// std::fs::write("best.onnx", onnx::export((path, &weights), &card, &onnx::Options::default())?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the weights are not those of the card's network or hold NaN or infinity, if it cannot be built for pictures of
/// that size, if detections are asked of another network than a detector, or if the file would be larger than 2 GiB.
pub fn export((path, weights): (&Path, &StateDict), card: &ModelCard, options: &Options) -> Result<Vec<u8>, Error> {
    let size = options.size.unwrap_or([card.res as usize; 2]);
    if options.with_nms && !matches!(card.config.head, Head::RetinaNet(_)) {
        return Err(Error::NoDetector { path: path.to_owned(), task: card.config.head.purpose().name() });
    }
    let built = Network::build(&card.config, 1, size, Input::Tensor, Mode::Inference)?;
    let ids = built.output_ids();
    let Network { mut graph, input, outputs, .. } = built;
    let values = timm::values(path, weights, &graph)?;
    graph.retain_ancestors(&ids);
    let frozen = freeze(graph, &ids, Precision::F32)?;
    let folded = reference::fold(&frozen, values)?;
    let (parameters, names) = parameters(&frozen, folded)?;
    let mut network = network(&frozen.graph, names, (input, &outputs), (card, size, options.with_nms))?;
    network.initializer.extend(parameters);
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(network),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(card, size),
    };
    encode(&model, MOST_BYTES)
}

/// The parameters of a frozen network, and their names in the file.
fn parameters(
    Frozen { graph, folding }: &Frozen,
    values: Vec<(String, Vec<f32>)>,
) -> Result<(Vec<TensorProto>, HashMap<TensorId, String>), Error> {
    let names = names(graph, folding);
    let ids: Vec<TensorId> = graph.persistent().collect();
    let parameters = ids.par_iter().zip(values).map(|(&id, (_, values))| {
        if let Some(&value) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::NotFinite { tensor: names[&id].clone(), value });
        }
        Ok(TensorProto::floats(&names[&id], &timm::to_torch(graph.spec(id), &values)))
    });
    Ok((parameters.collect::<Result<_, Error>>()?, names))
}

/// The names of a frozen network's parameters: what is folded is called like the weights and the bias of its
/// convolution. If several batch norms are folded into the same weights, only the first has that name.
fn names(graph: &Graph, folding: &Graph) -> HashMap<TensorId, String> {
    let called = |id: TensorId| (id, graph.tensor(id).name.clone());
    let mut names: HashMap<TensorId, String> = graph.persistent().map(called).collect();
    let mut taken: HashSet<String> = names.values().cloned().collect();
    for node in folding.nodes() {
        let convolution = folding.tensor(node.inputs[0]).name.trim_end_matches(".weight");
        let mut of_parts = ["weight", "bias"].map(|part| format!("{convolution}.{part}"));
        if of_parts.iter().any(|name| taken.contains(name)) {
            of_parts = of_parts.map(|name| format!("{}/{name}", node.name));
        }
        taken.extend(of_parts.iter().cloned());
        names.extend(node.outputs.iter().copied().zip(of_parts));
    }
    names
}

/// The ONNX graph of a network, without its parameters, which have these names.
fn network(
    graph: &Graph,
    mut names: HashMap<TensorId, String>,
    (pictures, ports): (TensorId, &[Port]),
    (card, size, with_nms): (&ModelCard, [usize; 2], bool),
) -> Result<GraphProto, Error> {
    let input = "input";
    names.insert(pictures, input.into());
    let mut translation = Translation::of(graph, names)?;
    let output = match card.config.head {
        Head::RetinaNet(_) => {
            let detector = Detector { ports, classes: card.config.classes, size };
            if with_nms { detector.chosen(&mut translation) } else { detector.raw(&mut translation) }
        }
        head => ports.iter().map(|port| plain_output(&mut translation, graph, port, &head)).collect(),
    };
    let Translation { nodes, constants, .. } = translation;
    Ok(GraphProto {
        name: model_name(&card.config.layers).into(),
        input: vec![ValueInfoProto::batch(input, &[3, size[0], size[1]], "RGB: (value / 255 - mean) / std")],
        output,
        node: nodes,
        initializer: constants,
    })
}

/// Makes a tensor of the network an output.
fn plain_output(translation: &mut Translation<'_>, graph: &Graph, port: &Port, head: &Head) -> ValueInfoProto {
    let (value, [_, h, w, c]) = translation.tensor(port.id);
    translation.output(port.name, &value);
    let item = if graph.spec(port.id).is_map() { vec![c, h, w] } else { vec![c] };
    let doc = if matches!(head, Head::DenseDepth(_)) { "metres" } else { "before the softmax" };
    ValueInfoProto::batch(port.name, &item, doc)
}

/// The first model with these tensors, as `--model` names it; else the family.
fn model_name(layers: &Layers) -> &'static str {
    match (PRESETS.iter().find(|preset| preset.layers.same_tensors(layers)), layers) {
        (Some(preset), _) => preset.name,
        (None, Layers::ResNet(_)) => "resnet",
        (None, Layers::EfficientNet(_)) => "efficientnet",
    }
}

/// What an application needs to prepare the input and to name the classes.
fn metadata(card: &ModelCard, size: [usize; 2]) -> Vec<StringStringEntryProto> {
    let ModelCard { config, res: _, crop_pct, mean, std, interpolation, crop_mode, classes } = card;
    let mut entries = vec![
        ("task", config.head.purpose().name().to_owned()),
        ("model", model_name(&config.layers).to_owned()),
        ("res", if size[0] == size[1] { size[0].to_string() } else { json(&size) }),
        ("crop_pct", crop_pct.to_string()),
        ("interpolation", interpolation.name().to_owned()),
        ("crop_mode", crop_mode.name().to_owned()),
        ("mean", json(mean)),
        ("std", json(std)),
    ];
    if !classes.is_empty() {
        entries.push(("classes", json(classes)));
    }
    entries.into_iter().map(|(key, value)| StringStringEntryProto { key: key.into(), value }).collect()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| unreachable!("a card is plain data: {e}"))
}

fn encode(model: &ModelProto, most: usize) -> Result<Vec<u8>, Error> {
    let bytes = model.encoded_len();
    if bytes > most { Err(Error::TooLarge { bytes, most }) } else { Ok(model.encode_to_vec()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::op::{BatchNormInference, Conv2d, Window};
    use crate::graph::{Activation, Init, Spec};
    use crate::models::{ActivationChoice, Config, Preset, ResNet};

    #[test]
    fn metadata_reads_back_as_json() {
        let config = Preset::find("efficientnet-b0").unwrap().config(2);
        let classes = vec!["cat".to_owned(), "a \"dog\"".to_owned()];
        let entries = metadata(&ModelCard { classes: classes.clone(), ..ModelCard::for_preset_of(config) }, [224; 2]);
        let of = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().value.as_str();
        assert_eq!((of("model"), of("res"), of("crop_pct")), ("efficientnet-b0", "224", "0.875"));
        assert_eq!((of("interpolation"), of("crop_mode")), ("bicubic", "center"));
        assert_eq!((of("mean"), of("std")), ("[0.485,0.456,0.406]", "[0.229,0.224,0.225]"));
        assert_eq!(serde_json::from_str::<Vec<String>>(of("classes")).unwrap(), classes);
        assert_eq!(of("task"), "classify");
        let unnamed = metadata(&ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)), [64, 96]);
        assert!(unnamed.iter().any(|entry| entry.key == "res" && entry.value == "[64,96]"));
        assert!(unnamed.iter().all(|entry| entry.key != "classes"));
    }

    /// The same convolution with a batch norm of its own on each of two maps, and without one.
    #[test]
    fn shared_weights_that_are_folded_twice_have_two_names() {
        let mut graph = Graph::new();
        let weight = graph.parameter("conv.weight".into(), Spec::weights([1, 1, 8, 8]), Init::Constant(0.0)).unwrap();
        let mut outputs = Vec::new();
        for norm in ["norm.a", "norm.b"] {
            let x = graph.input(norm, Spec::channels([1, 4, 4, 8])).unwrap();
            let parts = ["weight", "bias", "running_mean", "running_var"].map(|part| {
                graph.parameter(format!("{norm}.{part}"), Spec::channels([8]), Init::Constant(1.0)).unwrap()
            });
            let y = graph.apply1("conv", Conv2d::new(Window::POINTWISE), &[x, weight]).unwrap();
            let op = BatchNormInference { eps: 1e-5, activation: Activation::Identity };
            outputs.push(graph.apply1(norm, op, &[&[y], &parts[..]].concat()).unwrap());
            if norm == "norm.b" {
                outputs.push(graph.apply1("plain", Conv2d::new(Window::POINTWISE), &[x, weight]).unwrap());
            }
        }
        let mut without = graph.clone();
        without.retain_ancestors(&outputs[..2]);
        let shared = freeze(without, &outputs[..2], Precision::F32).unwrap();
        let of = |frozen: &Frozen| {
            let mut names: Vec<String> = names(&frozen.graph, &frozen.folding).into_values().collect();
            names.sort();
            names
        };
        let expected = ["conv.bias", "conv.weight", "norm.b/conv.bias", "norm.b/conv.weight"];
        assert_eq!(of(&shared), expected);
        // The weights as they are keep their name.
        let all = of(&freeze(graph, &outputs, Precision::F32).unwrap());
        let expected =
            ["conv.weight", "norm.a/conv.bias", "norm.a/conv.weight", "norm.b/conv.bias", "norm.b/conv.weight"];
        assert_eq!(all, expected);
    }

    #[test]
    fn models_are_named_by_their_tensors() {
        let small = ResNet::rs([1, 1, 1, 1], 0.25);
        assert_eq!(model_name(&ResNet { activation: ActivationChoice::Silu, ..small }.into()), "small");
        assert_eq!(model_name(&ResNet { depths: [1, 2, 1, 1], ..small }.into()), "resnet");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let model = ModelProto { producer_name: "x".repeat(100), ..ModelProto::default() };
        assert_eq!(encode(&model, 102).unwrap().len(), 102);
        let refused = encode(&model, 101).unwrap_err().to_string();
        assert!(refused.contains("102 bytes, and ONNX allows 101") && refused.contains(".safetensors"), "{refused}");
    }
}
