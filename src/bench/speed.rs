//! How fast a whole network runs.

use std::time::Instant;

use indicatif::HumanBytes;

use super::{
    Kind, Measured, Outcome, Patience, Peaks, Prepared, Profile, Roofline, Row, Workload, median, published_top1,
    repeat, spread,
};
use crate::gpu::{self, Gpu, GpuOptions};
use crate::summary::Summary;
use crate::{Error, exec};

/// Most runs that are timed by the adapter's own clock, if it has one.
const TIMED_RUNS: usize = 5;

/// Measures a workload on a newly opened device, so that its first answer is a cold start. `progress` is called with
/// the number of compiled pipelines and the total. A workload that does not fit or fails on the device is a row as
/// well.
///
/// # Errors
/// If there is no such device, or the network cannot be built.
pub fn measure(
    options: &GpuOptions,
    peaks: &Peaks,
    workload: &Workload,
    patience: Patience,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Row, Error> {
    let prepared = workload.clone().prepare()?;
    let since = Instant::now();
    let gpu = Gpu::new(options)?;
    // The time of this extra planning does not count.
    let planning = Instant::now();
    let planned_bytes = workload.planned_bytes(&gpu)?;
    let since = since + planning.elapsed();
    let available_bytes = gpu.memory_bytes().or_else(|| host_memory_bytes(&gpu));
    let outcome = match available_bytes.filter(|&available| planned_bytes > available) {
        Some(available) => {
            let [planned, available] = [planned_bytes, available].map(HumanBytes);
            Outcome::DoesNotFit { problem: format!("{planned} are planned, {available} are there") }
        }
        None => match run(&gpu, since, &prepared, peaks, patience, progress) {
            Ok(measured) => Outcome::Measured(measured),
            Err(error) if does_not_fit(&error) => Outcome::DoesNotFit { problem: error.to_string() },
            Err(error) => Outcome::Failed { problem: error.to_string() },
        },
    };
    let Workload { model, config, res, batch, mode, precision, .. } = workload.clone();
    Ok(Row {
        published_top1: published_top1(workload),
        params: Summary::new(&config, 1, [res; 2])?.params,
        flops: prepared.flops,
        planned_bytes,
        model,
        res,
        batch,
        mode,
        precision,
        outcome,
    })
}

fn run(
    gpu: &Gpu,
    since: Instant,
    prepared: &Prepared,
    peaks: &Peaks,
    patience: Patience,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Measured, Error> {
    let mut running = prepared.start(gpu, since, progress)?;
    running.run_ms()?;
    let times_ms = repeat(patience, || running.run_ms())?;
    let median_ms = median(&times_ms);
    let gflops = prepared.flops as f64 / median_ms / 1e6;
    Ok(Measured {
        median_ms,
        spread: spread(&times_ms),
        runs: times_ms.len(),
        gpu_ms: gpu_ms(&mut running.session, times_ms.len().min(TIMED_RUNS))?,
        first_ms: running.first_ms,
        pipelines: running.pipelines,
        gflops,
        peak_share: gflops / peaks.gflops,
        images_per_s: 1e3 * prepared.workload.batch as f64 / median_ms,
        allocated_bytes: gpu.reserved_bytes(),
    })
}

/// Median of the kernels' time in a run.
fn gpu_ms(session: &mut exec::Session, runs: usize) -> Result<Option<f64>, exec::Error> {
    let mut times_ms = Vec::new();
    for _ in 0..runs {
        let Some(nodes) = session.run_timed()? else { return Ok(None) };
        times_ms.push(nodes.iter().map(|node| node.milliseconds).sum());
    }
    Ok(Some(median(&times_ms)))
}

/// Whether the memory or a limit of the device is to blame.
fn does_not_fit(error: &Error) -> bool {
    matches!(
        error,
        Error::Exec(exec::Error::TooLarge(_))
            | Error::Exec(exec::Error::Gpu(gpu::Error::OutOfMemory { .. } | gpu::Error::BufferTooLarge { .. }))
            | Error::Gpu(gpu::Error::OutOfMemory { .. } | gpu::Error::BufferTooLarge { .. })
    )
}

/// Memory of the machine, which a CPU adapter shares with all programs, if the system reports it. The driver would
/// grant more, and the system would then kill some process.
fn host_memory_bytes(gpu: &Gpu) -> Option<u64> {
    let text = (gpu.report().device_type == "Cpu").then(|| std::fs::read_to_string("/proc/meminfo").ok())??;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A workload's operations by kind; `None` if the adapter has no timestamps.
///
/// # Errors
/// If it does not fit the device, or the device fails.
pub fn roofline(
    options: &GpuOptions,
    peaks: &Peaks,
    workload: &Workload,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Option<Roofline>, Error> {
    let prepared = workload.clone().prepare()?;
    let since = Instant::now();
    let profile = Profile::measure(&Gpu::new(options)?, since, &prepared, Some(*peaks), progress)?;
    let kind = |line: &super::Line| {
        let (op, nodes, flops, least_bytes) = (line.op.to_owned(), line.nodes, line.flops, line.least_bytes);
        line.ms.map(|ms| Kind { op, nodes, ms, flops, least_bytes })
    };
    let Workload { model, res, batch, mode, precision, .. } = workload.clone();
    let kinds: Option<Vec<Kind>> = profile.kinds.iter().map(kind).collect();
    Ok(kinds.map(|kinds| Roofline { model, res, batch, mode, precision, kinds }))
}
