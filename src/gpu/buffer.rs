//! GPU memory, with a count of the allocated bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::device::Shared;
use super::{Error, Gpu};

/// A range of GPU memory. It is freed, and leaves the count, when the last clone is dropped.
#[derive(Clone)]
pub struct Buffer {
    inner: Arc<Allocation>,
}

struct Allocation {
    buffer: wgpu::Buffer,
    shared: Arc<Shared>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.shared.allocated_bytes.fetch_sub(self.buffer.size(), Ordering::Relaxed);
    }
}

impl Buffer {
    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.inner.buffer.size()
    }

    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.inner.buffer
    }
}

impl Gpu {
    /// Allocates memory for shaders to read and write, filled with zeros. `what` names it in errors.
    pub(crate) fn allocate(&self, what: &str, bytes: u64) -> Result<Buffer, Error> {
        self.create(what, bytes, wgpu::BufferUsages::STORAGE)
    }

    /// Allocates memory for uniforms: the small parameter blocks of dispatches.
    pub(crate) fn allocate_uniform(&self, what: &str, bytes: u64) -> Result<Buffer, Error> {
        self.create(what, bytes, wgpu::BufferUsages::UNIFORM)
    }

    fn create(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer, Error> {
        self.check()?;
        let shared = &self.shared;
        let bytes = bytes.max(16);
        if bytes > shared.limits.max_buffer_size {
            return Err(Error::BufferTooLarge {
                what: what.to_owned(),
                bytes,
                adapter: self.name().to_owned(),
                limit: shared.limits.max_buffer_size,
            });
        }
        let allocated = self.allocated_bytes();
        let out_of_memory = |limit: String| Error::OutOfMemory { what: what.to_owned(), bytes, allocated, limit };
        if let Some(limit) = shared.memory_limit_bytes.filter(|&limit| allocated + bytes > limit) {
            return Err(out_of_memory(format!(" and the limit set is {limit}")));
        }
        let scope = shared.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = shared.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size: bytes,
            usage: usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            return Err(out_of_memory(String::new()));
        }
        self.check()?;
        shared.allocated_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Buffer { inner: Arc::new(Allocation { buffer, shared: shared.clone() }) })
    }
}
