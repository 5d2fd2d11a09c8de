//! From WGSL text to a compiled pipeline. The bindings' layout is read off the shader itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use rayon::prelude::*;

use super::{Error, Gpu};

/// A shader's text and the name that errors give it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) wgsl: String,
}

/// A compiled compute shader: entry point `main`, all bindings in group 0.
pub(crate) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Compiles shaders on all cores, each at most once per device. `progress` is told how many of how many are done.
    pub(crate) fn compile(
        &self,
        sources: &[Source],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Arc<Pipeline>>, Error> {
        let done = AtomicUsize::new(0);
        let compile = |source: &Source| {
            let pipeline = match self.cached(source) {
                Some(pipeline) => pipeline,
                None => self.compile_one(source)?,
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, sources.len());
            Ok(pipeline)
        };
        let pipelines = sources.par_iter().map(compile).collect::<Result<Vec<_>, Error>>()?;
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
            // Kernels write their workgroup memory before they read it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        match pollster::block_on(scope.pop()) {
            Some(e) => Err(refused(e.to_string())),
            None => Ok(Arc::new(Pipeline { pipeline, layout })),
        }
    }
}

/// A shader without bounds checks or loop guards, which cost up to half of a matrix kernel's time.
#[allow(unsafe_code)]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the shaders are this crate's own. Every kernel guards its indices by the sizes in its parameter block, and the
    // test suite runs each of them with checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn layout_entries(module: &naga::Module) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |(_, variable): (_, &naga::GlobalVariable)| {
        let ty = match variable.space {
            naga::AddressSpace::Uniform => wgpu::BufferBindingType::Uniform,
            naga::AddressSpace::Storage { access } => {
                wgpu::BufferBindingType::Storage { read_only: !access.contains(naga::StorageAccess::STORE) }
            }
            _ => return None,
        };
        Some(wgpu::BindGroupLayoutEntry {
            binding: variable.binding?.binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
    };
    module.global_variables.iter().filter_map(entry).collect()
}
