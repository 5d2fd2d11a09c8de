//! `predict`: what a network says of pictures or of a tensor, by the task that it was trained for.

mod answers;
mod drawings;
mod tensor;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use self::answers::{Shown, Wishes};
use self::drawings::Drawings;
use super::weights::{Source, Untold};
use super::{Error, Global, output};
use crate::data::pictures_in;
use crate::exec::SessionOptions;
use crate::gpu::Gpu;
use crate::models::{Config, Layers, Preset, Purpose};
use crate::weights::{Told, TrainedNetwork};
use crate::{Depths, Detections, InferenceOptions, Precision, Prediction, Predictor, Segmentation, files};

/// Classify pictures, find objects in them, segment them or estimate their depths, as the weights were trained to do
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
    /// How many classes of a classifier to print for each picture [default: 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// The least score of a detector's objects, 0 to 1 [default: 0.5]
    #[arg(long, value_name = "S", value_parser = score)]
    score: Option<f32>,
    /// Draw boxes, masks or depths into PNG files in this folder; masks also as class numbers, depths in millimetres
    #[arg(long, value_name = "DIR", conflicts_with = "tensor")]
    out: Option<PathBuf>,
    #[command(flatten)]
    untold: Untold,
    /// Storage of maps and weights; f16 halves their memory
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Pictures at a time [default: of a classifier up to 8, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: Option<u32>,
    /// Instead of pictures, a safetensors file with a standardised NCHW tensor `input`
    #[arg(long, value_name = "FILE", requires = "written", conflicts_with_all = ["images", "res", "labels", "batch"])]
    tensor: Option<PathBuf>,
    /// Where to write all outputs for the tensor by name, as safetensors: logits, boxes, depth
    #[arg(long, value_name = "FILE", requires = "tensor", group = "written")]
    outputs: Option<PathBuf>,
    /// Where to write the output `logits` alone
    #[arg(long, value_name = "FILE", requires = "tensor", group = "written")]
    logits: Option<PathBuf>,
}

pub(super) fn run(args: Predict, global: &Global) -> Result<(), Error> {
    let told = Told { architecture: args.model.is_some(), classes: args.labels.is_some(), ..args.untold.told() };
    // In parallel, since each takes as long as a small network's answer.
    let (network, gpu) = rayon::join(|| args.weights.load_as(global, told), || global.gpu());
    let mut network = network?;
    let purpose = network.card.config.head.purpose();
    args.check(purpose)?;
    args.untold.complete(&mut network)?;
    let card = &mut network.card;
    if let Some(model) = &args.model {
        insist(model, &card.config)?;
    }
    card.res = args.res.unwrap_or(card.res);
    if let Some(path) = &args.labels {
        card.classes = labels(path, card.config.classes)?;
    }
    let gpu = gpu?;
    if let Some(tensor) = &args.tensor {
        return tensor::predict(&args, global, &gpu, &network, tensor);
    }
    match purpose {
        Purpose::Classify => predict_pictures::<Prediction>(&args, global, &gpu, &network),
        Purpose::Detect => predict_pictures::<Detections>(&args, global, &gpu, &network),
        Purpose::Segment => predict_pictures::<Segmentation>(&args, global, &gpu, &network),
        Purpose::Depth => predict_pictures::<Depths>(&args, global, &gpu, &network),
    }
}

/// A score from 0 to 1.
fn score(text: &str) -> Result<f32, String> {
    let score = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
    score.ok_or_else(|| "a score is a number from 0 to 1".to_owned())
}

impl Predict {
    /// Refuses flags that the network has no use for.
    fn check(&self, purpose: Purpose) -> Result<(), Error> {
        use Purpose::{Classify, Depth, Detect, Segment};
        let flags: [(&str, bool, &[Purpose]); 3] = [
            ("--top", self.top.is_some(), &[Classify]),
            ("--score", self.score.is_some(), &[Detect]),
            ("--out", self.out.is_some(), &[Detect, Segment, Depth]),
        ];
        if let Some((flag, _, fitting)) = flags.iter().find(|(_, given, of)| *given && !of.contains(&purpose)) {
            let fitting: Vec<_> = fitting.iter().map(|purpose| format!("a {}", purpose.network())).collect();
            let (fitting, found) = (fitting.join(", "), purpose.network());
            return Err(Error::usage(format!("{flag} is for {fitting}; these weights are those of a {found}")));
        }
        Ok(())
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

fn predict_pictures<A: Shown>(
    args: &Predict,
    global: &Global,
    gpu: &Gpu,
    network: &TrainedNetwork,
) -> Result<(), Error> {
    let paths = pictures(&args.images)?;
    let mut drawings = args.out.as_deref().map(Drawings::new).transpose()?;
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let batch = args.batch.map_or(paths.len().clamp(1, A::BATCH), |batch| batch as usize);
    let options = InferenceOptions { batch, precision: args.precision, session };
    let predictor = A::adjusted(Predictor::new(gpu, network, &options)?, args.score);
    drop(compiling);

    let wishes = Wishes { top: args.top.unwrap_or(5) as usize, score: args.score.unwrap_or(0.5) };
    // Answers on a terminal show the progress already.
    let predicting = (!io::stdout().is_terminal()).then(|| global.progress("predicting"));
    let (mut done, mut unreadable) = (0, 0);
    let told = predictor.answer_files(&paths, |path, answer: Result<A, crate::Error>| {
        done += 1;
        unreadable += usize::from(answer.is_err());
        predicting.iter().for_each(|tell| tell(done, paths.len()));
        match show(path, answer, wishes, drawings.as_mut(), global) {
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

/// The files, and those in folders.
fn pictures(images: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for image in images {
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
    Ok(paths)
}

/// Draws and prints the answer for a picture.
fn show<A: Shown>(
    path: &Path,
    answer: Result<A, crate::Error>,
    wishes: Wishes,
    drawings: Option<&mut Drawings>,
    global: &Global,
) -> Result<(), Error> {
    let image = path.to_string_lossy();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if global.json => {
            return Ok(output::json(&serde_json::json!({ "image": image, "error": error.with_causes() }))?);
        }
        Err(error) => {
            Error::from(error).report();
            return Ok(());
        }
    };
    let written = drawings.map(|drawings| drawings.write(path, &answer, wishes)).transpose()?.unwrap_or_default();
    if !global.json {
        return Ok(output::table([&image, ""], &answer.rows(wishes))?);
    }
    let mut line = answer.fields(wishes);
    line.insert("image".to_owned(), image.into());
    line.extend(written.into_iter().map(|(key, path)| (key.to_owned(), path.to_string_lossy().into())));
    Ok(output::json(&line)?)
}
