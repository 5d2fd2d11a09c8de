//! `predict`: classes of pictures, or logits of a tensor.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use super::weights::Source;
use super::{Error, Global, output};
use crate::data::pictures_in;
use crate::exec::SessionOptions;
use crate::gpu::Gpu;
use crate::inference::{Answer, Inference};
use crate::models::{Config, Input, Layers, Preset};
use crate::weights::{HostTensor, StateDict, TrainedNetwork, timm};
use crate::{Classifier, Guess, InferenceOptions, Precision, Prediction, files};

/// Classify pictures
#[derive(Args)]
pub(super) struct Predict {
    /// Pictures: JPEG, PNG, WebP, GIF, BMP or TIFF; for a folder, all pictures in it and below
    #[arg(value_name = "IMAGE", required_unless_present = "tensor")]
    images: Vec<PathBuf>,
    /// Safetensors file under timm's names, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// Insist on this model, whatever a config.json says [default: recognised from the weights]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Side of the input, px [default: the model's]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// File with the names of the classes, one per line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How many classes to print for each picture
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Storage of maps and weights; f16 halves their memory
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Pictures at a time [default: 8, or as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: Option<u32>,
    /// Instead of pictures, a safetensors file with a standardised NCHW tensor `input`
    #[arg(long, value_name = "FILE", requires = "logits", conflicts_with_all = ["images", "res", "labels", "batch"])]
    tensor: Option<PathBuf>,
    /// Where to write the tensor `logits`
    #[arg(long, value_name = "FILE", requires = "tensor")]
    logits: Option<PathBuf>,
}

pub(super) fn run(args: Predict, global: &Global) -> Result<(), Error> {
    // In parallel, since each takes as long as a small network's answer.
    let (network, gpu) = rayon::join(|| args.weights.load_as(global, args.model.is_some()), || global.gpu());
    let mut network = network?;
    let card = &mut network.card;
    if let Some(model) = &args.model {
        insist(model, &card.config)?;
    }
    card.res = args.res.unwrap_or(card.res);
    if let Some(path) = &args.labels {
        card.classes = labels(path, card.config.classes)?;
    }
    let gpu = gpu?;
    match (&args.tensor, &args.logits) {
        (Some(tensor), Some(logits)) => predict_tensor(&args, global, &gpu, &network, tensor, logits),
        _ => predict_pictures(&args, global, &gpu, &network),
    }
}

fn insist(model: &str, found: &Config) -> Result<(), Error> {
    let preset = Preset::find(model)?;
    if preset.layers.same_tensors(&found.layers) {
        return Ok(());
    }
    let theirs = match (Preset::matching(&found.layers), &found.layers) {
        (Some(theirs), _) => theirs.name.to_owned(),
        (None, Layers::ResNet(net)) => format!("a ResNet with depths {:?} and width {}", net.depths, net.width),
        (None, Layers::EfficientNet(net)) => format!("an EfficientNet of depth {} and width {}", net.depth, net.width),
    };
    Err(Error::failed(format!("the weights are those of {theirs}, not of {model}")))
}

fn labels(path: &Path, classes: usize) -> Result<Vec<String>, Error> {
    let names = files::lines(path)?;
    if names.len() == classes {
        return Ok(names);
    }
    let (file, lines) = (path.display(), names.len());
    Err(Error::failed(format!("{file} has {lines} lines, the network {classes} classes: give one name a line")))
}

fn predict_pictures(args: &Predict, global: &Global, gpu: &Gpu, network: &TrainedNetwork) -> Result<(), Error> {
    let mut paths = Vec::new();
    for image in &args.images {
        if !image.is_dir() {
            paths.push(image.clone());
            continue;
        }
        let found = pictures_in(image)?;
        if found.pictures.is_empty() {
            let seen = if found.passed_over.is_empty() { "nothing" } else { &*found.passed_over.to_string() };
            return Err(Error::failed(format!("{}: no pictures here, but {seen}", image.display())));
        }
        if !found.passed_over.is_empty() {
            log::warn!("{}: passed over {}", image.display(), found.passed_over);
        }
        paths.extend(found.pictures);
    }
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let batch = args.batch.map_or(paths.len().clamp(1, 8), |batch| batch as usize);
    let options = InferenceOptions { batch, precision: args.precision, session };
    let classifier = Classifier::new(gpu, network, &options)?;
    drop(compiling);

    // Answers on a terminal show the progress already.
    let classifying = (!io::stdout().is_terminal()).then(|| global.progress("classifying"));
    let (mut done, mut unreadable) = (0, 0);
    let told = classifier.classify_files(&paths, |path, answer| {
        done += 1;
        unreadable += usize::from(answer.is_err());
        classifying.iter().for_each(|tell| tell(done, paths.len()));
        match print(path, answer, args.top as usize, global) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    })?;
    match told {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) if unreadable > 0 => {
            Err(Error::failed(format!("{unreadable} of {} pictures could not be read", paths.len())))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn print(path: &Path, answer: Result<Prediction, crate::Error>, top: usize, global: &Global) -> Result<(), Error> {
    let top = match answer {
        Ok(prediction) => prediction.top(top),
        Err(error) if global.json => {
            let error = error.with_causes();
            return Ok(output::json(&serde_json::json!({ "image": path.to_string_lossy(), "error": error }))?);
        }
        Err(error) => {
            Error::from(error).report();
            return Ok(());
        }
    };
    if global.json {
        return Ok(output::json(&serde_json::json!({ "image": path.to_string_lossy(), "top": top }))?);
    }
    let row = |g: &Guess| [format!("{:6.2} %", 100.0 * g.probability), g.label.clone()];
    let rows: Vec<[String; 2]> = top.iter().map(row).collect();
    Ok(output::table([&path.display().to_string(), ""], &rows)?)
}

fn predict_tensor(
    args: &Predict,
    global: &Global,
    gpu: &Gpu,
    trained: &TrainedNetwork,
    tensor: &Path,
    logits: &Path,
) -> Result<(), Error> {
    let file = StateDict::read(tensor)?;
    let usable = |t: &&HostTensor| t.shape.len() == 4 && t.shape[1] == 3 && !t.data.is_empty();
    let Some(input) = file.tensors.get("input").filter(usable) else {
        let name = tensor.display();
        return Err(Error::failed(format!(
            "{name}: expected a tensor named input of shape [N, 3, H, W], N, H and W at least 1"
        )));
    };
    let shape @ [n, _, h, w] = [0, 1, 2, 3].map(|d| input.shape[d]);
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let options = InferenceOptions { batch: n, precision: args.precision, session };
    let mut network = Inference::load(gpu, trained, [h, w], Input::Tensor, Answer::Outputs, &options)?;
    drop(compiling);
    let pictures = timm::pictures_from_torch(&input.data, shape);
    let answer = HostTensor { shape: vec![n, trained.card.config.classes], data: network.logits_of_tensor(&pictures)? };
    let result = StateDict { tensors: [("logits".to_owned(), answer)].into(), ..StateDict::default() };
    Ok(result.write(logits)?)
}
