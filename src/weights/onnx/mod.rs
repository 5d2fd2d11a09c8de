//! Networks for other tools: ONNX files.
//!
//! A file holds the inference network in f32, fused and with batch norm folded: operators of ONNX's set 17, IR version
//! 8. Its input `input` is `[N, 3, H, W]`, standardised; its output `logits` is `[N, classes]`. N is free; H and W are
//!    fixed, since the padding of a map depends on its size.

mod nodes;
mod proto;

use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use rayon::prelude::*;
use serde::Serialize;

use super::{ModelCard, StateDict, timm};
use crate::graph::freeze::{Frozen, freeze};
use crate::graph::{self, Port, Precision, TensorId};
use crate::models::{self, Input, Layers, Mode, Network, PRESETS};
use crate::reference;
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

/// The bytes of an ONNX file: a card's network with a file's weights, for pictures of the card's side. `path` names the
/// file in messages.
///
/// Weights are named and shaped as in timm (OIHW); a folded batch norm is in those of its convolution, whose bias is
/// then `CONVOLUTION.bias`. The file's metadata says how a picture becomes the input, all numbers and lists as JSON:
/// `res` in pixels, `crop_pct` (the share of the resized picture that the central crop keeps), `interpolation` and
/// `crop_mode` (timm's names), `mean` and `std` of red, green and blue on a scale from 0 to 1; besides `model`, and
/// `classes` where their names are known.
///
/// ```no_run
/// use resnet_rs::weights::{StateDict, onnx, timm};
///
/// let path = std::path::Path::new("run/best.safetensors");
/// let weights = StateDict::read(path)?;
/// let card = timm::recognise(path, &weights)?;
/// std::fs::write("best.onnx", onnx::export((path, &weights), &card)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the weights are not those of the card's network or hold NaN or infinity, if it cannot be built for pictures of
/// that side, or if the file would be larger than 2 GiB.
pub fn export((path, weights): (&Path, &StateDict), card: &ModelCard) -> Result<Vec<u8>, Error> {
    let size = [card.res as usize; 2];
    let built = Network::build(&card.config, 1, size, Input::Tensor, Mode::Inference)?;
    let ids = built.output_ids();
    let Network { graph, input, outputs, .. } = built;
    let values = timm::values(path, weights, &graph)?;
    let frozen = freeze(graph, &ids, Precision::F32)?;
    let folded = reference::fold(&frozen, values)?;
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(network(&frozen, folded, input, &outputs, card)?),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(card),
    };
    encode(&model, MOST_BYTES)
}

/// The ONNX graph of a network with folded weights.
fn network(
    Frozen { graph, folding }: &Frozen,
    values: Vec<(String, Vec<f32>)>,
    pictures: TensorId,
    outputs: &[Port],
    card: &ModelCard,
) -> Result<GraphProto, Error> {
    let called = |id: TensorId| (id, graph.tensor(id).name.clone());
    let mut names: HashMap<TensorId, String> = graph.persistent().map(called).collect();
    for node in folding.nodes() {
        let convolution = folding.tensor(node.inputs[0]).name.trim_end_matches(".weight");
        let parts = ["weight", "bias"].map(|part| format!("{convolution}.{part}"));
        names.extend(node.outputs.iter().copied().zip(parts));
    }
    let parameters: Vec<TensorId> = graph.persistent().collect();
    let initializer = parameters.par_iter().zip(values).map(|(&id, (_, values))| {
        if let Some(&value) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::NotFinite { tensor: names[&id].clone(), value });
        }
        Ok(TensorProto::floats(&names[&id], &timm::to_torch(graph.spec(id), &values)))
    });
    let initializer = initializer.collect::<Result<_, Error>>()?;

    let input = "input";
    names.insert(pictures, input.into());
    let side = card.res as usize;
    let output = |port: &Port| ValueInfoProto::batch(port.name, &graph.spec(port.id).shape[1..], "before the softmax");
    Ok(GraphProto {
        name: model_name(&card.config.layers).into(),
        input: vec![ValueInfoProto::batch(input, &[3, side, side], "RGB: (value / 255 - mean) / std")],
        output: outputs.iter().map(output).collect(),
        node: nodes::translate(graph, names, outputs)?,
        initializer,
    })
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
fn metadata(card: &ModelCard) -> Vec<StringStringEntryProto> {
    let ModelCard { config, res, crop_pct, mean, std, interpolation, crop_mode, classes } = card;
    let mut entries = vec![
        ("model", model_name(&config.layers).to_owned()),
        ("res", res.to_string()),
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
    use crate::models::{ActivationChoice, Config, Preset, ResNet};

    #[test]
    fn metadata_reads_back_as_json() {
        let config = Preset::find("efficientnet-b0").unwrap().config(2);
        let classes = vec!["cat".to_owned(), "a \"dog\"".to_owned()];
        let entries = metadata(&ModelCard { classes: classes.clone(), ..ModelCard::for_preset_of(config) });
        let of = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().value.as_str();
        assert_eq!((of("model"), of("res"), of("crop_pct")), ("efficientnet-b0", "224", "0.875"));
        assert_eq!((of("interpolation"), of("crop_mode")), ("bicubic", "center"));
        assert_eq!((of("mean"), of("std")), ("[0.485,0.456,0.406]", "[0.229,0.224,0.225]"));
        assert_eq!(serde_json::from_str::<Vec<String>>(of("classes")).unwrap(), classes);
        let unnamed = metadata(&ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)));
        assert!(unnamed.iter().all(|entry| entry.key != "classes"));
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
