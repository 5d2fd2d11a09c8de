//! `bench.json`: a suite's measurements on one machine. `schemas/bench-1.schema.json` describes it; reports and
//! comparisons read nothing else.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::workload::Key;
use super::{Mode, Peaks};
use crate::files;
use crate::gpu::{AdapterReport, Family, Gpu};
use crate::graph::Precision;

/// Identifies the file, in its first field.
const SCHEMA: &str = "resnet-rs/bench";

/// Version of the schema. It rises when a field changes its meaning or is removed, not when fields are added.
pub const VERSION: u32 = 1;

/// Why a file of measurements cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// It is not a file of this program's `bench`.
    #[error(
        "{} holds no measurements: {problem}. Give a bench.json that `resnet-rs bench --out DIR` wrote",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "{} has version {found} of the schema, this program reads version {VERSION}: {}",
        path.display(), advice(*found)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

fn advice(found: u64) -> &'static str {
    if found > u64::from(VERSION) { "use a newer resnet-rs" } else { "measure again" }
}

/// One machine's measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// `resnet-rs/bench`.
    schema: String,
    /// Version of the schema.
    version: u32,
    /// This program's version.
    pub program: String,
    /// Where it was measured.
    pub machine: Machine,
    /// Settings of the measurement.
    pub settings: Settings,
    /// Whether every row of the suite is there.
    pub complete: bool,
    /// One row per workload.
    pub rows: Vec<Row>,
    /// One network, operation by operation.
    #[serde(default)]
    pub roofline: Option<Roofline>,
}

/// An adapter in its machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name, vendor, driver, backend, limits.
    #[serde(flatten)]
    pub adapter: AdapterReport,
    /// Kernels that run on it.
    pub family: Family,
    /// Operating system.
    pub os: String,
    /// Architecture of the processor.
    pub arch: String,
    /// Peak rates of its shaders, measured.
    pub peaks: Peaks,
}

impl Machine {
    /// Measures the peaks of a device, and describes its machine.
    ///
    /// # Errors
    /// If the device fails.
    pub fn of(gpu: &Gpu) -> Result<Self, crate::Error> {
        let (os, arch) = (std::env::consts::OS.to_owned(), std::env::consts::ARCH.to_owned());
        Ok(Self { adapter: gpu.report().clone(), family: gpu.family(), os, arch, peaks: Peaks::measure(gpu)? })
    }
}

/// How the rows were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The arguments of the command line, from `bench` on.
    pub asked: Vec<String>,
    /// The suite, if one was asked for.
    pub suite: Option<String>,
    /// Classes of the networks.
    pub classes: usize,
    /// Whether training steps recompute activations.
    pub recompute: bool,
    /// Runs of a row end once its median is known to within this share of itself.
    pub target_spread: f64,
    /// Or once they have taken this many seconds.
    pub seconds_a_row: f64,
    /// Most GPU memory that a row may take, if a limit was set.
    pub memory_limit_bytes: Option<u64>,
    /// Fingerprint of the tuning that chose the kernels, if there is one.
    pub tuning: Option<String>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the network.
    pub model: String,
    /// Side of the pictures in pixels.
    pub res: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Inference or a training step.
    pub mode: Mode,
    /// Element type in memory.
    pub precision: Precision,
    /// Learned numbers.
    pub params: u64,
    /// FLOPs of one run.
    pub flops: u64,
    /// GPU memory planned, parameters included.
    pub planned_bytes: u64,
    /// Top-1 on ImageNet, percent, as its authors published it; not measured here.
    pub published_top1: Option<f64>,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a row ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran.
    Measured(Measured),
    /// Its plan or one buffer exceeds the memory or the limits.
    DoesNotFit {
        /// The reason, in words.
        problem: String,
    },
    /// The device or the driver failed.
    Failed {
        /// The error's message.
        problem: String,
    },
}

/// Measured figures of a workload; [`super`] defines the terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Steady state: milliseconds a run by the wall clock.
    pub median_ms: f64,
    /// Half the 95 % confidence interval of the median, as a share of it.
    pub spread: f64,
    /// Number of runs behind the median.
    pub runs: usize,
    /// Milliseconds of the kernels by the adapter's own clock; `None` without timestamps.
    pub gpu_ms: Option<f64>,
    /// Milliseconds to the first answer.
    pub first_ms: f64,
    /// Pipelines compiled before it.
    pub pipelines: usize,
    /// 10^9 FLOPs a second at the median.
    pub gflops: f64,
    /// `gflops` as a share of the adapter's measured peak.
    pub peak_share: f64,
    /// Pictures a second at the median.
    pub images_per_s: f64,
    /// GPU memory that the driver reserved: the plan, staging, and unused parts of the driver's blocks.
    pub allocated_bytes: u64,
}

/// Spread above which a row is noisy.
pub const NOISY: f64 = 0.05;

impl Measured {
    /// Whether the median may be off by more than [`NOISY`].
    pub fn is_noisy(&self) -> bool {
        self.spread > NOISY
    }
}

impl Row {
    /// Its measured figures, if it ran.
    pub fn measured(&self) -> Option<&Measured> {
        match &self.outcome {
            Outcome::Measured(measured) => Some(measured),
            _ => None,
        }
    }

    /// Identifies its workload.
    pub fn key(&self) -> Key<'_> {
        (&self.model, self.res, self.batch, self.mode, self.precision)
    }

    /// How it ended, by the file's word for it.
    pub fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Measured(_) => "measured",
            Outcome::DoesNotFit { .. } => "does-not-fit",
            Outcome::Failed { .. } => "failed",
        }
    }
}

/// One network's operations by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Name of the network.
    pub model: String,
    /// Side of the pictures in pixels.
    pub res: usize,
    /// Pictures in a batch.
    pub batch: usize,
    /// Inference or a training step.
    pub mode: Mode,
    /// Element type in memory.
    pub precision: Precision,
    /// Kinds of operations.
    pub kinds: Vec<Kind>,
}

/// All operations of a kind in one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    /// Name of the kind.
    pub op: String,
    /// Number of operations.
    pub nodes: usize,
    /// Milliseconds of all by the adapter's own clock.
    pub ms: f64,
    /// FLOPs of all.
    pub flops: u64,
    /// Bytes that must be moved for all.
    pub least_bytes: u64,
}

impl Results {
    /// Nothing measured yet.
    pub fn new(machine: Machine, settings: Settings) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let (schema, version) = (SCHEMA.to_owned(), VERSION);
        Self { schema, version, program, machine, settings, complete: false, rows: Vec::new(), roofline: None }
    }

    /// The first difference in what the figures depend on, if any: rows of two such files do not belong in one.
    pub fn differs_from(&self, other: &Self) -> Option<&'static str> {
        let ((a, b), (here, there)) = ((self, other), (&self.settings, &other.settings));
        let adapter = |of: &Self| AdapterReport { index: 0, ..of.machine.adapter.clone() };
        let same = [
            ("version of this program", a.program == b.program),
            ("adapter or driver", adapter(a) == adapter(b)),
            ("suite", here.suite == there.suite),
            ("number of classes", here.classes == there.classes),
            ("--recompute", here.recompute == there.recompute),
            ("--spread", here.target_spread == there.target_spread),
            ("--seconds", here.seconds_a_row == there.seconds_a_row),
            ("--memory-limit", here.memory_limit_bytes == there.memory_limit_bytes),
            ("tuning", here.tuning == there.tuning),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that is missing, damaged, of another version, or not this program's.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = files::read_text(path)?;
        let foreign = |problem: String| Error::Foreign { path: path.to_owned(), problem };
        // The version is read first: other fields may have changed.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| foreign(e.to_string()))?;
        if value["schema"] != SCHEMA {
            return Err(foreign(format!("its field schema is not {SCHEMA:?}")));
        }
        match value["version"].as_u64() {
            Some(found) if found != u64::from(VERSION) => Err(Error::Version { path: path.to_owned(), found }),
            Some(_) => serde_json::from_value(value).map_err(|e| foreign(e.to_string())),
            None => Err(foreign("its field version is no number".into())),
        }
    }

    /// Writes the file, replacing an older one atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).unwrap_or_else(|e| unreachable!("plain data: {e}"));
        Ok(files::write_atomic(path, |file| writeln!(file, "{text}"))?)
    }
}
