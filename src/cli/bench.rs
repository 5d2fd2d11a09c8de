//! `bench`: how fast whole networks run on this adapter, and on others.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{HumanBytes, HumanDuration};

use super::network::NetworkFlags;
use super::scale::positive;
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
/// Every combination of --models, --mode, --precision, --res and --batch is a row, or every workload of a --suite;
/// --json prints each row as a line as soon as it is measured. A workload that does not fit is a row that says so. With
/// --out, DIR holds bench.json and its report: report.html with its charts, bench.csv and bench.md, all complete after
/// each row; the same command resumes an interrupted suite.
///
/// median_ms: a run, from submission to the result in the program's memory; the median of as many runs as are needed to
/// know it to within --spread, or as --seconds allow. gpu_ms: the kernels' own time, where the adapter has timestamps.
/// first_ms: from asking for the device to the first result: opening it, building and planning the network, compiling
/// shaders, uploading weights, one run. Each row opens the device anew and without kept pipelines, so none profits from
/// kernels compiled before unless the driver caches them on disk. gflops: 10^9 FLOPs a second at the median, two FLOPs
/// a multiply-accumulate of convolutions and linear layers; those of a training step are counted in its graph, a little
/// less than three times the forward pass. planned_bytes: GPU memory; what `info` plans for a GPU of 64 compute units
/// may differ in the sums that it cuts into parts.
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
    #[arg(
        long,
        value_enum,
        conflicts_with_all = [
            "models", "res", "batch", "mode", "precision", "recompute", "task", "head", "head_channels",
            "decoder_widths", "output_stride", "classes", "depths", "width",
        ]
    )]
    suite: Option<Suite>,
    /// Names from `resnet-rs models`
    #[arg(
        long,
        value_name = "NAME,..",
        value_delimiter = ',',
        required_unless_present = "suite",
        value_parser = Preset::find
    )]
    models: Vec<&'static Preset>,
    /// Sides of the pictures, px [default: the model's; detect 512, segment 513, depth 480]
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
    #[arg(long, value_name = "SHARE", default_value_t = 0.005, value_parser = share, allow_negative_numbers = true)]
    spread: f64,
    /// Or once its runs have taken so long [default: 10, 2 of the quick suite]
    #[arg(long, value_name = "SECONDS", value_parser = positive, allow_negative_numbers = true)]
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
            let usual = [self.network.res().unwrap_or(preset.res)];
            let res = if self.res.is_empty() { &usual[..] } else { &self.res };
            let (model, config) = (self.network.name(preset), self.network.config(preset)?);
            for (&mode, &precision) in self.mode.iter().flat_map(|mode| self.precision.iter().map(move |p| (mode, p))) {
                for &res in res {
                    workloads.extend(self.batch.iter().map(|&batch| Workload {
                        model: model.clone(),
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
        let mut once: Vec<Workload> = Vec::new();
        for workload in workloads {
            if !once.iter().any(|known| known.key() == workload.key()) {
                once.push(workload);
            }
        }
        Ok(once)
    }

    fn patience(&self) -> Patience {
        let seconds = self.seconds.unwrap_or(if self.suite == Some(Suite::Quick) { 2.0 } else { 10.0 });
        let budget = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Patience { spread: self.spread, budget }
    }

    fn settings(&self, global: &Global) -> Settings {
        let Patience { spread, budget } = self.patience();
        Settings {
            asked: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).skip(1).collect(),
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

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected a share from 0 to 1".into())
}

pub(super) fn run(args: Bench, global: &Global) -> Result<(), Error> {
    match args.command {
        Some(Command::Compare(compare)) => run_compare(&compare, global),
        None => run_suite(&args.asked, global),
    }
}

fn run_suite(asked: &Asked, global: &Global) -> Result<(), Error> {
    let workloads = asked.workloads()?;
    // A network that cannot be built is reported at once, not after minutes of measuring.
    let flops = workloads.iter().map(Workload::flops).collect::<Result<Vec<u64>, _>>()?;
    let wanted = |workload: &&Workload| asked.roofline.is_none_or(|preset| preset.name == workload.model);
    if !workloads.iter().any(|workload| wanted(&workload)) {
        return Err(Error::usage("--roofline names a network that is not measured: name one of those that are".into()));
    }
    // The memory limit applies to the rows; measuring peaks takes 256 MiB.
    let gpu = global.gpu_with(&GpuOptions { memory_limit_bytes: None, ..global.gpu_options() })?;
    let tuning = gpu.tuning().and_then(|tuning| tuning.fingerprint());
    let mut results = Results::new(Machine::of(&gpu)?, Settings { tuning, ..asked.settings(global) });
    drop(gpu);
    if let Some(folder) = &asked.out {
        results = take_up(folder, results, &workloads, global)?;
    }
    if !results.machine.adapter.timestamps && !global.quiet {
        eprintln!("{} has no timestamps: times are the wall clock's alone", results.machine.adapter.name);
    }
    // Every row is a cold start.
    let options = GpuOptions { pipeline_cache: Kept::Nowhere, ..global.gpu_options() };
    let started = Instant::now();
    let mut done = 0;
    for (i, workload) in workloads.iter().enumerate() {
        if results.rows.iter().any(|row| row.key() == workload.key()) {
            continue;
        }
        if !global.quiet {
            let (model, res, batch, mode, precision) = workload.key();
            let left = flops[i..].iter().sum::<u64>() as f64 / done as f64 * started.elapsed().as_secs_f64();
            let left = Duration::try_from_secs_f64(left)
                .map_or(String::new(), |left| format!(", about {} left", HumanDuration(left)));
            let (mode, precision) = (lower(mode), lower(precision));
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
        save(asked, &results)?;
    }
    if asked.out.is_some() && results.machine.adapter.timestamps {
        let ran = |workload: &&Workload| {
            let row = results.rows.iter().find(|row| row.key() == workload.key());
            wanted(workload) && row.is_some_and(|row| row.measured().is_some())
        };
        if let Some(workload) = workloads.iter().find(ran) {
            let compiling = global.progress("compiling kernels");
            match roofline(&options, &results.machine.peaks, workload, &compiling) {
                Ok(roofline) => results.roofline = roofline,
                Err(error) => log::warn!("no roofline of {}: {error}", workload.model),
            }
        }
    }
    results.complete = true;
    save(asked, &results)?;
    if !global.json {
        print(&results.rows)?;
    }
    if let Some(folder) = asked.out.as_ref().filter(|_| !global.quiet) {
        eprintln!("report: {}", folder.join("report.html").display());
    }
    tell_problems(&results.rows)
}

/// Prints why rows did not run. A row that does not fit is a valid result; a row that failed is an error.
fn tell_problems(rows: &[Row]) -> Result<(), Error> {
    for row in rows {
        if let Outcome::DoesNotFit { problem } | Outcome::Failed { problem } = &row.outcome {
            eprintln!("{}, {} px, batch {}: {problem}", row.model, row.res, row.batch);
        }
    }
    match rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed { .. })).count() {
        0 => Ok(()),
        failed => Err(Error::failed(format!("{failed} of {} rows failed", rows.len()))),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("bench.json")
}

/// Resumes an interrupted suite, or refuses a folder that holds other measurements, so that they are not lost.
fn take_up(folder: &Path, new: Results, workloads: &[Workload], global: &Global) -> Result<Results, Error> {
    let path = file(folder);
    if !path.exists() {
        files::create_folder(folder)?;
        return Ok(new);
    }
    let earlier = Results::read(&path)?;
    let other = if earlier.complete {
        Some("complete measurements".to_owned())
    } else if earlier.rows.iter().any(|row| !workloads.iter().any(|workload| workload.key() == row.key())) {
        Some("rows of other networks or batches".to_owned())
    } else {
        earlier.differs_from(&new).map(|what| format!("measurements with another {what}"))
    };
    if let Some(other) = other {
        return Err(Error::failed(format!(
            "{} holds {other}: choose another --out, or remove the file",
            path.display()
        )));
    }
    if !global.quiet {
        eprintln!("going on after {} rows of {}", earlier.rows.len(), path.display());
    }
    Ok(earlier)
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
        measured.map_or_else(|| row.status().replace('-', " "), |m| format!("{:.3}", m.median_ms)),
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
    Ok(write!(io::stdout().lock(), "{}", report.markdown())?)
}
