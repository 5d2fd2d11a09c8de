//! `bench`: how fast whole networks run on this adapter.

use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;

use super::network::NetworkFlags;
use super::{Error, Global, output};
use crate::bench::{Mode, Row, Subject, Workload, measure};
use crate::gpu::{Gpu, GpuOptions, Kept};
use crate::graph::Precision;
use crate::models::{self, Preset};

/// Measure how fast whole networks run on this adapter, with random weights and pictures
///
/// Every combination of --models, --mode, --res and --batch is a row; --json prints each as a line as soon as it is measured.
///
/// median_ms: a run, from submission to the result in the program's memory: the median of 3 to 100 runs, about ten seconds.
/// first_ms: from asking for the device to the first result: opening it, building and planning the network, compiling
/// shaders, uploading weights, one run. Each row opens the device anew and without kept pipelines, so none profits from kernels
/// compiled before unless the driver caches them on disk. gflops: 10^9 FLOPs a second at the median, two FLOPs a multiply-accumulate of
/// convolutions and linear layers; those of a training step are counted in its graph, a little less than three times the
/// forward pass. planned_bytes: GPU memory; what `info` plans for a GPU of 64 compute units may differ in
/// the sums that it cuts into parts.
#[derive(Args)]
pub(super) struct Bench {
    /// Names from `resnet-rs models`
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', required = true, value_parser = Preset::find)]
    models: Vec<&'static Preset>,
    /// Sides of the pictures, px [default: the model's]
    #[arg(long, value_name = "PX,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=8192))]
    res: Vec<u32>,
    /// Pictures in a batch
    #[arg(
        long, value_name = "N,..", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=65_536)
    )]
    batch: Vec<u32>,
    /// What to measure: an answer to a batch, a training step
    #[arg(long, value_name = "MODE,..", value_delimiter = ',', default_value = "infer")]
    mode: Vec<Mode>,
    /// Storage of maps and weights; a training step in f16 is one of mixed precision
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Recompute activations in training steps, as `train --recompute` does
    #[arg(long)]
    recompute: bool,
    #[command(flatten)]
    network: NetworkFlags,
}

impl Bench {
    /// Every combination, in the order of the flags.
    fn workloads(&self) -> Result<Vec<Workload>, models::Error> {
        let mut workloads = Vec::new();
        for preset in &self.models {
            let res = if self.res.is_empty() { &[preset.res][..] } else { &self.res };
            let config = self.network.config(preset)?;
            for &mode in &self.mode {
                for &res in res {
                    workloads.extend(self.batch.iter().map(|&batch| Workload {
                        model: preset.name.to_owned(),
                        config: config.clone(),
                        res: res as usize,
                        batch: batch as usize,
                        mode,
                        precision: self.precision,
                        recompute: self.recompute,
                    }));
                }
            }
        }
        Ok(workloads)
    }
}

pub(super) fn run(args: Bench, global: &Global) -> Result<(), Error> {
    let workloads = args.workloads()?;
    // What cannot be built is told at once, not after minutes of measuring.
    workloads.iter().try_for_each(|w| w.flops().map(drop))?;
    let mut rows = Vec::new();
    for (i, workload) in workloads.into_iter().enumerate() {
        if !global.quiet {
            let Workload { model, res, batch, .. } = &workload;
            eprintln!("{model}, {res} px, batch {batch}: {}", mode(workload.mode));
        }
        let prepared = workload.prepare()?;
        let compiling = global.progress("compiling kernels");
        let since = Instant::now();
        // Every row is a first start.
        let options = GpuOptions { pipeline_cache: Kept::Nowhere, ..global.gpu_options() };
        let gpu = if i == 0 { global.gpu_with(&options)? } else { Gpu::new(&options)? };
        let row = measure(&gpu, since, &prepared, &compiling)?;
        drop(compiling);
        if global.json {
            output::json(&row)?;
        } else {
            rows.push(cells(&row));
        }
    }
    if global.json {
        return Ok(());
    }
    let header =
        ["model", "px", "batch", "mode", "precision", "median ms", "first ms", "GFLOP/s", "runs", "planned memory"];
    Ok(output::table(header, &rows)?)
}

fn cells(row: &Row) -> [String; 10] {
    let Subject { model, res, batch, mode: asked, precision, .. } = &row.subject;
    [
        model.clone(),
        res.to_string(),
        batch.to_string(),
        mode(*asked),
        format!("{precision:?}").to_lowercase(),
        format!("{:.3}", row.median_ms),
        format!("{:.0}", row.first_ms),
        format!("{:.1}", row.gflops),
        row.runs.to_string(),
        HumanBytes(row.planned_bytes).to_string(),
    ]
}

fn mode(mode: Mode) -> String {
    format!("{mode:?}").to_lowercase()
}
