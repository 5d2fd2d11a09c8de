//! `export`: weights for other tools.

use std::path::PathBuf;

use clap::Args;

use super::{Error, Global};
use crate::models::{Input, Mode, Network};
use crate::weights::{StateDict, timm};

/// Write weights for other tools, checked: f32 safetensors under timm's names
#[derive(Args)]
pub(super) struct Export {
    /// Safetensors file to read: f32, f16 or bf16
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// File to write
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
}

pub(super) fn run(args: Export, global: &Global) -> Result<(), Error> {
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        return Err(Error::usage(format!("{}: only .safetensors can be written", args.out.display())));
    }
    let mut weights = StateDict::read(&args.weights)?;
    let card = timm::recognise(&args.weights, &weights)?;
    let side = card.res as usize;
    let network = Network::build(&card.config, 1, [side; 2], Input::Tensor, Mode::Inference)?;
    timm::values(&args.weights, &weights, &network.graph)?;
    let counter = weights.metadata.remove("num_batches_tracked");
    weights.metadata = card.to_metadata();
    weights.metadata.extend(counter.map(|count| ("num_batches_tracked".to_owned(), count)));
    weights.write(&args.out)?;
    if !global.quiet {
        eprintln!("{} tensors in {}", weights.tensors.len(), args.out.display());
    }
    Ok(())
}
