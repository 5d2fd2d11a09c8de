//! Reads ONNX files as another program would: by the wire format of protocol buffers and the field numbers of
//! `onnx.proto`, not by the structs that wrote them. `python/tests/test_onnx.py` compares the results of a runtime with
//! the golden files.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "common/synth.rs"]
mod synth;

use std::collections::BTreeMap;
use std::path::Path;

use resnet_rs::Precision;
use resnet_rs::graph::freeze::freeze;
use resnet_rs::graph::{Graph, TensorId};
use resnet_rs::models::{
    ActivationChoice, Config, DeepLabV3, DeepLabV3Plus, DenseDepth, Fcn, Head, Input, Mode, Network, Preset, ResNet,
    RetinaNet, Shortcut, StemDownsampling, UNet,
};
use resnet_rs::reference::fold;
use resnet_rs::weights::{HostTensor, ModelCard, StateDict, onnx, timm};

/// A message: its fields in the file's order, by number.
struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Seven bits per byte, lowest first; the eighth bit marks that more bytes follow.
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

impl<'a> Message<'a> {
    fn parse(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let field = match (key & 7, varint(&mut bytes)) {
                (0, number) => Field::Number(number),
                (2, length) => Field::Bytes(bytes.split_off(..length as usize).unwrap()),
                (wire, _) => panic!("field {} is of wire type {wire}, which no network here has", key >> 3),
            };
            fields.push((key >> 3, field));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = Field<'a>> + '_ {
        self.0.iter().filter(move |(n, _)| *n == number).map(|(_, field)| *field)
    }

    fn numbers(&self, number: u64) -> Vec<u64> {
        self.all(number)
            .map(|field| match field {
                Field::Number(n) => n,
                Field::Bytes(_) => panic!("field {number} is no number"),
            })
            .collect()
    }

    fn bytes(&self, number: u64) -> Vec<&'a [u8]> {
        self.all(number)
            .map(|field| match field {
                Field::Bytes(bytes) => bytes,
                Field::Number(_) => panic!("field {number} is a number"),
            })
            .collect()
    }

    fn texts(&self, number: u64) -> Vec<&'a str> {
        self.bytes(number).into_iter().map(|bytes| str::from_utf8(bytes).unwrap()).collect()
    }

    fn messages(&self, number: u64) -> Vec<Self> {
        self.bytes(number).into_iter().map(Self::parse).collect()
    }

    /// The only message with this field number.
    fn message(&self, number: u64) -> Self {
        let [bytes] = self.bytes(number)[..] else { panic!("not one field {number}") };
        Self::parse(bytes)
    }
}

/// A network's weights, derived from their names, and its card.
fn weights(config: &Config, res: u32) -> (StateDict, ModelCard) {
    let graph = graph(config, 64).0;
    let tensor = |name: &str, shape: Vec<usize>| HostTensor { data: synth::fill(name, &shape, 1, 0.2), shape };
    let tensors = graph.persistent().map(|id| graph.tensor(id));
    let tensors = tensors.map(|t| (t.name.clone(), tensor(&t.name, timm::torch_shape(&t.spec)))).collect();
    let classes = (0..config.classes).map(|class| format!("class {class}")).collect();
    let card = ModelCard { res, classes, ..ModelCard::for_preset_of(config.clone()) };
    (StateDict { tensors, metadata: card.to_metadata() }, card)
}

fn graph(config: &Config, side: usize) -> (Graph, TensorId) {
    let network = Network::build(config, 1, [side; 2], Input::Tensor, Mode::Inference).unwrap();
    let first = network.outputs[0].id;
    (network.graph, first)
}

fn small() -> Config {
    Config::resnet_rs([1, 1, 1, 1], 0.25, 10)
}

/// Name and dimensions (numbers or names) of an input or output.
fn value_info(info: &Message<'_>) -> (String, Vec<String>) {
    let tensor = info.message(2).message(1);
    let is_index = ["classes", "pictures"].contains(&info.texts(1)[0]);
    assert_eq!(tensor.numbers(1), [if is_index { 7 } else { 1 }], "i64 or f32");
    let dimension = |d: Message<'_>| d.numbers(1).first().map_or_else(|| d.texts(2)[0].to_owned(), u64::to_string);
    (info.texts(1)[0].to_owned(), tensor.message(2).messages(1).into_iter().map(dimension).collect())
}

#[test]
fn a_file_says_what_it_is() {
    let (weights, card) = weights(&small(), 40);
    let file = onnx::export((Path::new("w"), &weights), &card, &onnx::Options::default()).unwrap();
    let model = Message::parse(&file);
    assert_eq!(model.numbers(1), [8], "IR version");
    assert_eq!((model.texts(2), model.texts(3)), (vec!["resnet-rs"], vec![env!("CARGO_PKG_VERSION")]));
    assert_eq!(model.message(8).numbers(2), [17], "operator set");
    assert!(model.message(8).texts(1).is_empty(), "ONNX's own operators");
    let metadata =
        model.messages(14).into_iter().map(|entry| (entry.texts(1)[0], entry.texts(2)[0])).collect::<BTreeMap<_, _>>();
    assert_eq!((metadata["model"], metadata["res"], metadata["crop_pct"]), ("small", "40", "1"));
    assert_eq!(serde_json::from_str::<Vec<String>>(metadata["classes"]).unwrap(), card.classes);
    for (key, of_card) in [("mean", card.mean), ("std", card.std)] {
        assert_eq!(serde_json::from_str::<[f32; 3]>(metadata[key]).unwrap(), of_card);
    }
    let graph = model.message(7);
    assert_eq!(graph.texts(2), ["small"]);
    assert_eq!(value_info(&graph.message(11)), ("input".into(), ["N", "3", "40", "40"].map(String::from).into()));
    assert_eq!(value_info(&graph.message(12)), ("logits".into(), ["N", "10"].map(String::from).into()));
}

/// Every tensor is that of the folded network, under the name of its convolution, and no batch norm is left.
#[test]
fn a_file_holds_the_folded_weights() {
    let (weights, card) = weights(&Preset::find("efficientnet-b0").unwrap().config(10), 64);
    let file = onnx::export((Path::new("w"), &weights), &card, &onnx::Options::default()).unwrap();
    let network = Message::parse(&file).message(7);

    let (graph, logits) = graph(&card.config, 64);
    let values = timm::values(Path::new("w"), &weights, &graph).unwrap();
    let frozen = freeze(graph, &[logits], Precision::F32).unwrap();
    let folded: BTreeMap<String, Vec<f32>> = fold(&frozen, values).unwrap().into_iter().collect();
    let mut want = BTreeMap::new();
    for id in frozen.graph.persistent() {
        let tensor = frozen.graph.tensor(id);
        want.insert(tensor.name.clone(), timm::to_torch(&tensor.spec, &folded[&tensor.name]));
    }
    for node in frozen.folding.nodes() {
        let convolution = frozen.folding.tensor(node.inputs[0]).name.strip_suffix(".weight").unwrap().to_owned();
        for (id, part) in node.outputs.iter().zip(["weight", "bias"]) {
            let tensor = want.remove(&frozen.folding.tensor(*id).name).unwrap();
            want.insert(format!("{convolution}.{part}"), tensor);
        }
    }

    let initializers = network.messages(5);
    assert_eq!(initializers.len(), want.len());
    for tensor in initializers {
        let name = tensor.texts(8)[0];
        let want = want.remove(name).unwrap_or_else(|| panic!("{name} is there twice, or belongs to nothing"));
        let shape: Vec<usize> = tensor.numbers(1).into_iter().map(|n| n as usize).collect();
        assert_eq!((tensor.numbers(2), shape), (vec![1], want.shape), "{name}");
        let raw = tensor.bytes(9)[0].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        assert!(raw.eq(want.data), "{name}");
    }
    let depthwise = "blocks.1.0.conv_dw.weight";
    let theirs = network.messages(5).into_iter().find(|tensor| tensor.texts(8) == [depthwise]).unwrap();
    assert_eq!(theirs.numbers(1), [96, 1, 3, 3], "[C, 1, KH, KW]");
}

/// Operators of a file, with their counts.
fn operators(file: &[u8]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for node in Message::parse(file).message(7).messages(1) {
        *counts.entry(node.texts(4)[0].to_owned()).or_default() += 1;
    }
    counts
}

/// Asserts that a file's nodes read only its input, its tensors, and results of earlier nodes, that each name is
/// written once, that everything is read, and that the file's outputs are these.
fn assert_sound(what: &str, file: &[u8], outputs: &[&str]) {
    let model = Message::parse(file);
    let graph = model.message(7);
    let tensors = graph.messages(5);
    let mut known: Vec<&str> = Vec::from(["input"]);
    for name in tensors.iter().map(|tensor| tensor.texts(8)[0]) {
        assert!(!known.contains(&name), "{what}: two tensors are named {name}");
        known.push(name);
    }
    let mut read = Vec::new();
    for node in graph.messages(1) {
        for name in node.texts(1).into_iter().filter(|name| !name.is_empty()) {
            assert!(known.contains(&name), "{what}: {:?} reads {name}", node.texts(3));
            read.push(name);
        }
        for name in node.texts(2) {
            assert!(!known.contains(&name), "{what}: {name} is written twice");
            known.push(name);
        }
    }
    let described: Vec<String> = graph.messages(12).iter().map(|info| info.texts(1)[0].to_owned()).collect();
    assert_eq!(described, outputs, "{what}");
    assert!(outputs.iter().all(|name| known.contains(name)), "{what}: {known:?}");
    let unread = known.iter().find(|name| !outputs.contains(name) && !read.contains(name));
    assert_eq!(unread, None, "{what}");
}

/// A network of each family, and every switch that changes its operations.
#[test]
fn every_family_is_exported() {
    let base = ResNet::rs([1, 1, 1, 1], 0.25);
    let narrow = |mut layers: ResNet| {
        (layers.depths, layers.width) = (base.depths, base.width);
        Config::new(layers, 10)
    };
    let cases = [
        ("ResNet-RS", narrow(base)),
        ("ResNet", narrow(ResNet::plain([3, 4, 6, 3]))),
        ("ResNet-D", narrow(ResNet::d([3, 4, 6, 3]))),
        ("SE-ResNet", narrow(ResNet::se([3, 4, 6, 3]))),
        ("SiLU", narrow(ResNet { activation: ActivationChoice::Silu, ..base })),
        ("first block", narrow(ResNet { stem_downsampling: StemDownsampling::FirstBlock, ..base })),
        ("strided shortcut", narrow(ResNet { shortcut: Shortcut::Strided, se_ratio: 0.0, ..base })),
        ("EfficientNet", Preset::find("efficientnet-b0").unwrap().config(10)),
    ];
    for (what, config) in cases {
        let (weights, card) = weights(&config, 33);
        let file = onnx::export((Path::new("w"), &weights), &card, &onnx::Options::default()).unwrap();
        assert_sound(what, &file, &["logits"]);
        let operators = operators(&file);
        let has = |operator: &str| operators.contains_key(operator);
        assert_eq!(has("MaxPool"), what.ends_with("ResNet") || what == "ResNet-D", "{what}: {operators:?}");
        assert_eq!(
            has("Sigmoid"),
            !["ResNet", "ResNet-D", "strided shortcut"].contains(&what),
            "{what}: {operators:?}"
        );
        assert!(!has("BatchNormalization") && operators["Gemm"] == 1, "{what}: {operators:?}");
    }
}

/// Name and dimensions of each output of a file.
fn outputs(file: &[u8]) -> Vec<(String, String)> {
    let outputs = Message::parse(file).message(7).messages(12);
    outputs.iter().map(value_info).map(|(name, sides)| (name, sides.join(" "))).collect()
}

/// Each head of a small network, for pictures of 64 x 96 px: cells of 8 x 12, 4 x 6, 2 x 3, 1 x 2 and 1 x 1.
#[test]
fn every_head_is_exported() {
    let anchors = 9 * (96 + 24 + 6 + 2 + 1);
    let boxes = format!("N {anchors} 4");
    let detector = [("logits", &*format!("N {anchors} 7")), ("boxes", &boxes), ("anchors", &boxes[2..])];
    let detections = [("boxes", "M 4"), ("scores", "M"), ("classes", "M"), ("pictures", "M")];
    let retinanet = Head::RetinaNet(RetinaNet { channels: 16 });
    let deeplab = Head::DeepLabV3(DeepLabV3 { channels: 16, auxiliary: true });
    let plus = Head::DeepLabV3Plus(DeepLabV3Plus { channels: 16 });
    let unet = Head::UNet(UNet { widths: [32, 16, 16, 8, 8] });
    let depth = Head::DenseDepth(DenseDepth { widths: [32, 16, 16, 8, 8], max_m: 10.0 });
    let cases = [
        (retinanet, 7, false, "detect", &detector[..]),
        (retinanet, 7, true, "detect", &detections),
        (deeplab, 7, false, "segment", &[("logits", "N 7 64 96")]),
        (plus, 7, false, "segment", &[("logits", "N 7 64 96")]),
        (unet, 7, false, "segment", &[("logits", "N 7 64 96")]),
        (Head::Fcn(Fcn { auxiliary: true }), 7, false, "segment", &[("logits", "N 7 64 96")]),
        (depth, 1, false, "depth", &[("depth", "N 1 32 48")]),
    ];
    for (head, classes, with_nms, task, expected) in cases {
        let what = format!("{head:?}, with_nms {with_nms}");
        let (weights, card) = weights(&Config { head, classes, ..small() }, 64);
        let options = onnx::Options { size: Some([64, 96]), with_nms };
        let file = onnx::export((Path::new("w"), &weights), &card, &options).unwrap();
        let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        assert_sound(&what, &file, &names);
        let expected: Vec<(String, String)> = expected.iter().map(|(n, s)| ((*n).into(), (*s).into())).collect();
        assert_eq!(outputs(&file), expected, "{what}");

        let model = Message::parse(&file);
        let entries = model.messages(14);
        let of = |key: &str| entries.iter().find(|entry| entry.texts(1) == [key]).unwrap().texts(2)[0];
        assert_eq!((of("task"), of("res")), (task, "[64,96]"), "{what}");
        assert_eq!(serde_json::from_str::<Vec<String>>(of("classes")).unwrap(), card.classes, "{what}");
        let tensors = model.message(7).messages(5);
        let is_of = |part: &str| tensors.iter().filter(|tensor| tensor.texts(8)[0].starts_with(part)).count();
        assert_eq!(is_of("aux_classifier."), 0, "{what}: only training reads the auxiliary head");
        // The levels share two subnetworks of five layers.
        assert_eq!(is_of("head."), if head == retinanet { 20 } else { 0 }, "{what}");
    }
    let (weights, card) = weights(&small(), 64);
    let options = onnx::Options { with_nms: true, ..onnx::Options::default() };
    let refused = onnx::export((Path::new("w"), &weights), &card, &options).unwrap_err().to_string();
    assert!(refused.contains("only a detector") && refused.contains("classify"), "{refused}");
}

#[test]
fn what_is_no_number_is_refused_by_name() {
    let (mut weights, card) = weights(&small(), 32);
    let variances = weights.tensors.get_mut("layer2.0.bn2.running_var").unwrap();
    variances.data[3] = -1.0;
    let refused = onnx::export((Path::new("w"), &weights), &card, &onnx::Options::default()).unwrap_err().to_string();
    assert!(refused.contains("layer2.0.conv2.weight holds NaN") && refused.contains("diverged"), "{refused}");
}
