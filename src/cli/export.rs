//! `export`: weights, or the whole network, for other tools.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;

use super::weights::{Source, Untold};
use super::{Error, Global};
use crate::files;
use crate::models::{Input, Mode, Network};
use crate::weights::{ModelCard, StateDict, TrainedNetwork, onnx, timm};

/// Write weights for other tools, checked: f32 safetensors under timm's names, or the network as an ONNX file
///
/// An ONNX file (operator set 17) holds the network as it answers, with batch norm folded, for any number N of
/// pictures. The input is `input` [N, 3, H, W], standardised. The outputs are `logits` [N, classes] of pictures,
/// `logits` [N, classes, H, W] of pixels, or `depth` [N, 1, H/2, W/2] in metres; of a detector `logits` [N, A,
/// classes], `boxes` [N, A, 4] and `anchors` [A, 4]. The metadata says the task, how pictures are prepared, and the
/// classes' names. What flags tell of the weights, the written file keeps.
#[derive(Args)]
pub(super) struct Export {
    /// Safetensors file to read, f32, f16 or bf16, or a repository on the Hugging Face hub
    #[arg(long, value_name = "FILE|hf:OWNER/NAME[@REVISION]")]
    weights: Source,
    /// File to write; its ending chooses the format
    #[arg(value_name = "OUT.safetensors|OUT.onnx")]
    out: PathBuf,
    /// Side of the input, px, or height and width, which an ONNX file is bound to [default: the model's side]
    #[arg(long, value_name = "PX|HxW", value_parser = sides)]
    res: Option<[u32; 2]>,
    /// In an ONNX file of a detector, choose the detections as torchvision does: the best 1000 predictions of each
    /// level with a score above 0.05, less those that overlap a better one of their class by more than half, at most
    /// 300 a picture. Outputs are then `boxes` [M, 4] (left, top, right, bottom in px of the input), `scores`,
    /// `classes` and `pictures` (the index in the batch) of the M detections of all pictures together
    #[arg(long)]
    with_nms: bool,
    /// Epsilon of the backbone's batch norms, at least 0, where the weights were trained with another than this
    /// network's: 0 for the RetinaNet that torchvision released. The written file keeps it
    #[arg(long, value_name = "EPS")]
    bn_eps: Option<f32>,
    #[command(flatten)]
    untold: Untold,
}

/// A side in px, for both sides, or a height and a width.
fn sides(text: &str) -> Result<[u32; 2], String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let wrong = || "expected a side, or HEIGHTxWIDTH, each from 1 to 4096 px".to_owned();
    Ok([side(height).ok_or_else(wrong)?, side(width).ok_or_else(wrong)?])
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
    if args.with_nms && !as_onnx {
        return Err(Error::usage(format!("{}: --with-nms is for .onnx files alone", args.out.display())));
    }
    let mut network = args.weights.load_as(global, args.untold.told())?;
    args.untold.complete(&mut network)?;
    let TrainedNetwork { path, weights, mut card } = network;
    card.config.bn_eps = args.bn_eps.or(card.config.bn_eps);
    if let Some([height, width]) = args.res {
        if height != width && !as_onnx {
            return Err(Error::usage(format!("{}: --res must be one side here", args.out.display())));
        }
        card.res = height;
    }
    let written = if as_onnx {
        let size = args.res.map(|sides| sides.map(|side| side as usize));
        let file = onnx::export((&path, &weights), &card, &onnx::Options { size, with_nms: args.with_nms })?;
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
