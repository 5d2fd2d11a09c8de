//! `scale`: which ResNet-RS to train for a budget.

use std::io::Write;

use clap::Args;
use indicatif::HumanBytes;

use super::{Error, Global, output};
use crate::bench::scale::{Advice, Budget, Candidate, Cost, Direction, Task, Tried, advise};
use crate::bench::{Mode, Outcome, Patience, Peaks, Workload, measure};
use crate::gpu::{GpuOptions, Kept};
use crate::graph::Precision;
use crate::models::{Layers, Preset, ResNet};

/// Find the ResNet-RS to train for a budget of latency or memory on this adapter
///
/// Follows the paper's section 6: depth where over-fitting can occur, width otherwise, resolution slowly. Candidates
/// are measured one by one until the largest within the budget is found; FLOPs only decide which to try next.
#[derive(Args)]
pub(super) struct Scale {
    /// Most that a run may take
    #[arg(
        long,
        value_name = "MS",
        required_unless_present = "memory_mib",
        value_parser = positive,
        allow_negative_numbers = true
    )]
    latency_ms: Option<f64>,
    /// Most GPU memory that a run may take, as planned
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u32>,
    /// What the budget is for: an answer to a batch, or a training step
    #[arg(long, value_enum, default_value = "infer")]
    mode: Mode,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Storage of maps and weights
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Epochs that it will be trained for
    #[arg(long, value_name = "N", default_value_t = 350, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Pictures that it will be trained on
    #[arg(long, value_name = "N", default_value_t = 1_281_167, value_parser = clap::value_parser!(u64).range(1..))]
    pictures: u64,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    classes: u32,
    /// Side of the pictures, px, if the data fix it
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..=4096))]
    res: Option<u32>,
    /// Largest side of the pictures otherwise, px
    #[arg(
        long,
        value_name = "PX",
        default_value_t = 448,
        conflicts_with = "res",
        value_parser = clap::value_parser!(u32).range(64..=4096)
    )]
    max_res: u32,
}

/// A number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|&ms: &f64| ms > 0.0 && ms.is_finite()).ok_or_else(|| "expected a number above 0".into())
}

pub(super) fn run(args: Scale, global: &Global) -> Result<(), Error> {
    let task = Task {
        mode: args.mode,
        batch: args.batch as usize,
        precision: args.precision,
        classes: args.classes as usize,
        epochs: args.epochs,
        pictures: args.pictures,
        res: args.res.map(|res| res as usize),
        most_res: args.max_res as usize,
    };
    let memory_bytes = args.memory_mib.map(|mib| u64::from(mib) << 20);
    let budget = Budget { latency_ms: args.latency_ms, memory_bytes };
    let gpu = global.gpu_with(&GpuOptions { memory_limit_bytes: None, ..global.gpu_options() })?;
    let peaks = Peaks::measure(&gpu)?;
    drop(gpu);
    let options = GpuOptions { pipeline_cache: Kept::Nowhere, ..global.gpu_options() };
    let advice = advise(&task, &budget, |candidate| {
        if !global.quiet {
            eprintln!("trying {}, {} px", name(candidate), candidate.res);
        }
        cost(&task, candidate, &options, &peaks, global)
    })?;
    if global.json {
        output::json(&advice)?;
    } else {
        print(&task, &budget, &advice)?;
    }
    match advice.chosen {
        Some(_) => Ok(()),
        None => Err(Error::failed("even the smallest network is beyond the budget: raise it".into())),
    }
}

fn cost(
    task: &Task,
    candidate: &Candidate,
    options: &GpuOptions,
    peaks: &Peaks,
    global: &Global,
) -> Result<Cost, Error> {
    let workload = Workload {
        model: name(candidate),
        config: task.config(candidate.depths, candidate.width),
        res: candidate.res,
        batch: task.batch,
        mode: task.mode,
        precision: task.precision,
        recompute: false,
    };
    let compiling = global.progress("compiling kernels");
    let row = measure(options, peaks, &workload, Patience::default(), &compiling)?;
    let planned_bytes = row.planned_bytes;
    match row.outcome {
        Outcome::Measured(measured) => {
            Ok(Cost { ms: Some(measured.median_ms), spread: measured.spread, planned_bytes })
        }
        Outcome::DoesNotFit { .. } => Ok(Cost { ms: None, spread: 0.0, planned_bytes }),
        Outcome::Failed { problem } => {
            eprintln!("failed, and taken to be beyond the budget: {problem}");
            Ok(Cost { ms: None, spread: 0.0, planned_bytes })
        }
    }
}

/// The preset's name, or the flags that build the network.
fn name(candidate: &Candidate) -> String {
    let &Candidate { depths, width, .. } = candidate;
    let layers = Layers::ResNet(ResNet::rs(depths, width));
    match Preset::matching(&layers) {
        Some(preset) => preset.name.to_owned(),
        None => format!("--depths {} --width {width}", depths.map(|d| d.to_string()).join(",")),
    }
}

fn print(task: &Task, budget: &Budget, advice: &Advice) -> Result<(), Error> {
    let row = |Tried { candidate, cost, fits }: &Tried| {
        [
            name(candidate),
            candidate.res.to_string(),
            format!("{:.2}", candidate.flops as f64 / 1e9),
            format!("{:.1}", candidate.params as f64 / 1e6),
            cost.ms.map_or("-".to_owned(), |ms| format!("{ms:.2}")),
            format!("{:.1} %", 100.0 * cost.spread),
            HumanBytes(cost.planned_bytes).to_string(),
            if *fits { "within" } else { "beyond" }.to_owned(),
        ]
    };
    let header = ["network", "px", "GFLOPs", "M params", "ms", "+-", "memory", "budget"];
    output::table(header, &advice.tried.iter().map(row).collect::<Vec<_>>())?;
    let Some(chosen) = &advice.chosen else { return Ok(()) };
    let mut out = std::io::stdout().lock();
    let Task { epochs, pictures, .. } = task;
    let why = match advice.direction {
        Direction::Depth => "so over-fitting can occur, and depth pays more than width",
        Direction::Width => "so over-fitting is not the danger, and width pays more than depth",
    };
    writeln!(out, "\n{epochs} epochs of {pictures} pictures ({} and more would be long): {why}.", advice.long_epochs)?;
    writeln!(out, "The side of the pictures follows FLOPs slowly; what was left of the budget went into it last.")?;
    let within = [
        budget.latency_ms.map(|ms| format!("{ms} ms")),
        budget.memory_bytes.map(|bytes| HumanBytes(bytes).to_string()),
    ];
    let within: Vec<String> = within.into_iter().flatten().collect();
    writeln!(out, "\nThe largest within {}:", within.join(" and "))?;
    let network = name(&chosen.candidate);
    let flags = if network.starts_with("--") { network } else { format!("--model {network}") };
    // The step that was measured.
    let step = match (task.mode, task.precision) {
        (Mode::Infer, _) => String::new(),
        (Mode::Train, Precision::F32) => format!(" --batch {}", task.batch),
        (Mode::Train, Precision::F16) => format!(" --batch {} --precision mixed", task.batch),
    };
    let res = chosen.candidate.res;
    Ok(writeln!(out, "  resnet-rs train {flags} --res {res} --epochs {epochs}{step} --data DATA --out RUN")?)
}
