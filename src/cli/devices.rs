//! `devices`: the adapters of this machine.

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{Error, Global, output};
use crate::gpu::{self, AdapterReport, GpuOptions, Tuning, adapters};

/// List the adapters of this machine
#[derive(Args)]
pub(super) struct Devices {}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    report: AdapterReport,
    /// Whether compiled kernels are kept from an earlier run.
    cached: bool,
    /// Whether a tuning is in use.
    tuned: bool,
}

impl Answer {
    fn new(report: AdapterReport, options: &GpuOptions) -> Self {
        let path = report.pipeline_cache.as_deref().and_then(|name| options.pipeline_cache.path(name));
        // A file named by --tuning applies to one adapter of the list.
        let tuned = matches!(Tuning::load(&options.tuning, &report), Ok(Some(_)));
        Self { report, cached: path.is_some_and(|path| path.exists()), tuned }
    }
}

pub(super) fn run(_: Devices, global: &Global) -> Result<(), Error> {
    let options = global.gpu_options();
    let found: Vec<Answer> = adapters().into_iter().map(|report| Answer::new(report, &options)).collect();
    if found.is_empty() {
        return Err(gpu::Error::NoAdapter.into());
    }
    if global.json {
        return Ok(output::json(&found)?);
    }
    let header = [
        "adapter",
        "backend",
        "type",
        "f16",
        "timestamps",
        "subgroup",
        "units",
        "memory",
        "buffer",
        "binding",
        "workgroup",
        "cached",
        "tuned",
        "driver",
    ];
    Ok(output::table(header, &found.iter().map(row).collect::<Vec<_>>())?)
}

fn row(answer: &Answer) -> [String; 14] {
    let adapter = &answer.report;
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let bytes = |n: u64| HumanBytes(n).to_string();
    let [smallest, largest] = adapter.subgroup_size;
    [
        format!("{}: {}", adapter.index, adapter.name),
        adapter.backend.clone(),
        adapter.device_type.clone(),
        yes(adapter.f16),
        yes(adapter.timestamps),
        if smallest == largest { smallest.to_string() } else { format!("{smallest}-{largest}") },
        adapter.compute_units.map_or("unknown".into(), |units| units.to_string()),
        adapter.memory_bytes.map_or("unknown".into(), bytes),
        bytes(adapter.max_buffer_bytes),
        bytes(adapter.max_binding_bytes),
        bytes(adapter.max_workgroup_bytes.into()),
        yes(answer.cached),
        yes(answer.tuned),
        adapter.driver.clone(),
    ]
}
