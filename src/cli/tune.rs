//! `tune`: the fastest kernels for a network on this adapter, measured and kept.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Error, Global, output};
use crate::bench::Mode;
use crate::files;
use crate::gpu::{GpuOptions, Kept, Target, Tuning};
use crate::graph::{Graph, Precision};
use crate::models::Preset;
use crate::summary::{inference, training_step};
use crate::tune::{Layer, Measured, layers};

/// Measure which kernels are the fastest for a network's convolutions on this adapter, and keep the answer
///
/// Later runs on the same adapter and driver use it automatically; --no-tuning ignores it, and deleting the file
/// removes it. A shape that was not measured keeps the program's own choice. Other kernels add up in another order, so
/// results may differ in their last bits.
#[derive(Args)]
pub(super) struct Tune {
    /// Names from `resnet-rs models`, separated by commas
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "resnet-rs-50", value_parser = Preset::find)]
    models: Vec<&'static Preset>,
    /// Side of the pictures, px [default: the model's]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// Pictures in a batch [default: 1 for infer, 32 for train]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// What the network will be used for
    #[arg(long, value_enum, default_value = "infer")]
    mode: Mode,
    /// File to write [default: in the user's cache folder, where later runs find it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answer<'a> {
    adapter: &'a str,
    driver: &'a str,
    file: PathBuf,
    layers: &'a [Measured],
}

pub(super) fn run(args: Tune, global: &Global) -> Result<(), Error> {
    // Most of the compiled kernels will not be used again.
    let gpu = global.gpu_with(&GpuOptions { pipeline_cache: Kept::Nowhere, ..global.gpu_options() })?;
    let Some(path) = args.out.clone().or_else(|| Tuning::user_path(gpu.report())) else {
        return Err(Error::usage("there is no cache folder for this user: give --out".into()));
    };
    let layers = all_layers(&args, gpu.target())?;
    let progress = global.progress("measuring");
    let mut measured = Vec::with_capacity(layers.len());
    for layer in &layers {
        progress(measured.len(), layers.len());
        measured.push(layer.measure(&gpu)?);
    }
    drop(progress);

    // Choices for other shapes stay. Nothing is written before this point, so that Ctrl-C leaves the file unchanged.
    let mut tuning = match path.exists() {
        // A file named with --out may be any file, so errors in it are reported; the one in the user's folder is this
        // command's own.
        true if args.out.is_some() => Tuning::read(&path, gpu.report())?,
        true => Tuning::read(&path, gpu.report()).unwrap_or_else(|e| {
            log::warn!("{e}; it is replaced");
            Tuning::new(gpu.report())
        }),
        false => Tuning::new(gpu.report()),
    };
    for layer in &measured {
        tuning.choices.remove(&layer.shape);
        tuning.choices.extend(layer.choice());
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && args.out.is_none()) {
        files::create_folder(folder)?;
    }
    files::write_atomic(&path, |file| file.write_all(tuning.to_toml().as_bytes()))?;

    if global.json {
        let report = gpu.report();
        return Ok(output::json(&Answer {
            adapter: &report.name,
            driver: &report.driver,
            file: path,
            layers: &measured,
        })?);
    }
    let rows: Vec<_> = measured.iter().flat_map(rows).collect();
    output::table(["convolution", "times", "ms", "GFLOP/s", "", "method"], &rows)?;
    if !global.quiet {
        let (before, after) = totals_ms(&measured);
        let count = measured.iter().filter(|m| m.best > 0).count();
        let all = measured.len();
        eprintln!("{count} of {all} convolutions get another method: {before:.2} ms to {after:.2} ms in all");
        eprintln!("kept in {}", path.display());
    }
    Ok(())
}

/// The distinct convolutions of all models.
fn all_layers(args: &Tune, target: Target) -> Result<Vec<Layer>, Error> {
    let mut all = Vec::new();
    let mut known = HashSet::new();
    for model in &args.models {
        all.extend(layers(&network(args, model)?, target).into_iter().filter(|layer| known.insert(*layer.shape())));
    }
    Ok(all)
}

fn network(args: &Tune, model: &Preset) -> Result<Graph, Error> {
    let config = model.config(1000);
    let size = [args.res.unwrap_or(model.res) as usize; 2];
    let batch = |default| args.batch.unwrap_or(default) as usize;
    Ok(match args.mode {
        Mode::Infer => inference(&config, batch(1), size, Precision::F32)?.graph,
        Mode::Train => training_step(&config, batch(32), size, Precision::F32, false)?.graph,
    })
}

/// A row for each candidate; the first is the default.
fn rows(measured: &Measured) -> Vec<[String; 6]> {
    let row = |(i, timing): (usize, &crate::tune::Timing)| {
        let first = i == 0;
        let mark = match (first, i == measured.best) {
            (true, true) => "default, best",
            (true, false) => "default",
            (false, true) => "best",
            (false, false) => "",
        };
        [
            if first { measured.shape.clone() } else { String::new() },
            if first { measured.count.to_string() } else { String::new() },
            format!("{:.3}", timing.ms),
            format!("{:.1}", measured.flops as f64 / timing.ms / 1e6),
            mark.to_owned(),
            timing.method.clone(),
        ]
    };
    measured.timings.iter().enumerate().map(row).collect()
}

/// Milliseconds of all convolutions of the networks, by default and tuned.
fn totals_ms(measured: &[Measured]) -> (f64, f64) {
    let total = |pick: fn(&Measured) -> usize| measured.iter().map(|m| m.count as f64 * m.timings[pick(m)].ms).sum();
    (total(|_| 0), total(|m| m.best))
}
