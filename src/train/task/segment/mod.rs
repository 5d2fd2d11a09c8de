//! Semantic segmentation: each pixel has a class, or does not count.

mod metric;
mod section;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::Value;

pub use metric::{Findings, Worst};

use super::{Classes, Loss, Metric, Remarks, Table, Task, classes};
use crate::data::{self, Dataset, Encode, Geometry, IGNORED, Mixed, Source, Targets, Truth, TruthKind};
use crate::graph::op::{Argmax, Confusion, PixelCrossEntropy};
use crate::graph::{DType, Graph, Port, Spec, TensorId, autodiff};
use crate::models::{self, Config};
use crate::train::report::Section;
use crate::train::{Error, Measure, Recipe};
use crate::weights::ModelCard;

/// The task of segmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Segment;

/// Weight of the auxiliary head's loss (torchvision, references/segmentation).
const AUXILIARY: f32 = 0.5;

const MEASURES: [Measure; 2] = [
    Measure { name: "miou", label: "mean IoU", is_share: true, higher_is_better: true },
    Measure { name: "pixel_accuracy", label: "pixel accuracy", is_share: true, higher_is_better: true },
];

/// A mask of pixels that do not count.
fn nothing([height, width]: [usize; 2]) -> Vec<u32> {
    vec![IGNORED.into(); height * width]
}

impl Encode for Segment {
    /// `mask` `[N, H, W]`, u32: the class of each of the input's pixels, or [`IGNORED`].
    fn encode(&self, truths: &[Truth], views: &[Geometry], _mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let mask = |(truth, view): (&Truth, &Geometry)| match truth {
            Truth::Mask(mask) => Ok(view.mask_to_input(mask).iter().map(|&class| class.into()).collect()),
            Truth::Unknown => Ok(nothing(view.size)),
            _ => Err(data::Error::OtherTruth { truth: TruthKind::Mask }),
        };
        let masks = (truths, views).into_par_iter().map(mask).collect::<Result<Vec<Vec<u32>>, _>>()?;
        Ok(Targets::new(vec![("mask", masks.concat().into())]))
    }
}

/// The input for the classes of the pixels of these logits.
fn mask(graph: &mut Graph, logits: TensorId) -> Result<TensorId, models::Error> {
    let [n, h, w, _] = graph.spec(logits).as_map();
    Ok(graph.input("mask", Spec::plain([n, h, w], DType::U32))?)
}

impl Task for Segment {
    fn measures(&self) -> &'static [Measure] {
        &MEASURES
    }

    fn truth(&self) -> TruthKind {
        TruthKind::Mask
    }

    fn request(&self) -> &'static str {
        "Segment a picture"
    }

    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        let config = Config { classes: dataset.classes.len(), ..recipe.config()? };
        let card = super::dense_card(recipe, config, dataset)?;
        Ok(ModelCard { classes: dataset.classes.clone(), ..card })
    }

    /// Cross-entropy of the pixels that count, of `logits` and half of that of `aux` if there is an auxiliary head.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error> {
        let logits = models::output(outputs, "logits")?;
        let mask = mask(graph, logits)?;
        let op = PixelCrossEntropy { ignored: IGNORED.into() };
        let of_logits = graph.apply("loss", op, &[logits, mask], &[])?;
        let mut terms = vec![autodiff::Loss { id: of_logits[0], weight: 1.0 }];
        if let Ok(aux) = models::output(outputs, "aux") {
            let id = graph.apply("auxiliary_loss", op, &[aux, mask], &[])?[0];
            terms.push(autodiff::Loss { id, weight: AUXILIARY });
        }
        Ok(Loss { terms, reported: vec![Port { name: "pixel_accuracy", id: of_logits[1] }] })
    }

    /// The class of each pixel, the confusion matrix of each picture, the mean loss, and how many pixels count.
    fn readings(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Vec<TensorId>, models::Error> {
        let logits = models::output(outputs, "logits")?;
        let classes = graph.spec(logits).last();
        let mask = mask(graph, logits)?;
        let ignored = IGNORED.into();
        let predicted = graph.apply1("predicted", Argmax, &[logits])?;
        let confusion = graph.apply1("confusion", Confusion { classes, ignored }, &[predicted, mask])?;
        let loss = graph.apply("loss", PixelCrossEntropy { ignored }, &[logits, mask], &[])?;
        Ok(vec![predicted, confusion, loss[0], loss[2]])
    }

    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric> {
        Box::new(metric::Overlap::new(card.config.classes, keep))
    }

    fn classes<'c>(&self, card: &'c ModelCard) -> Option<Classes<'c>> {
        Some(Classes { count: card.config.classes, names: &card.classes })
    }

    fn as_noted(&self, notes: &BTreeMap<String, String>, data: &str, dataset: Dataset) -> Result<Dataset, Error> {
        classes::as_noted(notes, data, dataset)
    }

    fn remarks(&self, _settings: &toml::Table, card: &ModelCard) -> Remarks {
        let numbers =
            "Mean IoU (intersection over union) is a mean over the classes: the pixels that truth and answer \
                       both give to a class, as a share of those that at least one of them gives to it. So small \
                       classes count as much as large ones, unlike in pixel accuracy, the share of all pixels that are \
                       right."
                .to_owned();
        let whole = super::shown_whole(card) + " Pixels are compared at that size.";
        Remarks { numbers: vec![numbers, whole], settings: Vec::new() }
    }

    fn section(&self, findings: super::Findings, card: &ModelCard, pictures: &dyn Source) -> Result<Section, Error> {
        section::section(&findings, card, pictures)
    }

    fn tables(&self, findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        section::tables(findings, card, dataset)
    }
}
