//! `devices`: the adapters of this machine.

use clap::Args;
use indicatif::HumanBytes;

use super::{Error, Global, output};
use crate::gpu::{self, AdapterReport, adapters};

/// List the adapters of this machine
#[derive(Args)]
pub(super) struct Devices {}

pub(super) fn run(_: Devices, global: &Global) -> Result<(), Error> {
    let found = adapters();
    if found.is_empty() {
        return Err(gpu::Error::NoAdapter.into());
    }
    if global.json {
        return Ok(output::json(&found)?);
    }
    let header =
        ["adapter", "backend", "type", "f16", "timestamps", "subgroup", "buffer", "binding", "workgroup", "driver"];
    Ok(output::table(header, &found.iter().map(row).collect::<Vec<_>>())?)
}

fn row(adapter: &AdapterReport) -> [String; 10] {
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
        bytes(adapter.max_buffer_bytes),
        bytes(adapter.max_binding_bytes),
        bytes(adapter.max_workgroup_bytes.into()),
        adapter.driver.clone(),
    ]
}
