//! `config.json`, by which timm describes the weights beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, ModelCard, StateDict, Told, heads, timm};
use crate::data::{CropMode, Interpolation};
use crate::files;
use crate::models::{Layers, Preset};

/// Arguments of timm's networks that change nothing in their answers to three colours.
const HARMLESS_ARGUMENTS: [&str; 6] =
    ["drop_block_rate", "drop_path_rate", "drop_rate", "in_chans", "num_classes", "zero_init_last"];

/// The fields of `config.json` that are used.
#[derive(Deserialize)]
struct Description {
    #[serde(skip)]
    path: PathBuf,
    architecture: Option<String>,
    model_args: Option<Map<String, Value>>,
    num_classes: Option<usize>,
    #[serde(alias = "labels")]
    label_names: Option<Texts>,
    label_descriptions: Option<Texts>,
    pretrained_cfg: Option<Pretrained>,
    /// timm before 0.9 had all of its fields at the top level.
    #[serde(flatten)]
    top: Pretrained,
}

/// How the network was trained.
#[derive(Default, Deserialize)]
struct Pretrained {
    /// Channels, height, width.
    input_size: Option<[u32; 3]>,
    crop_pct: Option<f64>,
    interpolation: Option<Interpolation>,
    crop_mode: Option<CropMode>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    label_names: Option<Texts>,
    label_descriptions: Option<Texts>,
}

/// Texts for classes: a list in order, or a map by the class's number or name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// The network of a file's tensors, and how its pictures are prepared: from the card that this program writes into its
/// files, else from the tensors and timm's description beside them, else from the tensors alone.
pub(super) fn card(path: &Path, weights: &StateDict, told: Told) -> Result<ModelCard, Error> {
    if let Some(own) = ModelCard::from_metadata(path, &weights.metadata)? {
        return Ok(own);
    }
    let card = described(path, weights, told)?;
    if !told.classes && heads::are_vocs(&card.classes) {
        log::warn!(
            "{}: its classes have no names; VOC's are assumed. For others, give predict --labels",
            path.display()
        );
    }
    Ok(card)
}

fn described(path: &Path, weights: &StateDict, told: Told) -> Result<ModelCard, Error> {
    let Some(description) = Description::beside(path)? else {
        return timm::recognise_as(path, weights, told);
    };
    let described = Told { architecture: told.architecture || description.architecture.is_some(), ..told };
    let card = timm::recognise_as(path, weights, described)?;
    if !told.architecture {
        description.check_architecture(&card)?;
    }
    description.complete(card)
}

impl Description {
    /// Reads the `config.json` beside the weights; `None` if there is none or it describes something else.
    fn beside(weights: &Path) -> Result<Option<Self>, Error> {
        let path = weights.with_file_name("config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let wrong = |e: serde_json::Error| Error::Description {
            path: path.clone(),
            problem: format!("it cannot be understood: {e}"),
        };
        let json: Map<String, Value> = serde_json::from_str(&files::read_text(&path)?).map_err(wrong)?;
        let is_timms = json.get("architecture").is_some_and(Value::is_string) || json.contains_key("pretrained_cfg");
        if !is_timms {
            log::warn!("{} is not timm's description of weights, and is not used", path.display());
            return Ok(None);
        }
        let description: Self = serde_json::from_value(json.into()).map_err(wrong)?;
        Ok(Some(Self { path, ..description }))
    }

    /// Fails unless the architecture computes what the tensors suggest.
    fn check_architecture(&self, card: &ModelCard) -> Result<(), Error> {
        let Some(architecture) = self.architecture.clone() else { return Ok(()) };
        let layers = &card.config.layers;
        let changed = |(key, _): &(&String, &Value)| !HARMLESS_ARGUMENTS.contains(&key.as_str());
        let argument = self.model_args.iter().flatten().find(changed).map(|(key, value)| format!("{key} = {value}"));
        match (Preset::of_timm(&architecture), argument) {
            (Some(preset), None) if preset.layers.same_tensors(layers) => Ok(()),
            (Some(_), None) => {
                Err(self.wrong(format!("it describes a {architecture}, and the weights are those of another network")))
            }
            (None, None) if timm::tensors_tell(&architecture) => Ok(()),
            (_, argument) => {
                Err(self.unknown(argument.map_or(architecture.clone(), |a| format!("{architecture}, {a}")), layers))
            }
        }
    }

    /// The error for an unknown architecture whose tensors look like these layers.
    fn unknown(&self, architecture: String, layers: &Layers) -> Error {
        let (like, advice) = match Preset::matching(layers) {
            Some(preset) => {
                let (ours, timms) = (preset.name, preset.timm_name());
                let insist = format!("write {timms} as the architecture in this file, or give predict --model {ours}");
                (timms.clone(), format!("Take weights of {timms}; if these are, {insist}"))
            }
            None => {
                let advice = "If the tensors determine the network, copy the weights to a folder without this file";
                ("a ResNet".to_owned(), advice.to_owned())
            }
        };
        Error::Architecture { path: self.path.clone(), architecture, like, advice }
    }

    /// Completes the card with what the tensors leave open.
    fn complete(self, card: ModelCard) -> Result<ModelCard, Error> {
        let classes = card.config.classes;
        if self.num_classes.is_some_and(|n| n != classes) {
            return Err(self.wrong(format!("its num_classes is not the {classes} of the weights")));
        }
        let trained = self.pretrained_cfg.as_ref().unwrap_or(&self.top);
        let res = match trained.input_size {
            None => card.res,
            Some([3, height, width]) if height == width => height,
            Some(size) => return Err(self.wrong(format!("its input_size is {size:?}, not 3 colours of a square"))),
        };
        let names = self.label_names.as_ref().or(trained.label_names.as_ref());
        let descriptions = self.label_descriptions.as_ref().or(trained.label_descriptions.as_ref());
        let card = ModelCard {
            res,
            crop_pct: trained.crop_pct.unwrap_or(card.crop_pct),
            mean: trained.mean.unwrap_or(card.mean),
            std: trained.std.unwrap_or(card.std),
            interpolation: trained.interpolation.unwrap_or_default(),
            crop_mode: trained.crop_mode.unwrap_or_default(),
            classes: class_names(classes, names, descriptions).unwrap_or(card.classes),
            config: card.config,
        };
        card.check().map_err(|problem| self.wrong(format!("it has {problem}")))?;
        Ok(card)
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Description { path: self.path.clone(), problem }
    }
}

/// Names of the classes: their descriptions if there are any, since names may be WordNet's numbers.
fn class_names(count: usize, names: Option<&Texts>, descriptions: Option<&Texts>) -> Option<Vec<String>> {
    let numbers = || (0..count).map(|class| class.to_string());
    let text = |texts: &BTreeMap<String, String>, key: String| texts.get(&key).cloned().unwrap_or(key);
    let names = match names {
        Some(Texts::List(names)) => Some(names.clone()),
        Some(Texts::Map(names)) => Some(numbers().map(|number| text(names, number)).collect()),
        None => None,
    };
    match (descriptions, names) {
        (Some(Texts::List(descriptions)), _) => Some(descriptions.clone()),
        (Some(Texts::Map(texts)), Some(names)) => Some(names.into_iter().map(|name| text(texts, name)).collect()),
        (Some(Texts::Map(texts)), None) if numbers().all(|number| texts.contains_key(&number)) => {
            Some(numbers().map(|number| text(texts, number)).collect())
        }
        (_, names) => names,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::models::{Config, Input, Mode, Network, ResNet};
    use crate::weights::HostTensor;

    /// The card of a network's weights beside a config.json, or what is wrong with it.
    fn described_as(config: &Config, json: &Value, architecture: bool) -> Result<ModelCard, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
        let told = Told { architecture, ..Told::default() };
        card(&folder.path().join("w.safetensors"), &weights(config), told).map_err(|e| e.to_string())
    }

    fn weights(config: &Config) -> StateDict {
        let graph = Network::build(config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
        let tensor =
            |t: &crate::graph::Tensor| (t.name.clone(), HostTensor { shape: timm::torch_shape(&t.spec), data: vec![] });
        let tensors = graph.persistent().map(|id| tensor(graph.tensor(id))).collect();
        StateDict { tensors, ..StateDict::default() }
    }

    fn preset(name: &str, classes: usize) -> Config {
        Preset::find(name).unwrap().config(classes)
    }

    /// The card if a description is accepted for that preset's weights.
    fn accepts(model: &str, json: &Value) -> Result<ModelCard, String> {
        described_as(&preset(model, 2), json, false)
    }

    #[test]
    fn all_versions_of_timm_are_read() {
        let how = json!({
            "input_size": [3, 96, 96], "crop_pct": 0.95, "interpolation": "bilinear", "crop_mode": "squash",
            "mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 1], "num_classes": 1000, "first_conv": "conv1",
        });
        let nested =
            json!({ "architecture": "resnet50", "num_classes": 2, "num_features": 2048, "pretrained_cfg": how });
        let mut old = how.as_object().unwrap().clone();
        old.extend([("architecture".to_owned(), json!("gluon_resnet50_v1b")), ("num_classes".to_owned(), json!(2))]);
        let (interpolation, crop_mode) = (Interpolation::Bilinear, CropMode::Squash);
        let (mean, std) = ([0.5, 0.25, 0.125], [0.25, 0.5, 1.0]);
        let bare = ModelCard::for_preset_of(preset("resnet-50", 2));
        let expected = ModelCard { res: 96, crop_pct: 0.95, mean, std, interpolation, crop_mode, ..bare.clone() };
        assert_eq!(accepts("resnet-50", &nested), Ok(expected.clone()));
        assert_eq!(accepts("resnet-50", &old.into()), Ok(expected));
        let unsaid = json!({ "architecture": "resnet50", "pretrained_cfg": { "crop_mode": null } });
        assert_eq!(accepts("resnet-50", &unsaid), Ok(bare));
    }

    #[test]
    fn classes_are_called_what_people_call_them() {
        for (labels, expected) in [
            (json!({ "label_names": ["n01", "n02"] }), ["n01", "n02"]),
            (json!({ "labels": ["cat", "dog"] }), ["cat", "dog"]),
            (json!({ "label_names": { "1": "dog" } }), ["0", "dog"]),
            (
                json!({ "label_names": ["n01", "n02"], "label_descriptions": { "n02": "dog", "n01": "cat" } }),
                ["cat", "dog"],
            ),
            (json!({ "label_names": ["n01", "n02"], "label_descriptions": { "n01": "cat" } }), ["cat", "n02"]),
            (json!({ "label_descriptions": { "0": "cat", "1": "dog" } }), ["cat", "dog"]),
            (json!({ "label_names": ["n01", "n02"], "label_descriptions": ["cat", "dog"] }), ["cat", "dog"]),
        ] {
            let mut top = labels.as_object().unwrap().clone();
            top.insert("architecture".into(), json!("small"));
            assert_eq!(accepts("small", &top.into()).unwrap().classes, expected, "{labels}");
            let nested = json!({ "architecture": "small", "pretrained_cfg": labels });
            if labels.get("labels").is_none() {
                assert_eq!(accepts("small", &nested).unwrap().classes, expected, "{labels}");
            }
        }
        assert!(accepts("small", &json!({ "architecture": "small" })).unwrap().classes.is_empty());
    }

    #[test]
    fn only_networks_that_compute_the_same_are_taken() {
        let named = |architecture: &str| json!({ "architecture": architecture });
        for (model, architecture) in [
            ("resnet-50", "resnet50.tv_in1k"),
            ("resnet-50", "tv_resnet50"),
            ("resnet-50-d", "gluon_resnet50_v1d"),
            ("efficientnet-b0", "tf_efficientnet_b0_ns"),
            ("resnet-rs-50", "resnetrs50"),
        ] {
            assert!(accepts(model, &named(architecture)).is_ok(), "{architecture}");
        }
        for (model, architecture, like) in [
            ("resnet-50", "resnetblur50", "Take weights of resnet50; if these are, write resnet50"),
            ("resnet-50", "resnetaa50.a1h_in1k", "predict --model resnet-50"),
            ("resnet-50-d", "resnetaa50d", "resnet50d"),
            ("efficientnet-b0", "efficientnet_b0", "tf_efficientnet_b0"),
            ("efficientnet-b0", "efficientnet_blur_b0", "tf_efficientnet_b0"),
        ] {
            let refused = accepts(model, &named(architecture)).unwrap_err();
            assert!(refused.contains(&format!("no network {architecture}")) && refused.contains(like), "{refused}");
            described_as(&preset(model, 2), &named(architecture), true).unwrap();
        }
        let refused = accepts("resnet-50", &named("resnet101")).unwrap_err();
        assert!(refused.contains("those of another network"), "{refused}");

        let with = |arguments: Value| json!({ "architecture": "resnet50", "model_args": arguments });
        accepts("resnet-50", &with(json!({ "num_classes": 2, "drop_rate": 0.1 }))).unwrap();
        let refused = accepts("resnet-50", &with(json!({ "num_classes": 2, "output_stride": 16 }))).unwrap_err();
        assert!(refused.contains("no network resnet50, output_stride = 16"), "{refused}");

        // timm's ResNets between the presets: their tensors determine the network.
        let resnet26 = Config::new(ResNet::plain([2; 4]), 2);
        described_as(&resnet26, &named("resnet26.bt_in1k"), false).unwrap();
        let refused = described_as(&resnet26, &named("resnetblur26"), false).unwrap_err();
        assert!(refused.contains("copy the weights to a folder without this file"), "{refused}");
    }

    #[test]
    fn what_describes_something_else_is_left_alone() {
        let bare = ModelCard::for_preset_of(preset("small", 2));
        for other in [
            json!({ "model_type": "bert", "architectures": ["BertModel"], "num_labels": 5, "mean": "none" }),
            json!({ "architecture": { "layers": 3 } }),
            json!({}),
        ] {
            assert_eq!(accepts("small", &other), Ok(bare.clone()), "{other}");
        }
        // The card that this program wrote into the weights takes precedence.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{ "architecture": "resnetblur50" }"#).unwrap();
        let own = ModelCard { crop_pct: 0.5, ..bare };
        let carded = StateDict { metadata: own.to_metadata(), ..weights(&own.config) };
        assert_eq!(card(&folder.path().join("w.safetensors"), &carded, Told::default()).unwrap(), own);
    }

    #[test]
    fn descriptions_that_cannot_be_are_refused() {
        let trained = |key: &str, value: Value| json!({ "architecture": "small", "pretrained_cfg": { key: value } });
        for (json, expected) in [
            (json!([1]), "cannot be understood"),
            (trained("interpolation", json!("random")), "unknown variant `random`, expected one of `nearest`"),
            (trained("crop_mode", json!("tile")), "unknown variant `tile`"),
            (trained("mean", json!([1.0])), "cannot be understood"),
            (trained("std", json!([0.0, 1.0, 1.0])), "out of range"),
            (trained("crop_pct", json!(1.5)), "out of range"),
            (trained("input_size", json!([1, 28, 28])), "square"),
            (trained("input_size", json!([3, 224, 192])), "square"),
            (json!({ "architecture": "small", "num_classes": 1000 }), "not the 2 of the weights"),
            (json!({ "architecture": "small", "label_names": ["cat"] }), "out of range"),
        ] {
            let refused = accepts("small", &json).unwrap_err();
            assert!(refused.contains("config.json: ") && refused.contains(expected), "{expected}: {refused}");
            assert!(refused.contains("copy them to a folder"), "{refused}");
        }
    }
}
