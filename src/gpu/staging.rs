//! Transfers to and from GPU memory through rings of mappable buffers, so that the steady state allocates nothing.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use super::wait::{Signal, Submission};
use super::{Buffer, Error, Gpu};

/// Size of one upload buffer. Weights of hundreds of megabytes pass through a few of these.
const CHUNK_BYTES: usize = 4 << 20;
/// Most upload buffers in flight; the next upload waits for the oldest.
const CHUNKS: usize = 4;

/// Mappable buffers for reuse.
pub(super) struct Staging {
    /// Returns upload buffers when the GPU has read them and they are mapped again; `None` for one that could not be
    /// mapped because the device is gone.
    sender: Sender<Option<wgpu::Buffer>>,
    uploads: Mutex<Uploads>,
    reads: Mutex<Vec<wgpu::Buffer>>,
}

struct Uploads {
    created: usize,
    returned: Receiver<Option<wgpu::Buffer>>,
    /// Copies that may be under way, oldest first, and the number of copies before them.
    submitted: VecDeque<Submission>,
    finished: u64,
}

impl Uploads {
    /// Notes that the oldest `count` copies are done.
    fn finish(&mut self, count: u64) {
        for _ in 0..count {
            self.submitted.pop_front();
            self.finished += 1;
        }
    }
}

impl Default for Staging {
    fn default() -> Self {
        let (sender, returned) = channel();
        let uploads = Uploads { created: 0, returned, submitted: VecDeque::new(), finished: 0 };
        Self { sender, uploads: Mutex::new(uploads), reads: Mutex::default() }
    }
}

/// Bytes that are being read back from the GPU.
pub(crate) struct Download {
    gpu: Gpu,
    staging: wgpu::Buffer,
    lengths: Vec<u64>,
    submission: Submission,
    /// Set when the bytes have arrived, or never will.
    arrived: Arc<Signal>,
    /// Whether the watcher waits for it.
    watched: bool,
}

impl Gpu {
    /// Copies bytes into buffers, in queue order: dispatches submitted earlier still see the old contents.
    /// Offsets and lengths must be multiples of 4.
    pub(crate) fn upload(&self, writes: &[(&Buffer, u64, &[u8])]) -> Result<(), Error> {
        // Pieces of at most a chunk are gathered until a chunk is full, so that a step's small inputs share one copy.
        let mut gathered: Vec<(&Buffer, u64, &[u8])> = Vec::new();
        let mut gathered_bytes = 0;
        for &(buffer, offset, bytes) in writes {
            for (i, piece) in bytes.chunks(CHUNK_BYTES).enumerate() {
                if gathered_bytes + piece.len() > CHUNK_BYTES {
                    self.upload_chunk(&std::mem::take(&mut gathered))?;
                    gathered_bytes = 0;
                }
                gathered.push((buffer, offset + (i * CHUNK_BYTES) as u64, piece));
                gathered_bytes += piece.len();
            }
        }
        if gathered.is_empty() { Ok(()) } else { self.upload_chunk(&gathered) }
    }

    fn upload_chunk(&self, pieces: &[(&Buffer, u64, &[u8])]) -> Result<(), Error> {
        self.check()?;
        let staging = self.free_chunk()?;
        let mut encoder = self.encoder();
        let mut at = 0;
        {
            let mapped = staging.slice(..).get_mapped_range_mut();
            let mut view = mapped.map_err(|_| self.lost("its upload buffers are gone"))?;
            for (buffer, offset, bytes) in pieces {
                view.slice(at..at + bytes.len()).copy_from_slice(bytes);
                encoder.copy_buffer_to_buffer(&staging, at as u64, buffer.raw(), *offset, bytes.len() as u64);
                at += bytes.len();
            }
        }
        staging.unmap();
        let submission = self.submit_commands(encoder);
        {
            let uploads = &mut self.lock_uploads();
            uploads.submitted.push_back(submission);
            if uploads.submitted.len() > CHUNKS {
                uploads.finish(1); // its buffer is in use again
            }
        }
        let (sender, returning) = (self.shared.staging.sender.clone(), staging.clone());
        staging.map_async(wgpu::MapMode::Write, .., move |mapped| {
            // A closed channel means that the `Gpu` is dropped and nobody waits.
            let _ = sender.send(mapped.is_ok().then_some(returning));
        });
        self.check()
    }

    fn free_chunk(&self) -> Result<wgpu::Buffer, Error> {
        loop {
            let oldest = {
                let mut uploads = self.lock_uploads();
                match uploads.returned.try_recv() {
                    Ok(Some(buffer)) => return Ok(buffer),
                    Ok(None) => {
                        uploads.created -= 1;
                        return Err(self.lost("its upload buffers cannot be mapped"));
                    }
                    Err(_) if uploads.created < CHUNKS => {
                        uploads.created += 1;
                        return Ok(self.shared.device.create_buffer(&wgpu::BufferDescriptor {
                            label: Some("upload staging"),
                            size: CHUNK_BYTES as u64,
                            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                            mapped_at_creation: true,
                        }));
                    }
                    Err(_) => uploads.submitted.front().cloned().map(|oldest| (uploads.finished, oldest)),
                }
            };
            // The callbacks that return buffers run inside this wait. Only the oldest copy is waited for, not the work
            // behind it.
            match oldest {
                Some((before, oldest)) => {
                    self.wait(&oldest)?;
                    let uploads = &mut self.lock_uploads();
                    // Other threads may have waited for it as well.
                    let newly = (before + 1).saturating_sub(uploads.finished);
                    uploads.finish(newly);
                }
                // Other threads hold the buffers, or one came back just after the wait for it.
                None => {
                    self.poll()?;
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Starts copying ranges `(buffer, offset, length)` back; the copy happens after everything submitted so far.
    pub(crate) fn download(&self, ranges: &[(&Buffer, u64, u64)]) -> Result<Download, Error> {
        self.check()?;
        let total: u64 = ranges.iter().map(|r| r.2).sum();
        let staging = self.read_buffer(total.max(16))?;
        let mut encoder = self.encoder();
        let mut at = 0;
        for &(buffer, offset, length) in ranges {
            encoder.copy_buffer_to_buffer(buffer.raw(), offset, &staging, at, length);
            at += length;
        }
        let submission = self.submit_commands(encoder);
        let arrived = Arc::<Signal>::default();
        let setting = arrived.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |_| setting.set());
        let lengths = ranges.iter().map(|r| r.2).collect();
        Ok(Download { gpu: self.clone(), staging, lengths, submission, arrived, watched: false })
    }

    fn read_buffer(&self, bytes: u64) -> Result<wgpu::Buffer, Error> {
        let mut free = self.shared.staging.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = free.iter().position(|b| b.size() >= bytes) {
            return Ok(free.swap_remove(i));
        }
        free.clear();
        let limit = self.shared.limits.max_buffer_size;
        if bytes > limit {
            let (what, adapter) = ("what is read back at once".to_owned(), self.name().to_owned());
            return Err(Error::BufferTooLarge { what, bytes, adapter, limit });
        }
        let scope = self.shared.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.shared.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back staging"),
            size: bytes.next_power_of_two().min(limit).max(bytes),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            None => Ok(buffer),
            Some(_) => Err(Error::OutOfMemory {
                what: "read-back staging".into(),
                bytes,
                allocated: self.allocated_bytes(),
                limit: String::new(),
            }),
        }
    }

    fn lock_uploads(&self) -> std::sync::MutexGuard<'_, Uploads> {
        self.shared.staging.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Download {
    /// Whether [`Self::wait`] will return at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.arrived.is_set() || self.gpu.poll().is_err() || self.arrived.is_set()
    }

    /// As [`Self::is_ready`]; if not ready, registers the waker to wake.
    pub(crate) fn poll_ready(&mut self, context: &Context<'_>) -> Poll<()> {
        let polled = self.arrived.poll(context);
        if polled.is_pending() && !self.watched {
            let shared = &self.gpu.shared;
            shared.watcher.watch(&shared.waiter, self.submission.clone(), self.arrived.clone());
            self.watched = true;
        }
        polled
    }

    /// Waits for the copy and returns the bytes of each range.
    pub(crate) fn wait(self) -> Result<Vec<Vec<u8>>, Error> {
        let Self { gpu, staging, lengths, submission, arrived, .. } = self;
        gpu.wait_until(&submission, &arrived)?;
        let mut ranges = Vec::with_capacity(lengths.len());
        {
            let mapped = staging.slice(..).get_mapped_range();
            let view = mapped.map_err(|_| gpu.lost("what it computed cannot be read"))?;
            let mut rest: &[u8] = &view;
            for length in lengths {
                let (range, tail) = rest.split_at(length as usize);
                ranges.push(range.to_vec());
                rest = tail;
            }
        }
        staging.unmap();
        gpu.shared.staging.reads.lock().unwrap_or_else(PoisonError::into_inner).push(staging);
        Ok(ranges)
    }
}
