//! An open device: what it can do, what it has allocated, and whether it is still there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::{self, AdapterReport, Selected};
use super::cache::{Kept, PipelineCache};
use super::pipeline::Pipeline;
use super::staging::Staging;
use super::wait::{Waiter, Watcher};
use super::{Error, Tuning};

/// Which kernels serve the matrix products of convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Registers and subgroup operations only: for CPU adapters, where a barrier costs more than the reads it saves.
    Registers,
    /// Tiles in workgroup memory: for GPUs.
    Tiles,
}

/// How shaders read and write tensors of 16-bit floats. The bytes in memory are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HalfStorage {
    /// As WGSL's `f16`, a feature of most GPUs.
    Native,
    /// Two packed in a `u32`, which every device can convert.
    Packed,
}

/// What kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Which kernels serve the matrix products.
    pub family: Family,
    /// Width of the register kernels' workgroups: at most the smallest subgroup, so that each workgroup is a single
    /// subgroup. CPU adapters number the invocations of both alike.
    pub lanes: usize,
    /// How tensors of 16-bit floats are read and written.
    pub half: HalfStorage,
    /// Whether memory is read and written in 64-bit words. Faster on llvmpipe, which loads one word per lane at a time,
    /// of any width.
    pub by_64: bool,
    /// Storage buffers that a kernel may bind, from WebGPU's default to [`Self::MOST_STORAGE_BUFFERS`].
    pub storage_buffers: usize,
    /// Compute units, or multiprocessors; a guess if the driver does not report them.
    pub compute_units: usize,
}

impl Target {
    /// The most storage buffers that a kernel binds: an update of eight tensors, each with its gradient and its
    /// momentum, by two numbers. Metal has 29 for storage buffers and uniforms together.
    pub const MOST_STORAGE_BUFFERS: usize = 26;

    /// A discrete GPU with 16-bit floats.
    pub const TILES: Self = Self {
        family: Family::Tiles,
        lanes: 1,
        half: HalfStorage::Native,
        by_64: false,
        storage_buffers: Self::MOST_STORAGE_BUFFERS,
        compute_units: DISCRETE_UNITS,
    };
}

/// Assumed compute units of a GPU whose driver does not report them: a mid-range card for discrete GPUs, a good
/// laptop's GPU for others.
const DISCRETE_UNITS: usize = 64;
const INTEGRATED_UNITS: usize = 16;

/// How to open a device.
///
/// ```
/// use resnet_rs::GpuOptions;
///
/// let options = GpuOptions {
///     device: Some("radeon".into()),
///     memory_limit_bytes: Some(2 << 30),
///     ..GpuOptions::default()
/// };
/// ```
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Number of the adapter in [`adapters`](super::adapters), or a part of its name; of several matches, the fastest
    /// kind. If it is `None` or blank, `WGPU_ADAPTER_NAME` is used, else the fastest kind of all adapters.
    pub device: Option<String>,
    /// Kernel family; by default chosen by the adapter's type.
    pub family: Option<Family>,
    /// Whether shaders check every index. For tests: it costs time and only finds bugs of this program.
    pub checked_shaders: bool,
    /// Whether to read 16-bit floats packed in words of 32 or 64 bits even on an adapter with native ones. For tests of
    /// the packed form.
    pub packed_half: bool,
    /// Refuse to allocate more than this many bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Where compiled pipelines are kept, if the backend exports them. Drivers may also keep their own cache.
    pub pipeline_cache: Kept,
    /// Where `resnet-rs tune` keeps the tuning of this adapter and driver.
    pub tuning: Kept,
}

/// A GPU, ready to run networks. Cheap to clone: all clones share one device, which is closed when the last clone, and
/// everything that runs on it, is dropped.
///
/// ```no_run
/// let gpu = resnet_rs::Gpu::new(&resnet_rs::GpuOptions::default())?;
/// println!("{}, {:?} kernels, {:?} bytes", gpu.name(), gpu.family(), gpu.memory_bytes());
/// # Ok::<(), resnet_rs::Error>(())
/// ```
#[derive(Clone)]
pub struct Gpu {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// Declared first, so that its thread ends before the other fields, the device among them, are dropped.
    pub(super) watcher: Watcher,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) report: AdapterReport,
    unused_gpu: Option<String>,
    pub(super) limits: wgpu::Limits,
    pub(super) target: Target,
    pub(super) timestamps: bool,
    pub(super) checked_shaders: bool,
    pub(super) memory_limit_bytes: Option<u64>,
    /// How to open the device again; `None` for one that an application has opened.
    options: Option<GpuOptions>,
    pub(super) allocated_bytes: AtomicU64,
    pub(super) pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    pub(super) pipeline_cache: Option<PipelineCache>,
    tuning: Option<Tuning>,
    pub(super) staging: Staging,
    pub(super) waiter: Waiter,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Gpu {
    /// Opens an adapter.
    ///
    /// ```no_run
    /// use resnet_rs::{Gpu, GpuOptions};
    ///
    /// let fastest = Gpu::new(&GpuOptions::default())?;
    /// let integrated = Gpu::new(&GpuOptions { device: Some("Iris".into()), ..GpuOptions::default() })?;
    /// # Ok::<(), resnet_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no adapter, none matches, the driver refuses, the requested kernel family does not work there, or a
    /// tuning file was named and cannot be used.
    pub fn new(options: &GpuOptions) -> Result<Self, Error> {
        let Selected { report, adapter, unused_gpu } = adapter::select(options.device.as_deref())?;
        let tuning = Tuning::load(&options.tuning, &report)?;
        let cache_path = report.pipeline_cache.as_deref().and_then(|name| options.pipeline_cache.path(name));
        let mut wanted = Self::FEATURES | wgpu::Features::TIMESTAMP_QUERY;
        wanted.set(wgpu::Features::PIPELINE_CACHE, cache_path.is_some());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("resnet-rs"),
            required_features: adapter.features() & wanted,
            required_limits: wanted_limits(&adapter.limits()),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Open { adapter: report.name.clone(), reason: e.to_string() })?;
        if options.family == Some(Family::Registers) && !device.features().contains(wgpu::Features::SUBGROUP) {
            return Err(Error::NoSubgroups { adapter: report.name });
        }
        let cache = cache_path.map(|path| PipelineCache::open(&device, path));
        let gpu = Self::from_parts(report, device, queue, Some(options), cache, tuning, unused_gpu);
        gpu.watch();
        Ok(gpu)
    }

    /// Opens the same adapter again after the device was lost, with nothing allocated. `None` for a device that an
    /// application opened.
    ///
    /// ```no_run
    /// use resnet_rs::{Classifier, Gpu};
    ///
    /// fn again(gpu: &Gpu, weights: &str) -> Result<Classifier, resnet_rs::Error> {
    ///     let gpu = gpu.reopen().transpose()?.unwrap_or_else(|| gpu.clone());
    ///     Classifier::load(&gpu, weights)
    /// }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Gpu::new`].
    pub fn reopen(&self) -> Option<Result<Self, Error>> {
        self.shared.options.as_ref().map(Self::new)
    }

    /// Uses a device that the application has opened. Its error and device-lost handlers are not replaced, and no files
    /// are used: no compiled pipelines, no tuning. Waiting for an answer polls the device, so the application's
    /// callbacks may run in the thread that waits.
    ///
    /// ```no_run
    /// # async fn example(adapter: wgpu::Adapter) -> Result<(), Box<dyn std::error::Error>> {
    /// use resnet_rs::Gpu;
    ///
    /// let (device, queue) = adapter
    ///     .request_device(&wgpu::DeviceDescriptor {
    ///         required_features: adapter.features() & Gpu::FEATURES,
    ///         required_limits: Gpu::LIMITS,
    ///         ..Default::default()
    ///     })
    ///     .await?;
    /// let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the device grants less than [`Self::LIMITS`], as far as kernels depend on them.
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Result<Self, Error> {
        let report = AdapterReport::of(0, adapter);
        check_limits(&report.name, &device.limits())?;
        Ok(Self::from_parts(report, device, queue, None, None, None, None))
    }

    /// Optional features that make networks faster; request those that the adapter has when opening a device for
    /// [`Self::from_wgpu`]. A CPU adapter runs several times as fast with `SUBGROUP`, and faster still with
    /// `SHADER_INT64`; `SHADER_F16` saves the conversion of packed halves.
    pub const FEATURES: wgpu::Features =
        wgpu::Features::SUBGROUP.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SHADER_INT64);

    /// Limits of a device for [`Self::from_wgpu`]: WebGPU's defaults. An application may request more, and less of
    /// limits that concern drawing.
    pub const LIMITS: wgpu::Limits = wgpu::Limits::defaults();

    fn from_parts(
        report: AdapterReport,
        device: wgpu::Device,
        queue: wgpu::Queue,
        opened_with: Option<&GpuOptions>,
        pipeline_cache: Option<PipelineCache>,
        tuning: Option<Tuning>,
        unused_gpu: Option<String>,
    ) -> Self {
        let options = opened_with.cloned().unwrap_or_default();
        let subgroups = device.features().contains(wgpu::Features::SUBGROUP);
        let by_type = if report.device_type == "Cpu" && subgroups { Family::Registers } else { Family::Tiles };
        // Eight lanes are the widest SIMD registers that a CPU adapter uses.
        let lanes = (report.subgroup_size[0] as usize).clamp(1, 8);
        let native_half = device.features().contains(wgpu::Features::SHADER_F16) && !options.packed_half;
        let half = if native_half { HalfStorage::Native } else { HalfStorage::Packed };
        let family = options.family.unwrap_or(by_type);
        let by_64 = family == Family::Registers
            && !options.packed_half
            && device.features().contains(wgpu::Features::SHADER_INT64);
        let of_its_kind = if report.device_type == "DiscreteGpu" { DISCRETE_UNITS } else { INTEGRATED_UNITS };
        let compute_units = report.compute_units.map_or(of_its_kind, |units| units as usize);
        let limits = device.limits();
        let storage_buffers = (limits.max_storage_buffers_per_shader_stage as usize).min(Target::MOST_STORAGE_BUFFERS);
        let shared = Shared {
            limits,
            timestamps: device.features().contains(wgpu::Features::TIMESTAMP_QUERY),
            target: Target { family, lanes, half, by_64, storage_buffers, compute_units },
            checked_shaders: options.checked_shaders,
            memory_limit_bytes: options.memory_limit_bytes,
            options: opened_with.cloned(),
            allocated_bytes: AtomicU64::new(0),
            pipelines: Mutex::default(),
            pipeline_cache,
            tuning,
            staging: Staging::default(),
            waiter: Waiter { device: device.clone(), shared: opened_with.is_none() },
            watcher: Watcher::default(),
            failure: Arc::default(),
            report,
            unused_gpu,
            device,
            queue,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Bytes that may be allocated: the limit that was set, or else the device's memory; `None` if neither is known.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.shared.memory_limit_bytes.or(self.shared.report.memory_bytes)
    }

    /// Keeps errors that wgpu reports asynchronously, for the next call to return.
    fn watch(&self) {
        let keep_first = |failure: &Mutex<Option<Error>>, error: Error| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let (failure, adapter) = (self.shared.failure.clone(), self.name().to_owned());
        self.shared.device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            keep_first(&failure, Error::Device { adapter: adapter.clone(), message: e.to_string() });
        }));
        let (failure, adapter) = (self.shared.failure.clone(), self.name().to_owned());
        self.shared.device.set_device_lost_callback(move |reason, message| {
            let reason = if message.is_empty() { format!("{reason:?}") } else { message };
            // The loss explains whatever errors came before it.
            *failure.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Error::DeviceLost { adapter: adapter.clone(), reason });
        });
    }

    /// The first thing that went wrong on the device, if anything has.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Gives the device up, as a driver reset would: later work fails with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        self.shared.device.destroy();
        // The callback runs from poll; the result only repeats that the device is gone.
        let _ = self.shared.device.poll(wgpu::PollType::Poll);
    }

    /// Name of the adapter.
    pub fn name(&self) -> &str {
        &self.shared.report.name
    }

    /// Everything known of the adapter.
    pub fn report(&self) -> &AdapterReport {
        &self.shared.report
    }

    /// If networks run on a software adapter though the machine has a GPU: which GPU, and how to use it.
    pub fn unused_gpu(&self) -> Option<&str> {
        self.shared.unused_gpu.as_deref()
    }

    /// Kernel family in use.
    pub fn family(&self) -> Family {
        self.shared.target.family
    }

    /// What kernels are written for.
    pub fn target(&self) -> Target {
        self.shared.target
    }

    /// How shaders read and write 16-bit floats.
    pub fn half_storage(&self) -> HalfStorage {
        self.shared.target.half
    }

    /// The tuning in use.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.shared.tuning.as_ref()
    }

    /// Bytes of memory that the driver has reserved for this device: buffers, staging, and unused parts of the driver's
    /// blocks. If the backend does not report it (Metal), buffers alone.
    pub fn reserved_bytes(&self) -> u64 {
        let report = self.shared.device.generate_allocator_report();
        report.map_or_else(|| self.allocated_bytes(), |report| report.total_reserved_bytes)
    }

    /// Bytes of GPU memory in this device's buffers.
    pub fn allocated_bytes(&self) -> u64 {
        self.shared.allocated_bytes.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.shared.report).field("target", &self.shared.target).finish()
    }
}

/// Checks that an application's device grants [`Gpu::LIMITS`], for which kernels and plans are made.
fn check_limits(adapter: &str, granted: &wgpu::Limits) -> Result<(), Error> {
    macro_rules! at_least {
        ($($limit:ident),*) => {
            [$((stringify!($limit), u64::from(granted.$limit), u64::from(Gpu::LIMITS.$limit))),*]
        };
    }
    let limits = at_least![
        max_buffer_size,
        max_storage_buffer_binding_size,
        max_storage_buffers_per_shader_stage,
        max_uniform_buffer_binding_size,
        max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x,
        max_compute_workgroup_size_y,
        max_compute_workgroups_per_dimension
    ];
    match limits.into_iter().find(|(_, granted, needed)| granted < needed) {
        Some((limit, granted, needed)) => Err(Error::Limit { adapter: adapter.to_owned(), limit, granted, needed }),
        None => Ok(()),
    }
}

/// WebGPU's default limits, raised only where this program benefits.
fn wanted_limits(adapter: &wgpu::Limits) -> wgpu::Limits {
    let default = wgpu::Limits::default();
    wgpu::Limits {
        // Slots of a large training step hold whole activations; bindings stay within 128 MiB.
        max_buffer_size: adapter.max_buffer_size.max(default.max_buffer_size).min((2 << 30) - 4),
        max_storage_buffer_binding_size: default
            .max_storage_buffer_binding_size
            .min(adapter.max_storage_buffer_binding_size),
        max_storage_buffers_per_shader_stage: adapter
            .max_storage_buffers_per_shader_stage
            .min(Target::MOST_STORAGE_BUFFERS as u32),
        // The tiled kernels keep 16 x 128 and 16 x 64 numbers: 12 KiB, within the default of 16 KiB.
        max_compute_workgroup_storage_size: default.max_compute_workgroup_storage_size,
        ..default
    }
}
