//! How fast a whole network runs.

use std::time::Instant;

use serde::Serialize;

use super::{Prepared, Subject, median, repeat};
use crate::Error;
use crate::gpu::Gpu;

/// One workload's measurement; [`super`] defines the terms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Steady state: milliseconds a run.
    pub median_ms: f64,
    /// Milliseconds to the first answer.
    pub first_ms: f64,
    /// 10^9 FLOPs a second at the median.
    pub gflops: f64,
    /// GPU memory planned, parameters included.
    pub planned_bytes: u64,
    /// FLOPs of one run.
    pub flops: u64,
    /// Runs that the median is taken of.
    pub runs: usize,
    /// Pipelines compiled before the first answer.
    pub pipelines: usize,
}

/// Measures a workload on a device that has run nothing before. `since` is when the device was asked for; `progress` is
/// told how many of how many pipelines are compiled.
///
/// # Errors
/// If it does not fit the device, or the device fails.
pub fn measure(
    gpu: &Gpu,
    since: Instant,
    prepared: &Prepared,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Row, Error> {
    let mut running = prepared.start(gpu, since, progress)?;
    running.run_ms()?;
    let times_ms = repeat(|| running.run_ms())?;
    let median_ms = median(&times_ms);
    Ok(Row {
        subject: prepared.workload.on(gpu),
        median_ms,
        first_ms: running.first_ms,
        gflops: prepared.flops as f64 / median_ms / 1e6,
        planned_bytes: running.session.plan().bytes.total(),
        flops: prepared.flops,
        runs: times_ms.len(),
        pipelines: running.pipelines,
    })
}
