//! Recognises heads for dense predictions by their tensors: torchvision's RetinaNet, DeepLabV3 and FCN, DeepLabV3+ of
//! segmentation-models-pytorch, and this crate's depth decoder.

use super::{ModelCard, StateDict};
use crate::boxes::PER_CELL;
use crate::data::{CropMode, Interpolation};
use crate::models::{DeepLabV3, DeepLabV3Plus, DenseDepth, Fcn, Head, RetinaNet};

/// VOC's classes behind the background, in torchvision's order.
const VOC: &str = "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike \
                   person pottedplant sheep sofa train tvmonitor";

/// COCO's categories by their numbers, which have gaps, behind the background: what torchvision's released detectors
/// tell apart.
const COCO: &str = include_str!("coco-classes.txt");

/// A head, and the number of classes that it tells apart.
pub(super) fn recognise(weights: &StateDict) -> Option<(Head, usize)> {
    let shape = |name: &str| weights.tensors.get(name).map(|tensor| &tensor.shape[..]);
    let rows = |name: &str| shape(name).and_then(|shape| shape.first().copied());
    let auxiliary = rows("aux_classifier.4.weight").is_some();
    if let Some([outputs, channels, ..]) = shape("head.classification_head.cls_logits.weight") {
        return Some((Head::RetinaNet(RetinaNet { channels: *channels }), outputs / PER_CELL));
    }
    if let Some(channels) = rows("classifier.0.project.0.weight") {
        return Some((Head::DeepLabV3(DeepLabV3 { channels, auxiliary }), rows("classifier.4.weight")?));
    }
    if let Some(channels) = rows("decoder.aspp.0.project.0.weight") {
        return Some((Head::DeepLabV3Plus(DeepLabV3Plus { channels }), rows("segmentation_head.0.weight")?));
    }
    if let Some(first) = rows("decoder.first.weight") {
        let width =
            |i: usize| if i == 0 { first } else { rows(&format!("decoder.ups.{}.b.weight", i - 1)).unwrap_or(0) };
        return Some((Head::DenseDepth(DenseDepth { widths: std::array::from_fn(width), ..DenseDepth::default() }), 1));
    }
    let is_map = |name: &str| shape(name).is_some_and(|shape| shape.len() == 4);
    let fcn = is_map("classifier.0.weight") && is_map("classifier.4.weight");
    fcn.then(|| Some((Head::Fcn(Fcn { auxiliary }), rows("classifier.4.weight")?))).flatten()
}

/// The card of a network with such a head, completed with what its tensors leave open: the output stride of the released
/// networks, and whole pictures.
pub(super) fn complete(mut card: ModelCard) -> ModelCard {
    card.config.output_stride = match card.config.head {
        Head::Classifier => return card,
        Head::DeepLabV3(_) | Head::Fcn(_) => 8,
        Head::DeepLabV3Plus(_) => 16,
        Head::RetinaNet(_) | Head::DenseDepth(_) => 32,
    };
    let res = match card.config.head {
        Head::RetinaNet(_) => 800,
        Head::DenseDepth(_) => 480,
        _ => 520,
    };
    let names = |names: &str, between: char| names.split(between).map(str::to_owned).collect::<Vec<_>>();
    let classes = match card.config.classes {
        21 => names(VOC, ' '),
        91 => names(COCO.trim_end(), '\n'),
        _ => Vec::new(),
    };
    let (crop_mode, interpolation) = (CropMode::Border, Interpolation::Bilinear);
    ModelCard { res, crop_pct: 1.0, crop_mode, interpolation, classes, ..card }
}
