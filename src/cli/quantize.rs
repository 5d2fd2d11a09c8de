//! `quantize`: weights in half the bytes.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use super::export::checked;
use super::weights::Source;
use super::{Error, Global, output};
use crate::files;
use crate::weights::TrainedNetwork;

/// Write weights in half the bytes, checked: kernels and matrices as f16 safetensors under timm's names
///
/// Vectors (biases, batch norm's weights and statistics) stay f32: they are one or two percent of the bytes, and
/// variances span a wider range than f16. A number beyond 65504, f16's largest, is refused. Every command reads such
/// files; kernels compute in f32 either way.
#[derive(Args)]
pub(super) struct Quantize {
    /// Safetensors file to read, f32, f16 or bf16, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// File to write
    #[arg(value_name = "OUT.safetensors")]
    out: PathBuf,
}

pub(super) fn run(args: Quantize, global: &Global) -> Result<(), Error> {
    let out = args.out.display();
    if args.out.extension().is_none_or(|e| e != "safetensors") {
        return Err(Error::usage(format!("{out}: only .safetensors can be written")));
    }
    let TrainedNetwork { path, weights, card } = args.weights.load(global)?;
    if same_file(&path, &args.out) {
        return Err(Error::usage(format!("{out} is what is read, and would be lost: give the result another name")));
    }
    let rounding = checked(&path, weights, &card)?.write_half(&args.out)?;

    let bytes = |path: &Path| files::open(path).map(|(_, bytes)| bytes);
    let (before, after) = (bytes(&path)?, bytes(&args.out)?);
    if global.json {
        return Ok(output::json(&json!({ "bytes_before": before, "bytes_after": after, "rounding": rounding }))?);
    }
    let mut rows =
        vec![["before".into(), HumanBytes(before).to_string()], ["after".into(), HumanBytes(after).to_string()]];
    rows.extend(rounding.map(|largest| {
        ["largest rounding error".into(), format!("{:.1e} of the largest in {}", largest.share, largest.tensor)]
    }));
    Ok(output::table(["", ""], &rows)?)
}

/// Whether both paths lead to one file.
fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
