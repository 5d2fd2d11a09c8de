//! `eval`: how a network does on the validation pictures of a data set.

use std::path::PathBuf;

use clap::Args;

use super::{Error, Global, output};
use crate::data::Dataset;
use crate::exec::SessionOptions;
use crate::models::Input;
use crate::train::evaluate;
use crate::weights::{StateDict, timm};
use crate::{Inference, InferenceOptions, Precision};

/// Evaluate weights on the validation pictures of a data set
#[derive(Args)]
pub(super) struct Eval {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or shards:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Safetensors file under timm's names
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Side of the pictures, px [default: the weights']
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// Pictures at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Storage of maps and weights; f16 halves their memory
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
}

pub(super) fn run(args: Eval, global: &Global) -> Result<(), Error> {
    let weights = StateDict::read(&args.weights)?;
    let card = timm::recognise(&args.weights, &weights)?;
    let dataset = Dataset::open(&args.data)?;
    if dataset.classes.len() != card.config.classes {
        let (of_weights, of_data) = (card.config.classes, dataset.classes.len());
        let name = args.weights.display();
        return Err(Error::failed(format!(
            "{name} tells {of_weights} classes apart, --data {} has {of_data}",
            args.data
        )));
    }
    let gpu = global.gpu()?;
    let (batch, res) = (args.batch as usize, args.res.unwrap_or(card.res));
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let compiling = global.progress("compiling kernels");
    let session = SessionOptions { progress: Some(&compiling), ..SessionOptions::default() };
    let options = InferenceOptions { batch, precision: args.precision, session };
    let weights = (args.weights.as_path(), &weights);
    let mut network = Inference::load(&gpu, weights, &card.config, [res as usize; 2], input, &options)?;
    drop(compiling);

    let evaluating = global.progress("evaluating");
    let shape = (batch, res, card.crop_pct);
    let go_on = |done, total| {
        evaluating(done, total);
        true
    };
    let result = evaluate(&mut network, &dataset.val, shape, card.config.classes, go_on)?;
    drop(evaluating);
    let Some(result) = result else { return Ok(()) };
    if global.json {
        return Ok(output::json(&result)?);
    }
    let rows = [
        ["top-1".into(), format!("{:.2} %", 100.0 * result.top1)],
        ["top-5".into(), format!("{:.2} %", 100.0 * result.top5)],
        ["loss".into(), format!("{:.4}", result.loss)],
        ["pictures".into(), result.images.to_string()],
        ["images/s".into(), format!("{:.1}", result.images_per_s)],
    ];
    Ok(output::table(["", ""], &rows)?)
}
