//! Detection: a picture has objects, each with a class and a box.

pub mod coco;
mod curve;
mod metric;
mod section;
pub mod voc;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::Value;

pub use curve::Point;

pub use metric::{Findings, OfClass, Worst};

use super::{Classes, Loss, Metric, Remarks, Table, Task, classes};
use crate::boxes::{self, Anchors, Bounds, Match, Object, matches};
use crate::data::{self, Dataset, Encode, Geometry, Mixed, Source, Targets, Truth, TruthKind};
use crate::graph::op::{BoxLoss, BoxLossKind, FocalLoss};
use crate::graph::{DType, Graph, Port, Spec, TensorId, autodiff};
use crate::models::{self, Config};
use crate::train::report::Section;
use crate::train::{Error, Measure, Recipe};
use crate::weights::ModelCard;

/// The task of detection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detect {
    /// The loss of boxes.
    pub box_loss: BoxLossKind,
}

impl Default for Detect {
    /// The absolute differences, as torchvision's `retinanet_resnet50_fpn` is trained.
    fn default() -> Self {
        Self { box_loss: BoxLossKind::L1 }
    }
}

/// The name of the class that a detector never finds, the first of its card.
pub const BACKGROUND: &str = "background";

/// The focal loss's settings (Lin et al. 2017, section 5.1; torchvision).
const ALPHA: f32 = 0.25;
const GAMMA: f32 = 2.0;

/// COCO's numbers and VOC's, those first that are reported most.
const MEASURES: [Measure; 14] = {
    let [ap, ap50, ap75, small, medium, large, ar1, ar10, ar100, ar_small, ar_medium, ar_large] = coco::MEASURES;
    let [voc, voc07] = voc::MEASURES;
    [ap50, ap, ap75, voc, voc07, small, medium, large, ar1, ar10, ar100, ar_small, ar_medium, ar_large]
};

impl Detect {
    /// The factor of the loss of boxes. TF Model Garden's 50, of which four numbers have a mean.
    fn box_weight(&self) -> f32 {
        if matches!(self.box_loss, BoxLossKind::Huber { .. }) { 12.5 } else { 1.0 }
    }
}

/// What the anchors of one picture learn.
struct Lesson {
    /// The network's class of each anchor, [`FocalLoss::BACKGROUND`] or [`FocalLoss::IGNORED`].
    labels: Vec<u32>,
    /// What each anchor learns to predict where it has a box: the change that turns it into the box, or for GIoU the
    /// box itself.
    targets: Vec<[f32; 4]>,
    /// 1 over the number of anchors with a class.
    normaliser: f32,
}

impl Lesson {
    /// Nothing to learn: the picture is padding.
    fn none(anchors: &Anchors) -> Self {
        let count = anchors.boxes.len();
        Self { labels: vec![FocalLoss::IGNORED; count], targets: vec![[0.0; 4]; count], normaliser: 1.0 }
    }

    /// Objects that are difficult or crowds are no targets: anchors on them are ignored.
    fn of(objects: &[Object], anchors: &Anchors, box_loss: BoxLossKind) -> Self {
        let (learnt, passed): (Vec<&Object>, Vec<&Object>) =
            objects.iter().partition(|object| !object.difficult && !object.crowd);
        let bounds = |objects: &[&Object]| objects.iter().map(|object| object.bounds).collect::<Vec<Bounds>>();
        let mut lesson = Self::none(anchors);
        let found = matches(&anchors.boxes, &bounds(&learnt));
        let mut count = 0;
        for (i, found) in found.into_iter().enumerate() {
            lesson.labels[i] = match found {
                Match::Truth(truth) => {
                    let Object { class, bounds, .. } = *learnt[truth as usize];
                    lesson.targets[i] = match box_loss {
                        BoxLossKind::Giou => bounds,
                        BoxLossKind::L1 | BoxLossKind::Huber { .. } => boxes::encode(bounds, anchors.boxes[i]),
                    };
                    count += 1;
                    // The first class is the background.
                    class + 1
                }
                Match::Background => FocalLoss::BACKGROUND,
                Match::Between => FocalLoss::IGNORED,
            };
        }
        if !passed.is_empty() {
            let on_passed = matches(&anchors.boxes, &bounds(&passed));
            for (label, found) in lesson.labels.iter_mut().zip(on_passed) {
                if *label == FocalLoss::BACKGROUND && matches!(found, Match::Truth(_)) {
                    *label = FocalLoss::IGNORED;
                }
            }
        }
        Self { normaliser: 1.0 / count.max(1) as f32, ..lesson }
    }
}

impl Encode for Detect {
    /// `labels` `[N, T]`, u32; `targets` `[N, T, 4]` and `normalisers` `[N]`, f32, over the T anchors of a picture; for
    /// GIoU also `anchors` `[T, 4]`.
    fn encode(&self, truths: &[Truth], views: &[Geometry], _mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let anchors = views.first().map(|view| Anchors::of_picture(view.size));
        let Some(anchors) = anchors else { return Ok(Targets::default()) };
        let lesson = |(truth, view): (&Truth, &Geometry)| match truth {
            Truth::Objects(objects) => {
                let seen = |object: &Object| Some(Object { bounds: view.bounds_to_input(object.bounds)?, ..*object });
                Ok(Lesson::of(&objects.iter().filter_map(seen).collect::<Vec<_>>(), &anchors, self.box_loss))
            }
            Truth::Unknown => Ok(Lesson::none(&anchors)),
            _ => Err(data::Error::OtherTruth { truth: TruthKind::Objects }),
        };
        let lessons = (truths, views).into_par_iter().map(lesson).collect::<Result<Vec<Lesson>, _>>()?;
        let labels: Vec<u32> = lessons.iter().flat_map(|lesson| &lesson.labels).copied().collect();
        let of_boxes: Vec<f32> = lessons.iter().flat_map(|lesson| lesson.targets.as_flattened()).copied().collect();
        let normalisers: Vec<f32> = lessons.iter().map(|lesson| lesson.normaliser).collect();
        let mut targets =
            vec![("labels", labels.into()), ("targets", of_boxes.into()), ("normalisers", normalisers.into())];
        if self.box_loss == BoxLossKind::Giou {
            targets.push(("anchors", anchors.boxes.as_flattened().to_vec().into()));
        }
        Ok(Targets::new(targets))
    }
}

/// Names of the data's classes: those of the network without the background. Empty if they are unknown.
fn of_data(card: &ModelCard) -> &[String] {
    card.classes.get(1..).unwrap_or(&[])
}

/// The outputs of all levels with this name.
fn levels(outputs: &[Port], name: &'static str) -> Result<Vec<TensorId>, models::Error> {
    models::output(outputs, name)?;
    Ok(outputs.iter().filter(|port| port.name == name).map(|port| port.id).collect())
}

/// The losses of classes and boxes, and the inputs for their targets.
fn losses(
    graph: &mut Graph,
    logits: &[TensorId],
    predicted: &[TensorId],
    kind: BoxLossKind,
) -> Result<[TensorId; 2], models::Error> {
    let n = graph.spec(predicted[0]).shape[0];
    let cells = |&map: &TensorId| graph.spec(map).shape[1..3].iter().product::<usize>();
    let anchors = predicted.iter().map(cells).sum::<usize>() * boxes::PER_CELL;
    let classes = graph.spec(logits[0]).last() / boxes::PER_CELL;
    let labels = graph.input("labels", Spec::plain([n, anchors], DType::U32))?;
    let targets = graph.input("targets", Spec::plain([n, anchors, 4], DType::F32))?;
    let normalisers = graph.input("normalisers", Spec::plain([n], DType::F32))?;
    let focal = FocalLoss { classes, alpha: ALPHA, gamma: GAMMA };
    let of_classes = graph.apply1("class_loss", focal, &[&[labels, normalisers], logits].concat())?;
    let mut inputs = vec![labels, normalisers, targets];
    if kind == BoxLossKind::Giou {
        inputs.push(graph.input("anchors", Spec::plain([anchors, 4], DType::F32))?);
    }
    inputs.extend(predicted);
    let of_boxes = graph.apply1("box_loss", BoxLoss { classes, kind }, &inputs)?;
    Ok([of_classes, of_boxes])
}

impl Task for Detect {
    fn measures(&self) -> &'static [Measure] {
        &MEASURES
    }

    fn truth(&self) -> TruthKind {
        TruthKind::Objects
    }

    fn request(&self) -> &'static str {
        "Find the objects of a picture"
    }

    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        let classes: Vec<String> = std::iter::once(BACKGROUND.to_owned()).chain(dataset.classes.clone()).collect();
        let config = Config { classes: classes.len(), ..recipe.config()? };
        Ok(ModelCard { classes, ..super::dense_card(recipe, config, dataset)? })
    }

    /// Focal loss of the classes, and the loss of the boxes, each divided by the number of anchors of a picture that
    /// have a class (torchvision).
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error> {
        let (logits, boxes) = (levels(outputs, "logits")?, levels(outputs, "boxes")?);
        let [of_classes, of_boxes] = losses(graph, &logits, &boxes, self.box_loss)?;
        let terms =
            [(of_classes, 1.0), (of_boxes, self.box_weight())].map(|(id, weight)| autodiff::Loss { id, weight });
        let terms = terms.to_vec();
        let reported = vec![Port { name: "class_loss", id: of_classes }, Port { name: "box_loss", id: of_boxes }];
        Ok(Loss { terms, reported })
    }

    /// The two losses, then logits and deltas of each level.
    fn readings(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Vec<TensorId>, models::Error> {
        let (logits, boxes) = (levels(outputs, "logits")?, levels(outputs, "boxes")?);
        let losses = losses(graph, &logits, &boxes, self.box_loss)?;
        Ok([&losses[..], &logits, &boxes].concat())
    }

    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric> {
        Box::new(metric::Precision::new(card.config.classes, self.box_weight(), keep))
    }

    fn classes<'c>(&self, card: &'c ModelCard) -> Option<Classes<'c>> {
        Some(Classes { count: card.config.classes - 1, names: of_data(card) })
    }

    fn as_noted(&self, notes: &BTreeMap<String, String>, data: &str, dataset: Dataset) -> Result<Dataset, Error> {
        classes::as_noted(notes, data, dataset)
    }

    fn remarks(&self, _settings: &toml::Table, card: &ModelCard) -> Remarks {
        let numbers =
            "AP (average precision) at IoU 0.5 is the area below the curve of precision over recall, where a \
                       box is right if what it shares with a true box of its class is half or more of what the two \
                       cover together; it is a mean over the classes. It is 0 at first: the network begins with a \
                       score of 0.01 for every class everywhere, and boxes count from 0.05 on."
                .to_owned();
        Remarks { numbers: vec![numbers, super::shown_whole(card)], settings: Vec::new() }
    }

    fn section(&self, findings: super::Findings, card: &ModelCard, pictures: &dyn Source) -> Result<Section, Error> {
        section::section(&findings, card, pictures)
    }

    fn tables(&self, findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        section::tables(findings, card, dataset)
    }
}
