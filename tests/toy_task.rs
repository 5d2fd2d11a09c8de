//! A custom task is one file: here a network learns a number from 0 to 1, the brightness of a picture.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
#[allow(dead_code)]
mod adapters;
#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use resnet_rs::data::{self, Batch, Dataset, Encode, Geometry, Mixed, Targets, Truth, TruthKind};
use resnet_rs::gpu::Gpu;
use resnet_rs::graph::op::SoftmaxCrossEntropy;
use resnet_rs::graph::{DType, Elements, Graph, Port, Spec, autodiff};
use resnet_rs::models::{self, Config};
use resnet_rs::train::task::{Loss, Metric, Task};
use resnet_rs::train::{Measure, Numbers, Observer, Recipe, Run, Summary, Trainer};
use resnet_rs::weights::ModelCard;

/// The task of predicting brightness: the second of the network's two outputs after a softmax.
#[derive(Debug)]
struct Brightness;

/// The brightness of the data set's pictures is given by their label, which goes up to 9.
fn number(truth: &Truth) -> f32 {
    truth.class().map_or(f32::NAN, |label| label as f32 / 9.0)
}

impl Encode for Brightness {
    /// The number is the share of label 1; the rest is that of label 0.
    fn encode(&self, truths: &[Truth], _views: &[Geometry], _mixed: Option<Mixed>) -> Result<Targets, data::Error> {
        let one = |label: u32| vec![label; truths.len()];
        let shares: Vec<f32> = truths.iter().map(number).collect();
        Ok(Targets::new(vec![("bright", one(1).into()), ("dark", one(0).into()), ("numbers", shares.into())]))
    }
}

impl Task for Brightness {
    fn measures(&self) -> &'static [Measure] {
        &[Measure { name: "error", label: "mean error", is_share: false, higher_is_better: false }]
    }

    fn truth(&self) -> TruthKind {
        TruthKind::Class
    }

    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error> {
        recipe.card(Config { classes: 2, ..recipe.config()? }, dataset)
    }

    /// Cross-entropy with the two labels, weighted by their shares.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error> {
        let logits = outputs[0].id;
        let batch = graph.spec(logits).shape[0];
        let mut input = |name: &str, dtype| graph.input(name, Spec::plain([batch], dtype));
        let targets = [input("bright", DType::U32)?, input("dark", DType::U32)?, input("numbers", DType::F32)?];
        let op = SoftmaxCrossEntropy { label_smoothing: 0.0, mixed: true };
        let [bright, dark, numbers] = targets;
        let id = graph.apply("loss", op, &[logits, bright, dark, numbers], &[])?[0];
        Ok(Loss { terms: vec![autodiff::Loss { id, weight: 1.0 }], reported: Vec::new() })
    }

    fn metric(&self, _card: &ModelCard, _keep: Option<usize>) -> Box<dyn Metric> {
        Box::<MeanError>::default()
    }
}

/// The mean error of the numbers.
#[derive(Default)]
struct MeanError {
    error: f64,
    loss: f64,
    pictures: usize,
}

impl Metric for MeanError {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        for (logits, truth) in outputs[0].floats().chunks(2).zip(&batch.truths) {
            let bright = 1.0 / (1.0 + f64::from(logits[0] - logits[1]).exp());
            let want = f64::from(number(truth));
            self.error += (bright - want).abs();
            self.loss -= want * bright.ln() + (1.0 - want) * (1.0 - bright).ln();
            self.pictures += 1;
        }
    }

    fn numbers(&self) -> Numbers {
        let mean = |sum: f64| sum / self.pictures.max(1) as f64;
        Numbers::default().with("error", mean(self.error)).with("loss", mean(self.loss))
    }
}

struct Silent;

impl Observer for Silent {}

fn train(gpu: &Gpu, data: &Path, folder: &Path, max_steps: Option<u64>) -> Summary {
    let recipe = Recipe { epochs: 8, batch: 16, keep: 2, max_steps, ..Recipe::default() };
    let data = format!("idx:{}", data.display());
    let (run, checkpoint) = match folder.exists() {
        false => (Run::new(folder, &data, recipe).unwrap(), None),
        true => Run::resume(folder, None, &Default::default(), false).map(|(run, c)| (run, Some(c))).unwrap(),
    };
    let stop = AtomicBool::new(false);
    Trainer::with_task(gpu, Arc::new(Brightness), run, checkpoint, None, &Silent, &stop).unwrap().train().unwrap()
}

#[test]
fn a_task_of_ones_own_is_trained_validated_kept_and_resumed() {
    adapters::on_fastest(|gpu| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        program::idx_folder(&path("data"), 64, 32);
        let whole = train(gpu, &path("data"), &path("whole"), None);
        train(gpu, &path("data"), &path("parts"), Some(13));
        let resumed = train(gpu, &path("data"), &path("parts"), None);
        assert_eq!((whole.best, whole.steps), (resumed.best, resumed.steps));
        let weights = |run: &str| std::fs::read(path(run).join("last.safetensors")).unwrap();
        assert!(weights("whole") == weights("parts"), "a resumed run ends in the same bits");

        let epochs = program::metrics(&path("whole"), "val_error");
        let errors: Vec<f64> = epochs.iter().map(|line| line["val_error"].as_f64().unwrap()).collect();
        let averaged: Vec<f64> = epochs.iter().filter_map(|line| line["ema_error"].as_f64()).collect();
        let lowest = errors.iter().chain(&averaged).copied().fold(f64::INFINITY, f64::min);
        assert_eq!(whole.best, Some(lowest), "the lowest is the best: {epochs:?}");
        // A constant prediction of 0.5 has a mean error of 0.28.
        assert!(lowest < 0.25, "{errors:?}, averaged {averaged:?}");
        let kept = std::fs::read_dir(path("whole").join("top")).unwrap().map(|entry| entry.unwrap().file_name());
        let kept: Vec<String> = kept.map(|name| name.to_string_lossy().into_owned()).collect();
        assert!(kept.len() == 2 && kept.iter().any(|name| name.starts_with(&format!("{lowest:.6}"))), "{kept:?}");
        let html = std::fs::read_to_string(path("whole").join("report.html")).unwrap();
        assert!(html.contains("Mean error") && html.contains("<dt>mean error</dt>"), "{html}");
    });
}
