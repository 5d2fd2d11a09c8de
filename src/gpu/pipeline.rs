//! Compiles WGSL text to a pipeline. The bindings' layout is derived from the shader.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use super::cache::PipelineCache;
use super::{Dispatch, Error, Gpu};

/// A shader's text and the name that errors give it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) wgsl: String,
}

/// A compiled compute shader: entry point `main`, all bindings in group 0.
pub(crate) struct Pipeline {
    name: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Compiles shaders on all cores, each at most once per device. `progress` is called with the number done and the
    /// total.
    ///
    /// llvmpipe only checks them here; see [`Self::warm_up`].
    pub(crate) fn compile(
        &self,
        sources: &[Source],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Arc<Pipeline>>, Error> {
        let started = Instant::now();
        let done = AtomicUsize::new(0);
        let compile = |source: &Source| {
            let (pipeline, ms) = match self.cached(source) {
                Some(pipeline) => (pipeline, None),
                None => {
                    let started = Instant::now();
                    (self.compile_one(source)?, Some(ms_since(started)))
                }
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, sources.len());
            Ok((pipeline, ms))
        };
        // A waiting pool worker runs other jobs meanwhile, and its caller may hold a lock that such a job needs.
        let compiled: Result<Vec<_>, Error> = match rayon::current_thread_index() {
            Some(_) => sources.iter().map(compile).collect(),
            None => sources.par_iter().map(compile).collect(),
        };
        let compiled = compiled?;
        let times = compiled.iter().filter_map(|(pipeline, ms)| Some((pipeline, (*ms)?)));
        if log_times("compiled", times) > 0 {
            log::debug!("all compiled after {:.0} ms", ms_since(started));
            self.shared.pipeline_cache.iter().for_each(PipelineCache::save);
        }
        let pipelines: Vec<_> = compiled.into_iter().map(|(pipeline, _)| pipeline).collect();
        let mut cache = self.shared.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, pipeline) in sources.iter().zip(&pipelines) {
            cache.insert(source.wgsl.clone(), pipeline.clone());
        }
        Ok(pipelines)
    }

    fn cached(&self, source: &Source) -> Option<Arc<Pipeline>> {
        self.shared.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&source.wgsl).cloned()
    }

    fn compile_one(&self, source: &Source) -> Result<Arc<Pipeline>, Error> {
        let refused =
            |message: String| Error::Shader { name: source.name.clone(), adapter: self.name().to_owned(), message };
        let device = &self.shared.device;
        let module = naga::front::wgsl::parse_str(&source.wgsl)
            .map_err(|e| refused(e.emit_to_string_with_path(&source.wgsl, &source.name)))?;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let entries = layout_entries(&module);
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&source.name),
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
        };
        let shader = if self.shared.checked_shaders {
            device.create_shader_module(descriptor)
        } else {
            trusted(device, descriptor)
        };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&source.name),
            layout: Some(&pipeline_layout),
            module: &shader,
            entry_point: Some("main"),
            // Kernels write workgroup memory before they read it, so it need not be zeroed.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.shared.pipeline_cache.as_ref().map(PipelineCache::inner),
        });
        match pollster::block_on(scope.pop()) {
            Some(e) => Err(refused(e.to_string())),
            None => Ok(Arc::new(Pipeline { name: source.name.clone(), pipeline, layout })),
        }
    }

    /// Makes the driver do the work that it defers to a kernel's first dispatch: llvmpipe generates machine code only
    /// then, one kernel after another. Each kernel gets a dispatch without workgroups. Nothing waits for them, so that
    /// the program can read weights meanwhile, unless the times are logged.
    pub(crate) fn warm_up<'a>(&self, dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Result<(), Error> {
        let mut warmed = HashSet::new();
        let first_uses = dispatches.into_iter().filter(|d| warmed.insert(Arc::as_ptr(d.pipeline())));
        let empty: Vec<Dispatch> = first_uses.map(Dispatch::without_workgroups).collect();
        if log::log_enabled!(log::Level::Debug) {
            let times = self.submit_timed(&empty)?;
            log_times("warmed up", empty.iter().map(Dispatch::pipeline).zip(times.into_iter().flatten()));
            return Ok(());
        }
        self.submit(&empty).map(drop)
    }
}

fn ms_since(started: Instant) -> f64 {
    1e3 * started.elapsed().as_secs_f64()
}

/// Logs the slowest kernels, to explain the time to the first answer. Returns the number of kernels.
fn log_times<'a>(done: &str, times: impl Iterator<Item = (&'a Arc<Pipeline>, f64)>) -> usize {
    let mut times: Vec<_> = times.collect();
    times.sort_by(|a, b| b.1.total_cmp(&a.1));
    if let [(slowest, slowest_ms), ..] = times[..] {
        let sum: f64 = times.iter().map(|(_, ms)| ms).sum();
        let name = &slowest.name;
        log::debug!("{done} {} kernels in {sum:.0} ms, the slowest in {slowest_ms:.0} ms: {name}", times.len());
        times.iter().for_each(|(pipeline, ms)| log::trace!("{done} in {ms:.1} ms: {}", pipeline.name));
    }
    times.len()
}

/// A shader without bounds checks or loop guards, which cost up to half of a matrix kernel's time.
#[allow(unsafe_code)]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the shaders are this crate's own. Every kernel guards its indices by the sizes in its parameter block,
    // and the test suite runs each of them with checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn layout_entries(module: &naga::Module) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |(_, variable): (_, &naga::GlobalVariable)| {
        let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
        let ty = match variable.space {
            naga::AddressSpace::Uniform => buffer(wgpu::BufferBindingType::Uniform),
            naga::AddressSpace::Storage { access } => {
                let read_only = !access.contains(naga::StorageAccess::STORE);
                buffer(wgpu::BufferBindingType::Storage { read_only })
            }
            // A frame. Shaders load single texels, so it need not be filterable.
            naga::AddressSpace::Handle => wgpu::BindingType::Texture {
                sample_type: wgpu::TextureSampleType::Float { filterable: false },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
            _ => return None,
        };
        let binding = variable.binding?.binding;
        Some(wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None })
    };
    module.global_variables.iter().filter_map(entry).collect()
}
