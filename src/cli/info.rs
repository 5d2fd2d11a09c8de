//! `info`: what a model costs, part by part.

use std::io::{self, Write};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::network::NetworkFlags;
use super::{Error, Global, output};
use crate::graph::Precision;
use crate::graph::plan::Bytes;
use crate::models::{Config, Preset};
use crate::summary::{Part, Summary, inference_bytes, training_bytes};

/// Show a model's layers, parameters, FLOPs and planned memory; needs no GPU
#[derive(Args)]
pub(super) struct Info {
    /// Name from `resnet-rs models`
    #[arg(value_parser = Preset::find)]
    model: &'static Preset,
    /// Side of the pictures, px [default: the model's]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=8192))]
    res: Option<u32>,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Plan the memory of a training step, not that of inference
    #[arg(long)]
    train: bool,
    /// With activations recomputed, as `train --recompute` does
    #[arg(long, requires = "train")]
    recompute: bool,
    /// Storage of maps and weights in inference
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    #[command(flatten)]
    network: NetworkFlags,
}

#[derive(Serialize)]
struct Answer {
    model: &'static str,
    config: Config,
    res: u32,
    batch: u32,
    train: bool,
    recompute: bool,
    precision: Precision,
    #[serde(flatten)]
    summary: Summary,
    planned_bytes: u64,
    planned: Bytes,
}

pub(super) fn run(args: Info, global: &Global) -> Result<(), Error> {
    let config = args.network.config(args.model);
    let res = args.res.unwrap_or(args.model.res);
    let (pictures, size) = (args.batch as usize, [res as usize; 2]);
    let summary = Summary::new(&config, pictures, size)?;
    let planned = match (args.train, args.precision) {
        (false, precision) => inference_bytes(&config, pictures, size, precision)?,
        (true, Precision::F32) => training_bytes(&config, pictures, size, args.recompute)?,
        (true, Precision::F16) => {
            return Err(Error::failed(
                "f16 is for inference, a training step stores f32: leave out --train or --precision".into(),
            ));
        }
    };
    let Info { model: &Preset { name: model, .. }, batch, train, recompute, precision, .. } = args;
    let planned_bytes = planned.total();
    let answer = Answer { model, config, res, batch, train, recompute, precision, summary, planned_bytes, planned };
    if global.json { Ok(output::json(&answer)?) } else { Ok(print(&answer)?) }
}

fn print(answer: &Answer) -> io::Result<()> {
    let Answer { summary, planned, .. } = answer;
    let total = Part {
        name: "total",
        blocks: summary.parts.iter().map(|p| p.blocks).sum(),
        output: Vec::new(),
        params: summary.params,
        macs: summary.macs,
        activation_bytes: summary.activation_bytes,
    };
    let rows: Vec<_> = summary.parts.iter().chain([&total]).map(row).collect();
    output::table(["part", "blocks", "output", "parameters", "MACs", "activations"], &rows)?;

    let bytes = |n: u64| HumanBytes(n).to_string();
    let memory = [
        ("parameters", planned.parameters),
        ("running statistics, momenta", planned.state),
        ("inputs, outputs", planned.own),
        ("activations, gradients, scratch", planned.slots),
        ("  the most alive at once", planned.live_peak),
        ("total", answer.planned_bytes),
    ];
    let mut out = io::stdout().lock();
    writeln!(out, "\nFLOPs       {:.3} G, two a multiply-accumulate", summary.flops as f64 / 1e9)?;
    writeln!(out, "\nplanned memory, {}", if answer.train { "a training step" } else { "inference" })?;
    memory.iter().try_for_each(|(kind, n)| writeln!(out, "  {kind:32} {:>11}", bytes(*n)))
}

fn row(part: &Part) -> [String; 6] {
    [
        part.name.to_owned(),
        if part.blocks == 0 { String::new() } else { part.blocks.to_string() },
        part.output.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "),
        HumanCount(part.params).to_string(),
        HumanCount(part.macs).to_string(),
        HumanBytes(part.activation_bytes).to_string(),
    ]
}
