//! Flags that every command takes, and the device that they choose.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::Error;
use crate::gpu::{AdapterReport, Gpu, GpuOptions, Kept};

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Adapter: its number in `resnet-rs devices`, or a part of its name; of several matches, the fastest kind
    #[arg(long, global = true, value_name = "SELECTOR")]
    device: Option<String>,
    /// Refuse to allocate more GPU memory than this
    #[arg(long, global = true, value_name = "MIB")]
    memory_limit: Option<u32>,
    /// Use the kernels that this file names, from `resnet-rs tune --out`
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "no_tuning")]
    tuning: Option<PathBuf>,
    /// Leave the tuning of this adapter aside
    #[arg(long, global = true)]
    no_tuning: bool,
    /// Compile every kernel anew, and keep none for the next start
    #[arg(long, global = true)]
    no_pipeline_cache: bool,
    /// Print JSON to stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// No messages and no progress, only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// More messages; twice, the time of every kernel's compilation
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

impl Global {
    /// Options for opening the device, from the flags.
    pub(super) fn gpu_options(&self) -> GpuOptions {
        let memory_limit_bytes = self.memory_limit.map(|mib| u64::from(mib) << 20);
        let kept = |off| if off { Kept::Nowhere } else { Kept::InUserFolder };
        GpuOptions {
            device: self.device.clone(),
            memory_limit_bytes,
            pipeline_cache: kept(self.no_pipeline_cache),
            tuning: self.tuning.clone().map_or(kept(self.no_tuning), Kept::At),
            ..GpuOptions::default()
        }
    }

    /// Opens the device.
    pub(super) fn gpu(&self) -> Result<Gpu, Error> {
        self.gpu_with(&self.gpu_options())
    }

    /// Opens the device with the given options, and prints its name.
    pub(super) fn gpu_with(&self, options: &GpuOptions) -> Result<Gpu, Error> {
        let gpu = Gpu::new(options)?;
        if self.quiet {
            return Ok(gpu);
        }
        let AdapterReport { name, backend, device_type, driver, .. } = gpu.report();
        let kind = match device_type.as_str() {
            "DiscreteGpu" => "discrete GPU",
            "IntegratedGpu" => "integrated GPU",
            "VirtualGpu" => "virtual GPU",
            "Cpu" => "CPU",
            other => other,
        };
        eprintln!("adapter: {name} ({backend}, {kind})");
        if self.verbose > 0 {
            eprintln!("driver: {driver}; kernels of family {:?}", gpu.family());
        }
        if device_type == "Cpu" {
            let remedy = gpu.unused_gpu().map_or(String::new(), |remedy| format!("; {remedy}"));
            eprintln!("warning: {name} runs on the CPU, not on a GPU: expect it to be slow{remedy}");
        }
        Ok(gpu)
    }

    /// Returns a function that shows `what DONE/ALL` on stderr when called with the two numbers, until it is dropped.
    /// Shows nothing if stderr is not a terminal. Fits `exec::SessionOptions::progress`.
    pub(super) fn progress(&self, what: &'static str) -> impl Fn(usize, usize) + Sync + use<> {
        let bar = self.bar(what, "{pos}/{len} {per_sec}");
        move |done, all| bar(done as u64, all as u64)
    }

    /// As [`Self::progress`], for bytes. Fits `weights::hub::HubOptions::progress`.
    pub(super) fn progress_in_bytes(&self, what: &'static str) -> impl Fn(u64, u64) + Sync + use<> {
        self.bar(what, "{binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}")
    }

    fn bar(&self, what: &'static str, numbers: &str) -> impl Fn(u64, u64) + Sync + use<> {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {numbers} eta {{eta}}"));
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style.unwrap_or_else(|e| unreachable!("fixed template: {e}")))
            .with_message(what)
            .with_finish(ProgressFinish::AndClear);
        move |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}
