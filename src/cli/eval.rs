//! `eval`: how a network does on the validation pictures of a data set.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::weights::Source;
use super::{Error, Global, output};
use crate::data::{Broken, ClassMatch, Dataset, match_classes};
use crate::exec::SessionOptions;
use crate::inference::Inference;
use crate::models::Input;
use crate::train::{Evaluation, Findings, Mistake, evaluate, inspect};
use crate::{InferenceOptions, Precision};

/// Evaluate weights on the validation pictures of a data set
#[derive(Args)]
pub(super) struct Eval {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or shards:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Safetensors file under timm's names, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// Side of the pictures, px [default: the weights']
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// Pictures at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Storage of maps and weights; f16 halves their memory
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Also tell the K worst mistakes, and which classes are taken for which
    #[arg(long, value_name = "K")]
    mistakes: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(flatten)]
    findings: Option<Findings>,
}

pub(super) fn run(args: Eval, global: &Global) -> Result<(), Error> {
    let trained = args.weights.load(global)?;
    let card = &trained.card;
    let dataset = Dataset::open_validation(&args.data)?;
    let dataset = match match_classes(&card.classes, card.config.classes, &dataset.classes) {
        ClassMatch::Same => dataset,
        ClassMatch::ByName(labels) => {
            let classes = dataset.classes.len();
            log::warn!("the {classes} classes of --data {} are matched with the network's by name", args.data);
            dataset.relabelled(&labels, card.classes.clone())
        }
        ClassMatch::ByNumber(how) => {
            log::warn!("{how}");
            dataset
        }
        ClassMatch::Different(why) => {
            let (weights, data) = (trained.path.display(), &args.data);
            return Err(Error::failed(format!("{weights} is for other classes than --data {data}: {why}")));
        }
    };
    // The network may know more classes than the data has.
    let name = |class: usize| card.classes.get(class).or(dataset.classes.get(class)).cloned();
    let classes: Vec<String> =
        (0..card.config.classes).map(|class| name(class).unwrap_or_else(|| class.to_string())).collect();
    if !dataset.passed_over.is_empty() {
        log::warn!("--data {}: passed over {}", args.data, dataset.passed_over);
    }
    let gpu = global.gpu()?;
    let (batch, res) = (args.batch as usize, args.res.unwrap_or(card.res));
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let options = InferenceOptions { batch, precision: args.precision, session };
    let mut network = Inference::load(&gpu, &trained, [res as usize; 2], input, &options)?;
    drop(compiling);

    let evaluating = global.progress("evaluating");
    let shape = (batch, res, card.view());
    let go_on = |done, total| {
        evaluating(done, total);
        true
    };
    let (source, count) = (&dataset.val, card.config.classes);
    let answer = match args.mistakes {
        None => evaluate(&mut network, source, shape, count, go_on)?.map(|evaluation| (evaluation, None)),
        Some(keep) => inspect(&mut network, source, shape, count, keep, go_on)?.map(|(e, found)| (e, Some(found))),
    };
    drop(evaluating);
    let Some((evaluation, findings)) = answer else { return Ok(()) };
    let (broken, pictures) = (evaluation.broken.clone(), source.len());
    if global.json {
        output::json(&Answer { evaluation, findings })?;
    } else {
        print(&evaluation, findings.as_ref(), &classes)?;
    }
    if broken.is_empty() {
        return Ok(());
    }
    for Broken { picture, problem, .. } in &broken {
        log::warn!("{picture} cannot be read: {problem}");
    }
    Err(Error::failed(format!(
        "{} of {pictures} pictures could not be read; the figures are of the others",
        broken.len()
    )))
}

fn print(result: &Evaluation, findings: Option<&Findings>, classes: &[String]) -> Result<(), Error> {
    let rows = [
        ["top-1".into(), format!("{:.2} %", 100.0 * result.top1)],
        ["top-5".into(), format!("{:.2} %", 100.0 * result.top5)],
        ["loss".into(), format!("{:.4}", result.loss)],
        ["pictures".into(), result.images.to_string()],
        ["images/s".into(), format!("{:.1}", result.images_per_s)],
    ];
    output::table(["", ""], &rows)?;
    let Some(findings) = findings else { return Ok(()) };
    let pair = |(label, predicted, count): (usize, usize, u32)| {
        [count.to_string(), classes[label].clone(), classes[predicted].clone()]
    };
    let pairs: Vec<_> = findings.confused().into_iter().take(20).map(pair).collect();
    let mistake = |m: &Mistake| {
        let probability = format!("{:.1} %", 100.0 * m.probability);
        [m.index.to_string(), classes[m.label].clone(), probability, classes[m.predicted].clone()]
    };
    let mistakes: Vec<_> = findings.mistakes.iter().map(mistake).collect();
    writeln!(io::stdout())?;
    output::table(["pictures", "of class", "taken for"], &pairs)?;
    writeln!(io::stdout())?;
    Ok(output::table(["picture", "class", "probability", "taken for"], &mistakes)?)
}
