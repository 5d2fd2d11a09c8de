//! Recognises heads for dense predictions by their tensors: torchvision's RetinaNet, DeepLabV3 and FCN, DeepLabV3+ of
//! segmentation-models-pytorch, and this crate's decoder of depth and U-Net.

use std::path::Path;

use super::{Error, ModelCard, StateDict};
use crate::boxes::PER_CELL;
use crate::data::{CropMode, Interpolation};
use crate::models::{DeepLabV3, DeepLabV3Plus, DenseDepth, Fcn, Head, RetinaNet, UNet};

/// VOC's classes behind the background, in torchvision's order.
const VOC: &str = "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike \
                   person pottedplant sheep sofa train tvmonitor";

/// COCO's categories by their numbers, which have gaps, behind the background: what torchvision's released detectors
/// tell apart.
const COCO: &str = include_str!("coco-classes.txt");
/// Number of these.
pub(super) const COCO_CLASSES: usize = 91;
/// Number of VOC's classes, with the background.
const VOC_CLASSES: usize = 21;

/// Whether these are VOC's classes, which [`complete`] assumes.
pub(super) fn are_vocs(classes: &[String]) -> bool {
    VOC.split(' ').eq(classes)
}

/// A head, and the number of classes that it tells apart; `None` if the tensors have no head for dense predictions.
///
/// # Errors
/// A tensor is missing that would tell the head's size, or has an impossible shape.
pub(super) fn recognise(path: &Path, weights: &StateDict) -> Result<Option<(Head, usize)>, Error> {
    let mismatch =
        |tensor: &str, problem: String| Error::Mismatch { path: path.to_owned(), tensor: tensor.to_owned(), problem };
    let rows = |name: &str| match weights.tensors.get(name).map(|tensor| &tensor.shape[..]) {
        Some([rows, ..]) => Ok(*rows),
        Some([]) => Err(mismatch(name, "is a single number".into())),
        None => Err(mismatch(name, "is missing".into())),
    };
    let has = |start: &str| {
        let from = weights.tensors.range(start.to_owned()..).next();
        from.is_some_and(|(name, _)| name.starts_with(start))
    };
    let auxiliary = has("aux_classifier.");
    Ok(Some(if has("head.classification_head.") || has("head.regression_head.") {
        let (last, first) = ("head.classification_head.cls_logits.weight", "head.classification_head.conv.0.0.weight");
        let (outputs, channels) = (rows(last)?, rows(first)?);
        if outputs % PER_CELL != 0 {
            return Err(mismatch(last, format!("has {outputs} outputs, which are not those of {PER_CELL} anchors")));
        }
        (Head::RetinaNet(RetinaNet { channels }), outputs / PER_CELL)
    } else if has("classifier.0.convs.") || has("classifier.0.project.") {
        let channels = rows("classifier.0.project.0.weight")?;
        (Head::DeepLabV3(DeepLabV3 { channels, auxiliary }), rows("classifier.4.weight")?)
    } else if has("decoder.aspp.") {
        let channels = rows("decoder.aspp.0.project.0.weight")?;
        (Head::DeepLabV3Plus(DeepLabV3Plus { channels }), rows("segmentation_head.0.weight")?)
    } else if has("decoder.first.") || has("decoder.ups.") {
        let mut widths = [rows("decoder.first.weight")?; 5];
        for (i, width) in widths[1..].iter_mut().enumerate() {
            *width = rows(&format!("decoder.ups.{i}.b.weight"))?;
        }
        // One class alone would be no segmentation.
        match rows("decoder.last.weight")? {
            1 => (Head::DenseDepth(DenseDepth { widths, ..DenseDepth::default() }), 1),
            classes => (Head::UNet(UNet { widths }), classes),
        }
    } else if has("backbone.") && (has("classifier.0.") || has("classifier.4.")) {
        (Head::Fcn(Fcn { auxiliary }), rows("classifier.4.weight")?)
    } else {
        return Ok(None);
    }))
}

/// The card of a network with such a head, completed with what its tensors leave open: the output stride of the
/// released networks, and whole pictures.
pub(super) fn complete(mut card: ModelCard) -> ModelCard {
    card.config.output_stride = match card.config.head {
        Head::Classifier => return card,
        Head::DeepLabV3(_) | Head::Fcn(_) => 8,
        Head::DeepLabV3Plus(_) => 16,
        Head::RetinaNet(_) | Head::UNet(_) | Head::DenseDepth(_) => 32,
    };
    let res = match card.config.head {
        Head::RetinaNet(_) => 800,
        Head::DenseDepth(_) => 480,
        _ => 520,
    };
    let classes = match card.config.classes {
        VOC_CLASSES => VOC.split(' ').map(str::to_owned).collect(),
        COCO_CLASSES => COCO.lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let (crop_mode, interpolation) = (CropMode::Border, Interpolation::Bilinear);
    ModelCard { res, crop_pct: 1.0, crop_mode, interpolation, classes, ..card }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::models::{Config, Input, Mode, Network, Preset};
    use crate::weights::{HostTensor, timm};

    fn graph(config: &Config) -> Graph {
        Network::build(config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph
    }

    /// A network's tensors without their values.
    fn tensors(config: &Config) -> StateDict {
        let graph = graph(config);
        let tensors = graph.persistent().map(|id| graph.tensor(id));
        let bare = |spec| HostTensor { shape: timm::torch_shape(spec), data: vec![] };
        StateDict { tensors: tensors.map(|t| (t.name.clone(), bare(&t.spec))).collect(), ..StateDict::default() }
    }

    fn config(model: &str, head: Head, classes: usize) -> Config {
        Config { head, ..Preset::find(model).unwrap().config(classes) }
    }

    fn cases() -> Vec<(Config, usize)> {
        let deeplab = |channels, auxiliary| Head::DeepLabV3(DeepLabV3 { channels, auxiliary });
        let retinanet = |channels| Head::RetinaNet(RetinaNet { channels });
        let depth = |widths| Head::DenseDepth(DenseDepth { widths, max_m: 10.0 });
        vec![
            (config("resnet-rs-50", retinanet(256), 21), 32),
            (config("resnet-50", retinanet(64), 91), 32),
            (config("resnet-50", deeplab(256, true), 21), 8),
            (config("resnet-rs-101", deeplab(128, false), 21), 8),
            (config("resnet-50", Head::Fcn(Fcn { auxiliary: true }), 21), 8),
            (config("resnet-101", Head::Fcn(Fcn { auxiliary: false }), 7), 8),
            (config("resnet-rs-50", Head::DeepLabV3Plus(DeepLabV3Plus { channels: 256 }), 150), 16),
            (config("resnet-50", Head::UNet(UNet::default()), 21), 32),
            (config("small", Head::UNet(UNet { widths: [64, 32, 16, 8, 4] }), 9), 32),
            (config("resnet-rs-50", depth([512, 256, 128, 64, 32]), 1), 32),
            (config("small", depth([64, 32, 16, 8, 4]), 1), 32),
        ]
    }

    #[test]
    fn heads_are_told_by_their_tensors_alone() {
        for (config, output_stride) in cases() {
            let card = timm::recognise(Path::new("w"), &tensors(&config)).unwrap();
            assert_eq!(card.config, Config { output_stride, ..config.clone() });
            assert_eq!((card.crop_pct, card.crop_mode), (1.0, CropMode::Border));
            let named = |name: &str| card.classes.iter().position(|class| class == name);
            let expected = match (config.classes, config.head) {
                (21, _) => [("background", 0), ("aeroplane", 1), ("tvmonitor", 20)].to_vec(),
                (91, _) => [("person", 1), ("toothbrush", 90)].to_vec(),
                _ => Vec::new(),
            };
            assert_eq!(card.classes.len(), if expected.is_empty() { 0 } else { config.classes });
            assert!(expected.iter().all(|(name, index)| named(name) == Some(*index)), "{:?}", card.classes);
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        for head in [
            Head::RetinaNet(RetinaNet { channels: 8 }),
            Head::DeepLabV3(DeepLabV3 { channels: 8, auxiliary: true }),
            Head::DeepLabV3Plus(DeepLabV3Plus { channels: 8 }),
            Head::Fcn(Fcn { auxiliary: true }),
            Head::UNet(UNet { widths: [8; 5] }),
            Head::DenseDepth(DenseDepth { widths: [8; 5], max_m: 10.0 }),
        ] {
            let mut complete = tensors(&config("small", head, if matches!(head, Head::DenseDepth(_)) { 1 } else { 5 }));
            for tensor in complete.tensors.values_mut() {
                tensor.data = vec![0.0; tensor.shape.iter().product()];
            }
            let path = Path::new("w");
            let loaded = |weights: &StateDict| {
                let config = timm::recognise(path, weights)?.config;
                timm::values(path, weights, &graph(&config))
            };
            loaded(&complete).unwrap();
            let of_head = |name: &&String| !name.starts_with("backbone.") || name.contains(".fpn.");
            for name in complete.tensors.keys().filter(of_head) {
                let mut fewer = complete.clone();
                fewer.tensors.remove(name);
                let refused = loaded(&fewer).unwrap_err().to_string();
                assert!(refused.contains(&format!("tensor {name} is missing")), "{refused}");
            }
        }
    }

    #[test]
    fn outputs_of_other_anchors_are_refused() {
        let (config, _) = cases().swap_remove(0);
        let mut odd = tensors(&config);
        let last = "head.classification_head.cls_logits.weight";
        odd.tensors.get_mut(last).unwrap().shape[0] = 20;
        let refused = timm::recognise(Path::new("w"), &odd).unwrap_err().to_string();
        assert!(refused.contains(last) && refused.contains("has 20 outputs"), "{refused}");
        odd.tensors.get_mut(last).unwrap().shape[0] = 9;
        let refused = timm::recognise(Path::new("w"), &odd).unwrap_err().to_string();
        assert!(refused.contains(last) && refused.contains("classes must be from 2"), "{refused}");
    }
}
