//! An epoch of Fashion-MNIST on the command line, compared with PyTorch's from the same weights.
//!
//! Training is chaotic: four runs of PyTorch that differ by rounding alone spread by 0.025 in the mean absolute
//! difference of their losses, 0.004 in the mean, 0.019 smoothed over 50 steps and 0.007 in accuracy. So the curve is
//! compared, not the steps, and the tolerances are somewhat larger than that spread.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/golden.rs"]
mod golden;
#[path = "common/program.rs"]
mod program;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/synth.rs"]
mod synth;
#[path = "common/weights.rs"]
mod weights;

use std::path::Path;

use program::{losses, metrics, succeed};
use resnet_rs::data::{Dataset, TruthKind};
use resnet_rs::inference::{Answer, Inference};
use resnet_rs::models::{Config, Input};
use resnet_rs::weights::TrainedNetwork;
use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions, Precision};

const DATA: &str = "/usr/share/datasets/fashion-mnist";

/// PyTorch's accuracy on the test pictures after the epoch.
const ACCURACY: f64 = 0.8695;

const SMOOTHING: usize = 50;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn an_epoch_follows_pytorch() {
    let golden = golden::load("fashion_mnist_epoch");
    if !Path::new(DATA).exists() {
        eprintln!("skipped: there is no {DATA}; Debian's package dataset-fashion-mnist brings it");
        return;
    }
    let want: Vec<f64> = golden["losses"].iter().map(|&loss| f64::from(loss)).collect();
    let folder = tempfile::tempdir().unwrap();
    let (init, run) = (folder.path().join("init.safetensors"), folder.path().join("run"));
    let small = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
    weights::synthetic(&small, golden::BRANCH_GAMMA).write(&init).unwrap();
    let (init_path, run_path) = (init.display(), run.display());
    succeed(&format!(
        "train --data idx:{DATA} --out {run_path} --init {init_path} --depths 1,1,1,1 --width 0.25 --epochs 1 \
         --batch 64 --lr 0.02 --warmup-steps 100 --schedule cosine --momentum 0.9 --nesterov true --weight-decay 4e-5 \
         --decay all --label-smoothing 0.1 --augment none --shuffle false"
    ));

    let got = losses(&run);
    assert_eq!(got.len(), want.len());
    let difference: Vec<f64> = got.iter().zip(&want).map(|(g, w)| g - w).collect();
    let absolute: Vec<f64> = difference.iter().map(|d| d.abs()).collect();
    let smoothed = difference[100..].windows(SMOOTHING).map(|window| mean(window).abs()).fold(0.0, f64::max);
    let accuracy = metrics(&run, "val_top1")[0]["val_top1"].as_f64().unwrap();
    let figures = [
        ("mean absolute difference of the losses", mean(&absolute), 0.035),
        ("difference of the mean losses", mean(&difference).abs(), 0.01),
        ("largest difference of the smoothed losses", smoothed, 0.04),
        ("difference of the accuracies", (accuracy - ACCURACY).abs(), 0.012),
    ];
    for (what, figure, limit) in figures {
        eprintln!("{what}: {figure:.4}, at most {limit}");
    }
    eprintln!("accuracy {accuracy:.4}, PyTorch {ACCURACY}");
    for (what, figure, limit) in figures {
        assert!(figure <= limit, "{what}: {figure}");
    }
    half_precision_answers_alike(&run.join("last.safetensors"));
}

/// Five hundred of the test pictures: f16 gives each the same class as f32, and no probability differs by 0.01. The
/// weights take half the memory, except vectors.
fn half_precision_answers_alike(weights: &Path) {
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let pictures = Dataset::open(&format!("idx:{DATA}"), TruthKind::Class).unwrap().val;
    let pictures: Vec<_> = (0..500).map(|i| pictures.sample(i).unwrap().image).collect();
    let options = |precision| InferenceOptions { batch: 50, precision, ..InferenceOptions::default() };
    let [full, half] = [Precision::F32, Precision::F16].map(|precision| {
        Classifier::load_with(&gpu, weights, &options(precision)).unwrap().classify_all(&pictures).unwrap()
    });
    let mut largest = 0.0f32;
    for (i, (full, half)) in full.iter().zip(&half).enumerate() {
        assert_eq!(full.top(1)[0].class, half.top(1)[0].class, "picture {i}");
        let pairs = full.probabilities.iter().zip(&half.probabilities);
        largest = pairs.map(|(f, h)| (f - h).abs()).fold(largest, f32::max);
    }
    eprintln!("f16: largest difference of a probability {largest:.4}");
    assert!(largest > 0.0 && largest < 0.01, "{largest}");

    let network = TrainedNetwork::read(weights).unwrap();
    let card = &network.card;
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let [full, half] = [Precision::F32, Precision::F16].map(|precision| {
        let size = [card.res as usize; 2];
        let mut net = Inference::load(&gpu, &network, size, input, Answer::Outputs, &options(precision)).unwrap();
        net.session().plan().bytes.parameters
    });
    eprintln!("f16: weights take {half} bytes of {full}");
    assert!((half as f64) < 0.51 * full as f64, "{half} of {full}");
}
