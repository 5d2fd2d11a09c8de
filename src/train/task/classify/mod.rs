//! Classification: each picture has one class, or two if pictures are mixed.

mod metric;
mod section;

use std::collections::BTreeMap;

use serde_json::Value;

pub use metric::{Findings, Mistake};

use super::{Classes, Loss, Metric, Remarks, Table, Task, classes};
use crate::data::{self, Dataset, Encode, Geometry, Mixed, Source, Targets, Truth, TruthKind};
use crate::graph::op::SoftmaxCrossEntropy;
use crate::graph::{DType, Graph, Port, Spec, autodiff};
use crate::models::{self, Config};
use crate::train::report::{Section, percent};
use crate::train::{Error, Measure, Recipe};
use crate::weights::ModelCard;

/// The task of classification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classify {
    /// Share of the target spread over all classes, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Whether each picture has two labels and a share, from mixup or CutMix.
    pub mixed: bool,
}

const MEASURES: [Measure; 2] = [
    Measure { name: "top1", label: "top-1", is_share: true, higher_is_better: true },
    Measure { name: "top5", label: "top-5", is_share: true, higher_is_better: true },
];

impl Encode for Classify {
    fn encode(&self, truths: &[Truth], _views: &[Geometry], mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let class = |truth: &Truth| truth.class().ok_or(data::Error::OtherTruth { truth: TruthKind::Class });
        let labels = truths.iter().map(class).collect::<Result<Vec<u32>, _>>()?;
        if !self.mixed {
            return Ok(Targets::new(vec![("labels", labels.into())]));
        }
        let others: Vec<u32> = match mixed {
            Some(_) => labels.iter().rev().copied().collect(),
            None => labels.clone(),
        };
        let shares = vec![mixed.map_or(1.0, |mixed| mixed.share); labels.len()];
        Ok(Targets::new(vec![("labels", labels.into()), ("others", others.into()), ("shares", shares.into())]))
    }
}

impl Task for Classify {
    fn measures(&self) -> &'static [Measure] {
        &MEASURES
    }

    fn truth(&self) -> TruthKind {
        TruthKind::Class
    }

    fn request(&self) -> &'static str {
        "Classify a picture"
    }

    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        let config = Config { classes: dataset.classes.len(), ..recipe.config()? };
        Ok(ModelCard { classes: dataset.classes.clone(), ..recipe.card(config, dataset)? })
    }

    /// Cross-entropy with label smoothing of `logits` `[N, K]`. The targets are `labels` `[N]`, u32; if pictures are
    /// mixed also `others` `[N]`, u32, and `shares` `[N]`, f32, the shares of `labels`.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error> {
        let logits = models::output(outputs, "logits")?;
        let batch = graph.spec(logits).shape[0];
        let mut target = |name: &str, dtype| graph.input(name, Spec::plain([batch], dtype));
        let mut inputs = vec![logits, target("labels", DType::U32)?];
        if self.mixed {
            inputs.extend([target("others", DType::U32)?, target("shares", DType::F32)?]);
        }
        let op = SoftmaxCrossEntropy { label_smoothing: self.label_smoothing, mixed: self.mixed };
        let outputs = graph.apply("loss", op, &inputs, &[])?;
        Ok(Loss {
            terms: vec![autodiff::Loss { id: outputs[0], weight: 1.0 }],
            reported: vec![Port { name: "top1", id: outputs[1] }],
        })
    }

    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric> {
        Box::new(metric::Accuracy::new(card.config.classes, keep))
    }

    fn classes<'c>(&self, card: &'c ModelCard) -> Option<Classes<'c>> {
        Some(Classes { count: card.config.classes, names: &card.classes })
    }

    fn as_noted(&self, notes: &BTreeMap<String, String>, data: &str, dataset: Dataset) -> Result<Dataset, Error> {
        classes::as_noted(notes, data, dataset)
    }

    fn remarks(&self, settings: &toml::Table, card: &ModelCard) -> Remarks {
        let number = |key: &str| settings.get(key).and_then(toml::Value::as_float).unwrap_or(0.0);
        let numbers = vec!["Top-1 is the share of pictures whose likeliest class is right.".to_owned()];
        let mut of_settings = Vec::new();
        if number("mixup") > 0.0 || number("cutmix") > 0.0 {
            of_settings.push("Where two pictures are mixed, naming one of them counts by its share.".to_owned());
        }
        let (smoothing, classes) = (number("label-smoothing"), card.classes.len());
        if smoothing > 0.0 && classes > 1 {
            of_settings.push(format!(
                "With label smoothing the network is to leave {} for the wrong classes: its training loss cannot fall \
                 below {:.2}; that of validation is without it.",
                percent(smoothing * (classes - 1) as f64 / classes as f64, 0),
                least_loss(smoothing, classes)
            ));
        }
        Remarks { numbers, settings: of_settings }
    }

    fn section(&self, findings: super::Findings, card: &ModelCard, pictures: &dyn Source) -> Result<Section, Error> {
        section::section(&findings, card, pictures)
    }

    fn tables(&self, findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        metric::tables(findings, card, dataset)
    }
}

/// Cross-entropy of a smoothed target with itself.
fn least_loss(smoothing: f64, classes: usize) -> f64 {
    let wrong = smoothing / classes as f64;
    let right = 1.0 - smoothing + wrong;
    -right * right.ln() - (classes - 1) as f64 * wrong * wrong.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothed_labels_cost_their_entropy() {
        assert!((least_loss(1.0, 4) - 4f64.ln()).abs() < 1e-12, "even");
        let expected = -(0.91 * 0.91f64.ln() + 9.0 * 0.01 * 0.01f64.ln());
        assert!((least_loss(0.1, 10) - expected).abs() < 1e-12);
    }
}
