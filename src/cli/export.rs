//! `export`: weights, or the whole network, for other tools.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;

use super::weights::Source;
use super::{Error, Global};
use crate::files;
use crate::models::{Input, Mode, Network};
use crate::weights::{ModelCard, StateDict, TrainedNetwork, onnx, timm};

/// Write weights for other tools, checked: f32 safetensors under timm's names, or the network as an ONNX file
///
/// An ONNX file (operator set 17) holds the network as it answers, with batch norm folded: `input` [N, 3, H, W],
/// standardised, to `logits` [N, classes], for any N. Its metadata says how pictures are prepared, and the classes'
/// names.
#[derive(Args)]
pub(super) struct Export {
    /// Safetensors file to read, f32, f16 or bf16, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// File to write; its ending chooses the format
    #[arg(value_name = "OUT.safetensors|OUT.onnx")]
    out: PathBuf,
    /// Side of the input, px, which an ONNX file is bound to [default: the model's]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
}

pub(super) fn run(args: Export, global: &Global) -> Result<(), Error> {
    let as_onnx = match args.out.extension().and_then(OsStr::to_str) {
        Some("safetensors") => false,
        Some("onnx") => true,
        _ => {
            let out = args.out.display();
            return Err(Error::usage(format!("{out}: only .safetensors and .onnx can be written")));
        }
    };
    let TrainedNetwork { path, weights, mut card } = args.weights.load(global)?;
    card.res = args.res.unwrap_or(card.res);
    let written = if as_onnx {
        let file = onnx::export((&path, &weights), &card)?;
        files::write_atomic(&args.out, |out| out.write_all(&file))?;
        HumanBytes(file.len() as u64).to_string()
    } else {
        let weights = checked(&path, weights, &card)?;
        weights.write(&args.out)?;
        format!("{} tensors", weights.tensors.len())
    };
    if !global.quiet {
        eprintln!("{written} in {}", args.out.display());
    }
    Ok(())
}

/// Checks that weights are those of the card's network, and puts the card into their metadata.
pub(super) fn checked(path: &Path, mut weights: StateDict, card: &ModelCard) -> Result<StateDict, Error> {
    let network = Network::build(&card.config, 1, [card.res as usize; 2], Input::Tensor, Mode::Inference)?;
    timm::values(path, &weights, &network.graph)?;
    let counter = weights.metadata.remove("num_batches_tracked");
    weights.metadata = card.to_metadata();
    weights.metadata.extend(counter.map(|count| ("num_batches_tracked".to_owned(), count)));
    Ok(weights)
}
