//! `eval`: evaluates a network on the validation pictures of a data set.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::weights::Source;
use super::{Error, Global, output};
use crate::data::{Broken, Dataset};
use crate::exec::SessionOptions;
use crate::inference::Inference;
use crate::models::Input;
use crate::train::task::{self, Table, Task};
use crate::train::{Evaluation, Measure, Show, evaluate};
use crate::{InferenceOptions, Precision};

/// Evaluate weights on the validation pictures of a data set
#[derive(Args)]
pub(super) struct Eval {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, masks:DIR,
    /// ade20k:DIR, depth:DIR or nyu:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Safetensors file under timm's names, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// Side of the pictures, px [default: the weights']
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// Pictures at a time [default: 64, or fewer if they have more than 256 x 256 px]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Storage of maps and weights; f16 halves their memory
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Also list the K worst mistakes or pictures, and the figures of each class
    #[arg(long, value_name = "K")]
    mistakes: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// The same as `images`, its name in older versions.
    pictures: usize,
    /// Numbers of each class and findings.
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
}

pub(super) fn run(args: Eval, global: &Global) -> Result<(), Error> {
    let trained = args.weights.load(global)?;
    let card = &trained.card;
    let task = task::of_network(card);
    let dataset = Dataset::open_validation(&args.data, task.truth())?;
    let dataset = task
        .as_learnt(card, &args.data, dataset)
        .map_err(|why| Error::failed(format!("{} {why}", trained.path.display())))?;
    if !dataset.passed_over.is_empty() {
        log::warn!("--data {}: passed over {}", args.data, dataset.passed_over);
    }
    let gpu = global.gpu()?;
    let res = args.res.unwrap_or(card.res);
    let batch = args.batch.unwrap_or(usual_batch(res)) as usize;
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let options = InferenceOptions { batch, precision: args.precision, session };
    let mut network = Inference::load(&gpu, &trained, [res as usize; 2], input, task::readings(&task), &options)?;
    drop(compiling);

    let evaluating = global.progress("evaluating");
    let show = Show { batch, size: [res as usize; 2], view: card.view() };
    let go_on = |done, total| {
        evaluating(done, total);
        true
    };
    let (source, mut metric) = (&dataset.val, task.metric(card, args.mistakes));
    let evaluation = evaluate(&mut network, source, show, task.clone(), &mut *metric, go_on)?;
    drop(evaluating);
    let Some(evaluation) = evaluation else { return Ok(()) };
    let findings = args.mistakes.map(|_| metric.findings());
    let (broken, pictures) = (evaluation.broken.clone(), source.len());
    if global.json {
        let pictures = evaluation.images;
        let mut more = metric.by_class(&dataset.classes);
        if let Some(Value::Object(findings)) = findings {
            more.extend(findings);
        }
        output::json(&Answer { evaluation, pictures, more })?;
    } else {
        print(&*task, &evaluation)?;
        if let Some(findings) = findings {
            let damaged = |e| Error::failed(format!("what was found cannot be shown: {e}"));
            for Table { header, rows } in task.tables(&findings, card, &dataset).map_err(damaged)? {
                writeln!(io::stdout())?;
                output::rows(&header, &rows)?;
            }
        }
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

/// Pictures in a batch of an evaluation, from 1 to 64, where each has this side in px. Their pixels together do not
/// exceed those of 64 pictures of 256 x 256 px, unless one alone does.
fn usual_batch(res: u32) -> u32 {
    ((64 << 16) / u64::from(res).pow(2)).clamp(1, 64) as u32
}

fn print(task: &dyn Task, result: &Evaluation) -> Result<(), Error> {
    let known = |measure: &Measure| result.numbers.get(measure.name).filter(|number| !number.is_nan());
    let number = |measure: &Measure| known(measure).map_or("-".to_owned(), |number| measure.text(number));
    let row = |measure: &Measure| [measure.label.to_owned(), number(measure)];
    let mut rows: Vec<[String; 2]> = task.measures().iter().map(row).collect();
    rows.extend(result.numbers.get("loss").map(|loss| ["loss".into(), format!("{loss:.4}")]));
    rows.push(["pictures".into(), result.images.to_string()]);
    rows.push(["images/s".into(), format!("{:.1}", result.images_per_s)]);
    Ok(output::table(["", ""], &rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::PixelCrossEntropy;

    /// A loss takes a limited number of pixels.
    #[test]
    fn the_usual_batch_suits_every_side() {
        assert_eq!([32, 224, 256, 320, 513, 4096].map(usual_batch), [64, 64, 64, 40, 15, 1]);
        let [_, most] = PixelCrossEntropy::MOST;
        assert!((1..=4096).all(|res| (usual_batch(res) * res * res) as usize <= most));
    }
}
