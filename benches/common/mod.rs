//! One benchmark with its work, and a line that compares it with the adapter's peaks.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use resnet_rs::bench::{Peaks, median};
use resnet_rs::gpu::{Gpu, GpuOptions};

/// The default adapter and its peaks.
pub(crate) struct Adapter {
    pub(crate) gpu: Gpu,
    pub(crate) peaks: Peaks,
}

impl Adapter {
    pub(crate) fn open() -> Self {
        let gpu = Gpu::new(&GpuOptions::default()).unwrap();
        let peaks = Peaks::measure(&gpu).unwrap();
        println!("{}: peaks {:.1} GFLOP/s, {:.1} GB/s\n", gpu.name(), peaks.gflops, peaks.gb_per_s);
        Self { gpu, peaks }
    }
}

/// The least work of a benchmark.
pub(crate) struct Work {
    pub(crate) flops: u64,
    pub(crate) bytes: u64,
    pub(crate) limit_ms: f64,
}

/// Few samples: a software adapter takes seconds for some.
pub(crate) fn criterion() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(200), Duration::from_secs(1));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measurement).configure_from_args()
}

/// Benchmarks `run_ms`, which does the work once and returns its time in milliseconds. Criterion's throughput is in
/// FLOPs, or in bytes for work without FLOPs.
pub(crate) fn bench(c: &mut Criterion, peaks: &Peaks, id: [&str; 2], work: &Work, mut run_ms: impl FnMut() -> f64) {
    let mut times_ms = Vec::new();
    let mut group = c.benchmark_group(id[0]);
    group.throughput(if work.flops > 0 { Throughput::Elements(work.flops) } else { Throughput::Bytes(work.bytes) });
    group.bench_function(id[1], |b| {
        b.iter_custom(|runs| {
            let ms: Vec<f64> = (0..runs).map(|_| run_ms()).collect();
            times_ms.extend(&ms);
            Duration::from_secs_f64(ms.iter().sum::<f64>() / 1e3)
        });
    });
    group.finish();
    if times_ms.is_empty() {
        return; // filtered out on the command line
    }
    let ms = median(&times_ms);
    let rate = |amount: u64| amount as f64 / ms / 1e6;
    println!(
        "{:24}{:.1} of {:.1} GFLOP/s, {:.1} of {:.1} GB/s, {:.1} % of the limit\n",
        "",
        rate(work.flops),
        peaks.gflops,
        rate(work.bytes),
        peaks.gb_per_s,
        100.0 * work.limit_ms / ms
    );
}
