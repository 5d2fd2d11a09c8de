//! Finding an adapter: what the machine has, and which one is meant.

use super::Error;
use super::hardware::Hardware;

/// One adapter, as a report shows it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdapterReport {
    /// Number that `--device` takes.
    pub index: usize,
    /// Name given by the driver.
    pub name: String,
    /// Who made it, as far as the number of the vendor tells.
    pub vendor: String,
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu or Other.
    pub device_type: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether shaders may compute and store 16-bit floats.
    pub f16: bool,
    /// Whether kernels can be timed on the adapter itself.
    pub timestamps: bool,
    /// Smallest and largest subgroup.
    pub subgroup_size: [u32; 2],
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest range that a shader can bind, in bytes.
    pub max_binding_bytes: u64,
    /// The device's memory in bytes; `None` if the backend does not tell.
    pub memory_bytes: Option<u64>,
    /// Compute units, or multiprocessors; `None` if the driver does not tell, as only AMD's and NVIDIA's for Vulkan do.
    pub compute_units: Option<u32>,
    /// Workgroup memory in bytes.
    pub max_workgroup_bytes: u32,
    /// Name under which compiled pipelines are kept for the next process; `None` if the backend hands none out.
    pub pipeline_cache: Option<String>,
}

impl AdapterReport {
    pub(super) fn of(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let pipeline_cache =
            wgpu::util::pipeline_cache_key(&info).filter(|_| features.contains(wgpu::Features::PIPELINE_CACHE));
        // What a CPU adapter reports is an arbitrary part of the machine's memory.
        let is_gpu = info.device_type != wgpu::DeviceType::Cpu;
        let hardware = if is_gpu { Hardware::of(adapter) } else { Hardware::default() };
        Self {
            index,
            vendor: vendor(info.vendor),
            name: info.name,
            backend: format!("{:?}", info.backend),
            device_type: format!("{:?}", info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            subgroup_size: [info.subgroup_min_size, info.subgroup_max_size],
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            memory_bytes: hardware.memory_bytes,
            compute_units: hardware.compute_units,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            pipeline_cache,
        }
    }
}

/// Name of a vendor by the number that PCI or, beyond 16 bits, Vulkan has given it.
fn vendor(id: u32) -> String {
    let name = match id {
        0x1002 => "AMD",
        0x1010 => "Imagination",
        0x106b => "Apple",
        0x10de => "NVIDIA",
        0x13b5 => "ARM",
        0x1414 => "Microsoft",
        0x1ae0 => "Google",
        0x5143 => "Qualcomm",
        0x8086 => "Intel",
        0x1_0005 => "Mesa",
        id => return format!("{id:#06x}"),
    };
    name.to_owned()
}

/// Every adapter of the machine, in the order of `--device` indices. `WGPU_BACKEND` narrows the list.
pub fn adapters() -> Vec<AdapterReport> {
    enumerate().iter().enumerate().map(|(i, a)| AdapterReport::of(i, a)).collect()
}

fn enumerate() -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    descriptor.backends = descriptor.backends.intersection(backends);
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
}

/// The adapter that `selector` names by index or part of its name; without one, `WGPU_ADAPTER_NAME`, else the fastest kind.
pub(super) fn select(selector: Option<&str>) -> Result<(AdapterReport, wgpu::Adapter), Error> {
    let adapters = enumerate();
    if adapters.is_empty() {
        return Err(Error::NoAdapter);
    }
    let from_env = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    let index = match selector.map(str::to_owned).or(from_env) {
        Some(wanted) => find(&names, &wanted).ok_or_else(|| Error::NoSuchAdapter {
            selector: wanted,
            available: names.iter().enumerate().map(|(i, n)| format!("{i}: {n}")).collect::<Vec<_>>().join(", "),
        })?,
        None => (0..adapters.len()).min_by_key(|&i| rank(&adapters[i].get_info())).unwrap_or(0),
    };
    let report = AdapterReport::of(index, &adapters[index]);
    adapters.into_iter().nth(index).map(|a| (report, a)).ok_or(Error::NoAdapter)
}

fn find(names: &[String], wanted: &str) -> Option<usize> {
    let by_index = wanted.parse::<usize>().ok().filter(|&i| i < names.len());
    let by_name = || names.iter().position(|n| n.to_lowercase().contains(&wanted.to_lowercase()));
    by_index.or_else(by_name)
}

/// Which kind of adapter is likely the fastest. Of two software adapters, lavapipe uses wider SIMD than SwiftShader.
fn rank(info: &wgpu::AdapterInfo) -> u8 {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu if info.name.contains("SwiftShader") => 5,
        wgpu::DeviceType::Cpu => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_indices_or_parts_of_names() {
        let names = ["AMD Radeon RX 6800".to_owned(), "llvmpipe (LLVM 15)".to_owned()];
        assert_eq!(find(&names, "1"), Some(1));
        assert_eq!(find(&names, "RADEON"), Some(0));
        assert_eq!(find(&names, "6800"), Some(0), "a number that is no index may be part of a name");
        assert_eq!(find(&names, "geforce"), None);
    }
}
