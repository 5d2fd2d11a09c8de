//! The GPU floor: adapters, device, buffers, pipelines, submission. No other module names wgpu.

mod adapter;
mod buffer;
mod cache;
mod device;
mod frame;
mod hardware;
mod pipeline;
mod queue;
mod staging;
mod tuning;
mod wait;

pub use adapter::{AdapterReport, adapters};
pub use buffer::Buffer;
pub use cache::Kept;
pub use device::{Family, Gpu, GpuOptions, HalfStorage, Target};
pub use frame::Frame;
pub(crate) use pipeline::{Pipeline, Source};
pub(crate) use queue::Dispatch;
pub(crate) use staging::Download;
pub use tuning::Tuning;
pub(crate) use wait::Submission;

use std::path::PathBuf;

/// What can go wrong between the program and the GPU.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no adapter that wgpu can use.
    #[error(
        "no GPU adapter answers: {}",
        hardware::gpu_without_driver().unwrap_or_else(|| {
            "install a Vulkan driver (Debian: apt install libvulkan1 mesa-vulkan-drivers, which also brings a software \
             adapter), or check WGPU_BACKEND if it is set".to_owned()
        })
    )]
    NoAdapter,
    /// No adapter matches what was asked for.
    #[error("no adapter matches {selector:?}; there are {available}. Give the number of one or a part of its name")]
    NoSuchAdapter {
        /// What was asked for.
        selector: String,
        /// Names of all adapters.
        available: String,
    },
    /// The adapter refuses to open.
    #[error("cannot open {adapter}: {reason}. Try another adapter with --device (see resnet-rs devices)")]
    Open {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The register kernels need subgroup operations.
    #[error(
        "{adapter} has no subgroup operations, which the register kernels need; let the program choose the kernels"
    )]
    NoSubgroups {
        /// Name of the adapter.
        adapter: String,
    },
    /// One buffer would exceed what the adapter allows.
    #[error("{what} takes {bytes} bytes in one buffer, {adapter} allows {limit}. Use a smaller batch or resolution")]
    BufferTooLarge {
        /// What the buffer is for.
        what: String,
        /// Its size.
        bytes: u64,
        /// Name of the adapter.
        adapter: String,
        /// The adapter's limit in bytes.
        limit: u64,
    },
    /// The GPU's memory, or the limit set by the user, is used up.
    #[error(
        "out of GPU memory: {what} needs {bytes} bytes, {allocated} are allocated already{limit}. Use a smaller batch \
         or resolution"
    )]
    OutOfMemory {
        /// What the buffer is for.
        what: String,
        /// Its size.
        bytes: u64,
        /// Bytes that this program has allocated.
        allocated: u64,
        /// The limit, where the user set one.
        limit: String,
    },
    /// A shader was refused: a bug in this program or in the driver.
    #[error("shader {name} was refused by {adapter}:\n{message}")]
    Shader {
        /// The shader and its settings.
        name: String,
        /// Name of the adapter.
        adapter: String,
        /// The compiler's words.
        message: String,
    },
    /// The device is gone.
    #[error(
        "{adapter} was lost: {reason}. The driver reset it (a kernel ran too long, the card fell out of power saving, \
         or the driver was updated); start again, with --resume if this was a training run"
    )]
    DeviceLost {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// An application's device grants less than the kernels need.
    #[error(
        "the device on {adapter} was made with {limit} {granted}, {needed} are needed: ask for Gpu::LIMITS when it is \
         made"
    )]
    Limit {
        /// Name of the adapter.
        adapter: String,
        /// The limit, as `wgpu::Limits` calls it.
        limit: &'static str,
        /// What the device grants.
        granted: u64,
        /// What is needed.
        needed: u64,
    },
    /// A texture cannot be used as a picture.
    #[error("the texture {problem}")]
    Frame {
        /// What stands in the way, and what to do.
        problem: String,
    },
    /// A tuning file cannot be used.
    #[error("tuning {} cannot be used: {problem}. Make a new one with resnet-rs tune, or delete it", path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Any other error that wgpu reported.
    #[error("{adapter}: {message}")]
    Device {
        /// Name of the adapter.
        adapter: String,
        /// wgpu's words.
        message: String,
    },
}
