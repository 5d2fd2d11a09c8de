//! `bench`: how fast whole networks run on this adapter, and on others.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{HumanBytes, HumanDuration};

use super::network::NetworkFlags;
use super::{Error, Global, output};
use crate::bench::{
    Machine, Mode, Outcome, Patience, Report, Results, Row, Settings, Suite, Workload, measure, roofline,
};
use crate::files;
use crate::gpu::{GpuOptions, Kept};
use crate::graph::Precision;
use crate::models::{self, Preset};

/// Measure how fast whole networks run on this adapter, with random weights and pictures
///
/// Every combination of --models, --mode, --precision, --res and --batch is a row, or every workload of a --suite; --json prints each as a line
/// as soon as it is measured. What does not fit is a row that says so. With --out, DIR holds bench.json, and of it report.html with its
/// charts, bench.csv and bench.md, all of them complete after each row; the same command goes on with an interrupted suite.
///
/// median_ms: a run, from submission to the result in the program's memory: the median of as many runs as it takes to know it to within
/// --spread, or as --seconds allow. gpu_ms: the kernels' own time, where the adapter has timestamps.
/// first_ms: from asking for the device to the first result: opening it, building and planning the network, compiling
/// shaders, uploading weights, one run. Each row opens the device anew and without kept pipelines, so none profits from kernels
/// compiled before unless the driver caches them on disk. gflops: 10^9 FLOPs a second at the median, two FLOPs a multiply-accumulate of
/// convolutions and linear layers; those of a training step are counted in its graph, a little less than three times the
/// forward pass. planned_bytes: GPU memory; what `info` plans for a GPU of 64 compute units may differ in
/// the sums that it cuts into parts.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Subcommand)]
enum Command {
    Compare(Compare),
}

/// Draw several machines' bench.json side by side, with the quotients of the paper's table 3
#[derive(Args)]
struct Compare {
    /// Files that `bench --out` wrote
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Folder for report.html with its charts, bench.csv and bench.md
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct Asked {
    /// A list of workloads: quick takes under a minute on a laptop's GPU, paper hours
    #[arg(long, value_enum, conflicts_with_all = ["models", "res", "batch", "mode", "precision", "recompute", "classes", "depths", "width"])]
    suite: Option<Suite>,
    /// Names from `resnet-rs models`
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', required_unless_present = "suite", value_parser = Preset::find)]
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
    #[arg(long, value_name = "PRECISION,..", value_delimiter = ',', default_value = "f32")]
    precision: Vec<Precision>,
    /// Recompute activations in training steps, as `train --recompute` does
    #[arg(long)]
    recompute: bool,
    #[command(flatten)]
    network: NetworkFlags,
    /// A row ends once its median is known to within this share
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    spread: f64,
    /// Or once its runs have taken so long [default: 10, 2 of the quick suite]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Folder for the measurements and the report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The network among them whose operations the report shows on a roofline [default: the first that ran]
    #[arg(long, value_name = "NAME", requires = "out", value_parser = Preset::find)]
    roofline: Option<&'static Preset>,
}

impl Asked {
    /// The suite's workloads, or every combination in the order of the flags.
    fn workloads(&self) -> Result<Vec<Workload>, models::Error> {
        if let Some(suite) = self.suite {
            return Ok(suite.workloads());
        }
        let mut workloads = Vec::new();
        for preset in &self.models {
            let res = if self.res.is_empty() { &[preset.res][..] } else { &self.res };
            let config = self.network.config(preset)?;
            for (&mode, &precision) in self.mode.iter().flat_map(|mode| self.precision.iter().map(move |p| (mode, p))) {
                for &res in res {
                    workloads.extend(self.batch.iter().map(|&batch| Workload {
                        model: preset.name.to_owned(),
                        config: config.clone(),
                        res: res as usize,
                        batch: batch as usize,
                        mode,
                        precision,
                        recompute: self.recompute,
                    }));
                }
            }
        }
        Ok(workloads)
    }

    fn patience(&self) -> Patience {
        let seconds = self.seconds.unwrap_or(if self.suite == Some(Suite::Quick) { 2.0 } else { 10.0 });
        let budget = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Patience { spread: self.spread, budget }
    }

    fn settings(&self, global: &Global) -> Settings {
        let Patience { spread, budget } = self.patience();
        Settings {
            asked: std::env::args().skip_while(|word| word != "bench").skip(1).collect(),
            suite: self.suite.and_then(|suite| Some(suite.to_possible_value()?.get_name().to_owned())),
            classes: if self.suite.is_some() { 1000 } else { self.network.classes() },
            recompute: self.recompute,
            target_spread: spread,
            seconds_a_row: budget.as_secs_f64(),
            memory_limit_bytes: global.gpu_options().memory_limit_bytes,
            tuning: None,
        }
    }
}

pub(super) fn run(args: Bench, global: &Global) -> Result<(), Error> {
    match args.command {
        Some(Command::Compare(compare)) => run_compare(&compare, global),
        None => run_suite(&args.asked, global),
    }
}

fn run_suite(asked: &Asked, global: &Global) -> Result<(), Error> {
    let workloads = asked.workloads()?;
    // What cannot be built is told at once, not after minutes of measuring.
    let flops = workloads.iter().map(Workload::flops).collect::<Result<Vec<u64>, _>>()?;
    // The limit is for the rows: measuring peaks takes 256 MiB.
    let gpu = global.gpu_with(&GpuOptions { memory_limit_bytes: None, ..global.gpu_options() })?;
    let tuning = gpu.tuning().and_then(|tuning| tuning.fingerprint());
    let settings = Settings { tuning, ..asked.settings(global) };
    let mut results = Results::new(Machine::of(&gpu)?, settings);
    drop(gpu);
    if let Some(folder) = &asked.out {
        take_up(folder, &mut results, global)?;
    }
    // Every row is a first start.
    let options = GpuOptions { pipeline_cache: Kept::Nowhere, ..global.gpu_options() };
    let started = Instant::now();
    let mut done = 0;
    for (i, workload) in workloads.iter().enumerate() {
        if results.rows.iter().any(|row| is_of(row, workload)) {
            continue;
        }
        if !global.quiet {
            let Workload { model, res, batch, .. } = workload;
            let left = flops[i..].iter().sum::<u64>() as f64 / done as f64 * started.elapsed().as_secs_f64();
            let left = Duration::try_from_secs_f64(left)
                .map_or(String::new(), |left| format!(", about {} left", HumanDuration(left)));
            let (mode, precision) = (lower(workload.mode), lower(workload.precision));
            eprintln!("{} of {}: {model}, {res} px, batch {batch}, {mode}, {precision}{left}", i + 1, workloads.len());
        }
        let compiling = global.progress("compiling kernels");
        let row = measure(&options, &results.machine.peaks, workload, asked.patience(), &compiling)?;
        drop(compiling);
        done += flops[i];
        if global.json {
            output::json(&row)?;
        }
        results.rows.push(row);
        results.complete = i + 1 == workloads.len();
        save(asked, &results)?;
    }
    if asked.out.is_some() && results.roofline.is_none() {
        let ran = |workload: &&Workload| {
            let wanted = asked.roofline.is_none_or(|preset| preset.name == workload.model);
            wanted && results.rows.iter().any(|row| is_of(row, workload) && row.measured().is_some())
        };
        if let Some(workload) = workloads.iter().find(ran) {
            let compiling = global.progress("compiling kernels");
            results.roofline = roofline(&options, &results.machine.peaks, workload, &compiling)?;
            drop(compiling);
            save(asked, &results)?;
        }
    }
    if global.json {
        return Ok(());
    }
    print(&results.rows)?;
    for row in &results.rows {
        if let Outcome::DoesNotFit { problem } | Outcome::Failed { problem } = &row.outcome {
            eprintln!("{}, {} px, batch {}: {problem}", row.model, row.res, row.batch);
        }
    }
    if let Some(folder) = asked.out.as_ref().filter(|_| !global.quiet) {
        eprintln!("report: {}", folder.join("report.html").display());
    }
    Ok(())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("bench.json")
}

/// Takes over the rows of a suite that was interrupted, or refuses a folder with other measurements, which are worth keeping.
fn take_up(folder: &Path, results: &mut Results, global: &Global) -> Result<(), Error> {
    let path = file(folder);
    if !path.exists() {
        return Ok(files::create_folder(folder)?);
    }
    let earlier = Results::read(&path)?;
    let key = |r: &Results| (r.machine.adapter.clone(), r.settings.clone());
    if earlier.complete || key(&earlier) != key(results) {
        let what = if earlier.complete {
            "complete measurements"
        } else {
            "measurements of another adapter or with other settings"
        };
        return Err(Error::failed(format!(
            "{} holds {what}: choose another --out, or remove the file",
            path.display()
        )));
    }
    if !global.quiet {
        eprintln!("going on after {} rows of {}", earlier.rows.len(), path.display());
    }
    results.rows = earlier.rows;
    Ok(())
}

fn is_of(row: &Row, workload: &Workload) -> bool {
    let Workload { model, res, batch, mode, precision, .. } = workload;
    (&row.model, row.res, row.batch, row.mode, row.precision) == (model, *res, *batch, *mode, *precision)
}

fn save(asked: &Asked, results: &Results) -> Result<(), Error> {
    let Some(folder) = &asked.out else { return Ok(()) };
    results.write(&file(folder))?;
    Ok(Report::new([results.clone()]).write(folder)?)
}

fn print(rows: &[Row]) -> Result<(), Error> {
    let header = [
        "model",
        "px",
        "batch",
        "mode",
        "precision",
        "median ms",
        "+-",
        "kernels ms",
        "first ms",
        "GFLOP/s",
        "of peak",
        "runs",
        "planned memory",
    ];
    Ok(output::table(header, &rows.iter().map(cells).collect::<Vec<_>>())?)
}

fn cells(row: &Row) -> [String; 13] {
    let measured = row.measured();
    let of = |text: &dyn Fn(&crate::bench::Measured) -> String| measured.map_or("-".to_owned(), text);
    [
        row.model.clone(),
        row.res.to_string(),
        row.batch.to_string(),
        lower(row.mode),
        lower(row.precision),
        measured.map_or_else(|| "does not fit".to_owned(), |m| format!("{:.3}", m.median_ms)),
        of(&|m| format!("{:.1} %{}", 100.0 * m.spread, if m.is_noisy() { " noisy" } else { "" })),
        of(&|m| m.gpu_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}"))),
        of(&|m| format!("{:.0}", m.first_ms)),
        of(&|m| format!("{:.1}", m.gflops)),
        of(&|m| format!("{:.1} %", 100.0 * m.peak_share)),
        of(&|m| m.runs.to_string()),
        HumanBytes(row.planned_bytes).to_string(),
    ]
}

fn lower(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn run_compare(args: &Compare, global: &Global) -> Result<(), Error> {
    let results = args.files.iter().map(|path| Results::read(path)).collect::<Result<Vec<_>, _>>()?;
    let report = Report::new(results);
    if let Some(folder) = &args.out {
        report.write(folder)?;
        if !global.quiet {
            eprintln!("report: {}", folder.join("report.html").display());
        }
    }
    let ratios = report.ratios();
    if global.json {
        return Ok(output::json(&ratios)?);
    }
    print!("{}", report.markdown());
    Ok(())
}
