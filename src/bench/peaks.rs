//! Peak rates of the adapter, with which kernels are compared.
//!
//! Shaders measure both peaks. A software adapter copies at a fraction of memcpy's rate, since it gathers and scatters
//! the vec4 of its lanes one by one. Its other kernels have the same overhead, so the comparison is fair.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::gpu::{self, Dispatch, Gpu};
use crate::kernels::{EACH_WORKGROUP, Kernel, Params, Setting, words};

/// Accumulators per invocation of `bench/fma`, in vec4, and multiply-adds of each accumulator per iteration of the
/// loop.
const CHAINS: usize = 3;
const UNROLLED: usize = 8;
/// 6.4 GFLOP per dispatch: about 0.3 ms on a GPU of 20 TFLOP/s; the launch takes a hundredth of that.
const ITERATIONS: u32 = 64;
const WORKGROUPS: u32 = 8192;
const THREADS: usize = 64;

/// Bytes that are copied: the size of one binding, larger than every cache.
const COPIED_BYTES: u64 = 128 << 20;
/// Vec4 that an invocation copies; 4 are a sixth faster than 1 on lavapipe.
const STRIDES: usize = 4;

/// Least time of a measurement, so that a GPU raises its clock and the host's overhead is negligible.
const LONG_ENOUGH_S: f64 = 0.02;
/// Number of tries. The best one counts, since a peak is the undisturbed rate.
const TRIES: usize = 5;

/// Peak rates of an adapter, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// 10^9 FLOPs a second, two per fused multiply-add, f32, from registers alone.
    pub gflops: f64,
    /// 10^9 bytes a second, read and written, of a copy of 128 MiB.
    pub gb_per_s: f64,
}

/// Number of vec4 in a copy's first stride.
const COPIES: u32 = (COPIED_BYTES / 16) as u32 / STRIDES as u32;

/// The kernels that measure peaks, each with its parameters: multiply-adds and the copy.
pub fn kernels() -> [(Kernel, Params); 2] {
    let fma = Kernel::new("bench/fma");
    let fma = fma.with("chains", Setting::Number(CHAINS)).with("unrolled", Setting::Number(UNROLLED));
    let fma = fma.with("threads", Setting::Number(THREADS));
    let copy = Kernel::new("bench/copy").with("strides", Setting::Number(STRIDES));
    // The chains tend to addend / (1 - factor) = 2, far from -1 and from slow denormals.
    let fma_params = words! { factor: 0.5f32, addend: 1.0f32, never: -1.0f32, iterations: ITERATIONS };
    [(fma, fma_params), (copy, words! { count: COPIES })]
}

impl Peaks {
    /// Measures an adapter. Takes about half a second and 256 MiB of its memory.
    ///
    /// # Errors
    /// If the memory cannot be allocated, or the device fails.
    pub fn measure(gpu: &Gpu) -> Result<Self, gpu::Error> {
        let kernels = kernels();
        let pipelines = gpu.compile(&kernels.each_ref().map(|(kernel, _)| kernel.source()), &|_, _| {})?;
        let params = gpu.allocate_uniform("peaks: parameters", 512)?;
        let [fma_params, copy_params] = kernels.map(|(_, params)| params.bits());
        gpu.upload(&[
            (&params, 0, bytemuck::cast_slice(&fma_params)),
            (&params, 256, bytemuck::cast_slice(&copy_params)),
        ])?;

        let unused = gpu.allocate("peaks: no results", 4 * THREADS as u64)?;
        let ranges = [(&params, 0, 16), (&unused, 0, unused.bytes())];
        let fma = gpu.bind(&pipelines[0], &ranges, [WORKGROUPS, 1, 1])?;
        let per_iteration = 2 * 4 * (CHAINS * UNROLLED) as u64;
        let flops = u64::from(WORKGROUPS) * THREADS as u64 * u64::from(ITERATIONS) * per_iteration;
        let gflops = flops as f64 / shortest_s(gpu, &fma)? / 1e9;

        let [source, destination] =
            ["source", "destination"].map(|what| gpu.allocate(&format!("peaks: {what}"), COPIED_BYTES));
        let (source, destination) = (source?, destination?);
        let ranges = [(&params, 256, 16), (&source, 0, COPIED_BYTES), (&destination, 0, COPIED_BYTES)];
        let copy = gpu.bind(&pipelines[1], &ranges, [COPIES / EACH_WORKGROUP as u32, 1, 1])?;
        let gb_per_s = 2.0 * COPIED_BYTES as f64 / shortest_s(gpu, &copy)? / 1e9;
        Ok(Self { gflops, gb_per_s })
    }

    /// The least time in milliseconds for this work.
    pub fn limit_ms(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.gflops).max(bytes as f64 / self.gb_per_s) / 1e6
    }
}

/// Shortest time of one dispatch in seconds. Each of several tries runs enough dispatches in a row.
fn shortest_s(gpu: &Gpu, dispatch: &Dispatch) -> Result<f64, gpu::Error> {
    let time_s = |count: usize| {
        let started = Instant::now();
        gpu.wait(&gpu.submit(std::iter::repeat_n(dispatch, count))?)?;
        Ok(started.elapsed().as_secs_f64() / count as f64)
    };
    let mut count = 1;
    while time_s(count)? * (count as f64) < LONG_ENOUGH_S {
        count *= 2;
    }
    (0..TRIES).try_fold(f64::INFINITY, |shortest, _| Ok(time_s(count)?.min(shortest)))
}
