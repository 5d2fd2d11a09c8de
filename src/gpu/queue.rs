//! Dispatches, and handing them to the GPU.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::pipeline::Pipeline;
use super::{Buffer, Error, Gpu};

/// One launch of a kernel with everything bound.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
}

/// A point in the queue's order that can be waited for.
#[derive(Clone)]
pub(crate) struct Submission(wgpu::SubmissionIndex);

impl Gpu {
    /// Binds ranges `(buffer, offset, length)` of memory to a kernel's bindings 0, 1, 2, ...
    pub(crate) fn bind(
        &self,
        pipeline: &Arc<Pipeline>,
        ranges: &[(&Buffer, u64, u64)],
        workgroups: [u32; 3],
    ) -> Result<Dispatch, Error> {
        let entries: Vec<_> = (0..)
            .zip(ranges)
            .map(|(binding, &(buffer, offset, length))| {
                let size = wgpu::BufferSize::new(length);
                let range = wgpu::BufferBinding { buffer: buffer.raw(), offset, size };
                wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) }
            })
            .collect();
        let bindings = self.shared.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        });
        self.check()?;
        Ok(Dispatch { pipeline: pipeline.clone(), bindings, workgroups })
    }

    /// Submits dispatches that run one after another.
    pub(crate) fn submit<'a>(&self, dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Result<Submission, Error> {
        self.check()?;
        let mut encoder = self.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for dispatch in dispatches {
                dispatch.record(&mut pass);
            }
        }
        let submission = self.shared.queue.submit([encoder.finish()]);
        self.check()?;
        Ok(Submission(submission))
    }

    /// Runs dispatches, each in a pass of its own (Apple GPUs write timestamps nowhere else), and returns each one's time
    /// in milliseconds; `None` if the adapter has no timestamps.
    pub(crate) fn submit_timed(&self, dispatches: &[Dispatch]) -> Result<Option<Vec<f64>>, Error> {
        if !self.shared.timestamps {
            let submission = self.submit(dispatches)?;
            self.wait(&submission)?;
            return Ok(None);
        }
        let device = &self.shared.device;
        let mut times_ms = Vec::with_capacity(dispatches.len());
        // A query set holds 4096 queries, two a dispatch.
        for group in dispatches.chunks(2048) {
            let count = 2 * group.len() as u32;
            let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("kernel times"),
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let ticks = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("kernel times"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let read = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("kernel times"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = self.encoder();
            for (i, dispatch) in group.iter().enumerate() {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &queries,
                        beginning_of_pass_write_index: Some(2 * i as u32),
                        end_of_pass_write_index: Some(2 * i as u32 + 1),
                    }),
                });
                dispatch.record(&mut pass);
            }
            encoder.resolve_query_set(&queries, 0..count, &ticks, 0);
            encoder.copy_buffer_to_buffer(&ticks, 0, &read, 0, u64::from(count) * 8);
            let submission = self.shared.queue.submit([encoder.finish()]);
            read.map_async(wgpu::MapMode::Read, .., |_| {});
            self.wait_for(Some(submission))?;
            let view = read.slice(..).get_mapped_range().map_err(|e| self.device_error(&e))?;
            let ticks: &[[u64; 2]] = bytemuck::cast_slice(&view);
            let period_ns = f64::from(self.shared.queue.get_timestamp_period());
            times_ms.extend(ticks.iter().map(|[start, end]| end.saturating_sub(*start) as f64 * period_ns / 1e6));
        }
        Ok(Some(times_ms))
    }

    /// Waits until a submission has run.
    pub(crate) fn wait(&self, submission: &Submission) -> Result<(), Error> {
        self.wait_for(Some(submission.0.clone()))
    }

    pub(super) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), Error> {
        let poll = || self.shared.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        // Where the driver loses the device meanwhile, wgpu tells the callback, and then panics.
        let waited = catch_unwind(AssertUnwindSafe(poll));
        self.check()?;
        let waited = waited.unwrap_or_else(|panic| resume_unwind(panic));
        waited.map(|_| ()).map_err(|e| self.device_error(&e))
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.shared.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// An error of wgpu's, unless the device is gone, which explains it better.
    pub(super) fn device_error(&self, error: &dyn std::error::Error) -> Error {
        let fallback = Error::Device { adapter: self.name().to_owned(), message: error.to_string() };
        self.check().err().unwrap_or(fallback)
    }
}

impl Dispatch {
    pub(super) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The same launch with nothing to do.
    pub(super) fn without_workgroups(&self) -> Self {
        Self { workgroups: [0; 3], ..self.clone() }
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}
