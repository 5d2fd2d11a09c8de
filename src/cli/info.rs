//! `info`: the cost of a model, part by part.

use std::io::{self, Write};

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::workload::WorkloadFlags;
use super::{Error, Global, output};
use crate::bench::{Mode, Workload};
use crate::graph::Precision;
use crate::graph::plan::Bytes;
use crate::models::Config;
use crate::summary::{Part, Summary, inference_bytes, training_bytes};

/// Show a model's layers, parameters, FLOPs and planned memory; needs no GPU
///
/// Memory is planned for a GPU of 64 compute units: others differ in the sums that they cut into parts.
#[derive(Args)]
pub(super) struct Info {
    #[command(flatten)]
    workload: WorkloadFlags,
}

#[derive(Serialize)]
struct Answer {
    model: String,
    config: Config,
    res: usize,
    batch: usize,
    train: bool,
    recompute: bool,
    precision: Precision,
    #[serde(flatten)]
    summary: Summary,
    planned_bytes: u64,
    planned: Bytes,
}

pub(super) fn run(args: Info, global: &Global) -> Result<(), Error> {
    let Workload { model, config, res, batch, mode, precision, recompute } = args.workload.workload()?;
    let summary = Summary::new(&config, batch, [res; 2])?;
    let train = mode == Mode::Train;
    let planned = match train {
        false => inference_bytes(&config, batch, [res; 2], precision)?,
        true => training_bytes(&config, batch, [res; 2], precision, recompute)?,
    };
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
