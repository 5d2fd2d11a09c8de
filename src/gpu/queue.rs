//! Dispatches and their submission.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::pipeline::Pipeline;
use super::wait::{Signal, Submission};
use super::{Buffer, Error, Frame, Gpu};

/// One launch of a kernel with everything bound.
#[derive(Clone)]
pub(crate) struct Dispatch {
    pipeline: Arc<Pipeline>,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
}

impl Gpu {
    /// Binds ranges `(buffer, offset, length)` of memory to a kernel's bindings 0, 1, 2, ...
    pub(crate) fn bind(
        &self,
        pipeline: &Arc<Pipeline>,
        ranges: &[(&Buffer, u64, u64)],
        workgroups: [u32; 3],
    ) -> Result<Dispatch, Error> {
        self.bind_all(pipeline, ranges.iter().map(range), workgroups)
    }

    /// Binds ranges as [`Self::bind`] does, and a frame to the binding after the last range.
    pub(crate) fn bind_frame(
        &self,
        pipeline: &Arc<Pipeline>,
        ranges: &[(&Buffer, u64, u64)],
        frame: &Frame,
        workgroups: [u32; 3],
    ) -> Result<Dispatch, Error> {
        let view = wgpu::BindingResource::TextureView(frame.view());
        self.bind_all(pipeline, ranges.iter().map(range).chain([view]), workgroups)
    }

    /// Runs work that uses a frame, and turns wgpu's validation errors into [`Error::Frame`]. Only wgpu can check that
    /// the texture belongs to this device, that its view is two-dimensional, and that neither is destroyed. For a
    /// texture of another instance wgpu panics, which is caught here.
    pub(crate) fn with_frame<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let scope = self.shared.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let done = catch_unwind(AssertUnwindSafe(work));
        let refused = pollster::block_on(scope.pop()).map(|e| e.to_string());
        match (done, refused) {
            (Ok(done), None) => done,
            (Ok(_), Some(reason)) => Err(Error::Frame { problem: format!("cannot be read: {reason}") }),
            (Err(_), _) => {
                self.check()?;
                let problem =
                    "cannot be read: it is of another wgpu instance. Open the network on its device, by Gpu::from_wgpu";
                Err(Error::Frame { problem: problem.into() })
            }
        }
    }

    fn bind_all<'b>(
        &self,
        pipeline: &Arc<Pipeline>,
        resources: impl Iterator<Item = wgpu::BindingResource<'b>>,
        workgroups: [u32; 3],
    ) -> Result<Dispatch, Error> {
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
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
        let submission = self.submit_commands(encoder);
        self.check()?;
        Ok(submission)
    }

    /// Runs dispatches, each in a pass of its own (Apple GPUs write timestamps nowhere else), and returns each one's
    /// time in milliseconds; `None` if the adapter has no timestamps.
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
            let submission = self.submit_commands(encoder);
            let mapped = Arc::<Signal>::default();
            let setting = mapped.clone();
            read.map_async(wgpu::MapMode::Read, .., move |_| setting.set());
            self.wait_until(&submission, &mapped)?;
            let view = read.slice(..).get_mapped_range().map_err(|e| self.device_error(&e))?;
            let ticks: &[[u64; 2]] = bytemuck::cast_slice(&view);
            let period_ns = f64::from(self.shared.queue.get_timestamp_period());
            times_ms.extend(ticks.iter().map(|[start, end]| end.saturating_sub(*start) as f64 * period_ns / 1e6));
        }
        Ok(Some(times_ms))
    }

    /// Waits until a submission has run.
    pub(crate) fn wait(&self, submission: &Submission) -> Result<(), Error> {
        let waited = self.shared.waiter.wait(submission);
        self.check()?;
        waited.map_err(|symptom| self.lost(symptom))
    }

    /// Waits for the mapping of a buffer that was requested after a submission; the mapping sets `mapped`.
    pub(super) fn wait_until(&self, submission: &Submission, mapped: &Signal) -> Result<(), Error> {
        let waited = self.shared.waiter.wait_until(submission, mapped);
        self.check()?;
        waited.map_err(|symptom| self.lost(symptom))
    }

    /// Makes wgpu run the callbacks of finished work.
    pub(super) fn poll(&self) -> Result<(), Error> {
        let polled = self.shared.waiter.poll();
        self.check()?;
        polled.map(drop).map_err(|symptom| self.lost(symptom))
    }

    pub(super) fn submit_commands(&self, encoder: wgpu::CommandEncoder) -> Submission {
        let index = self.shared.queue.submit([encoder.finish()]);
        self.shared.waiter.submitted(&self.shared.queue, index)
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.shared.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// The error for a lost device: the driver's reason, or `symptom` if an application received the reason.
    pub(super) fn lost(&self, symptom: &str) -> Error {
        let lost = || Error::DeviceLost { adapter: self.name().to_owned(), reason: symptom.to_owned() };
        self.check().err().unwrap_or_else(lost)
    }

    /// An error from wgpu, or the loss of the device, which explains it better.
    pub(super) fn device_error(&self, error: &dyn std::error::Error) -> Error {
        let fallback = Error::Device { adapter: self.name().to_owned(), message: error.to_string() };
        self.check().err().unwrap_or(fallback)
    }
}

fn range<'b>(&(buffer, offset, length): &(&'b Buffer, u64, u64)) -> wgpu::BindingResource<'b> {
    let size = wgpu::BufferSize::new(length);
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: buffer.raw(), offset, size })
}

impl Dispatch {
    pub(super) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The same launch without workgroups.
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
