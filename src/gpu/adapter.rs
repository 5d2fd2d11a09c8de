//! Lists the machine's adapters and selects one.

use super::Error;
use super::hardware::{self, Hardware};

/// One adapter, as a report shows it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AdapterReport {
    /// Number that `--device` takes.
    pub index: usize,
    /// Name given by the driver.
    pub name: String,
    /// Name of the vendor, if its number is known.
    pub vendor: String,
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu or Other.
    pub device_type: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether shaders may compute and store 16-bit floats.
    pub f16: bool,
    /// Whether the adapter has timestamps to time kernels.
    pub timestamps: bool,
    /// Smallest and largest subgroup.
    pub subgroup_size: [u32; 2],
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Largest range that a shader can bind, in bytes.
    pub max_binding_bytes: u64,
    /// The device's memory in bytes; `None` if the backend does not report it.
    pub memory_bytes: Option<u64>,
    /// Compute units, or multiprocessors; `None` if the driver does not report them. Only AMD's and NVIDIA's Vulkan
    /// drivers do.
    pub compute_units: Option<u32>,
    /// Workgroup memory in bytes.
    pub max_workgroup_bytes: u32,
    /// Name under which compiled pipelines are kept for the next process; `None` if the backend does not export them.
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

/// Name of a vendor by its PCI number or, beyond 16 bits, its Vulkan number.
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

/// The adapter that runs the networks.
pub(super) struct Selected {
    pub(super) report: AdapterReport,
    pub(super) adapter: wgpu::Adapter,
    /// As [`Gpu::unused_gpu`](super::Gpu::unused_gpu).
    pub(super) unused_gpu: Option<String>,
}

/// The adapter that `selector` names, by number or a part of its name; without a selector, the one that
/// `WGPU_ADAPTER_NAME` names, else the fastest kind. A blank selector counts as none.
pub(super) fn select(selector: Option<&str>) -> Result<Selected, Error> {
    let mut adapters = enumerate();
    let infos: Vec<wgpu::AdapterInfo> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let variable = std::env::var_os("WGPU_ADAPTER_NAME").map(|name| name.to_string_lossy().into_owned());
    let wanted = [selector, variable.as_deref()].into_iter().flatten().find(|wanted| !wanted.trim().is_empty());
    let index = choose(&infos, wanted)?;
    let is_software = infos[index].device_type == wgpu::DeviceType::Cpu;
    let unused_gpu = if is_software { unused_gpu(&infos) } else { None };
    let adapter = adapters.swap_remove(index);
    Ok(Selected { report: AdapterReport::of(index, &adapter), adapter, unused_gpu })
}

fn choose(adapters: &[wgpu::AdapterInfo], wanted: Option<&str>) -> Result<usize, Error> {
    let fastest = |among: &mut dyn Iterator<Item = usize>| among.min_by_key(|&i| rank(&adapters[i]));
    let Some(wanted) = wanted else { return fastest(&mut (0..adapters.len())).ok_or(Error::NoAdapter) };
    let name = wanted.trim().to_lowercase();
    // Names contain numbers: "1" must not match "LLVM 15" if there is no adapter 1.
    let is_number = name.trim_start_matches(['+', '-']).chars().all(|c| c.is_ascii_digit());
    let found = if is_number {
        name.parse().ok().filter(|&i: &usize| i < adapters.len())
    } else {
        fastest(&mut (0..adapters.len()).filter(|&i| adapters[i].name.to_lowercase().contains(&name)))
    };
    found.ok_or_else(|| {
        let available: Vec<String> = adapters.iter().enumerate().map(|(i, a)| format!("{i}: {}", a.name)).collect();
        match &available[..] {
            [] => Error::NoAdapter,
            _ => Error::NoSuchAdapter { selector: wanted.to_owned(), available: available.join(", ") },
        }
    })
}

/// A GPU that could run instead of a software adapter, and how to use it.
fn unused_gpu(adapters: &[wgpu::AdapterInfo]) -> Option<String> {
    let is_software = |i: &usize| adapters[*i].device_type == wgpu::DeviceType::Cpu;
    let listed = (0..adapters.len()).filter(|i| !is_software(i)).min_by_key(|&i| rank(&adapters[i]));
    listed.map(|i| format!("--device {i} runs on {}", adapters[i].name)).or_else(hardware::gpu_without_driver)
}

/// Rank of an adapter by its likely speed. Of the software adapters, lavapipe uses wider SIMD than SwiftShader.
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn info(name: &str, device_type: wgpu::DeviceType) -> wgpu::AdapterInfo {
        let info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
        wgpu::AdapterInfo { name: name.into(), ..info }
    }

    #[test]
    fn selectors_are_numbers_or_parts_of_names() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let adapters = [
            info("llvmpipe (LLVM 15.0.6, 256 bits)", Cpu),
            info("AMD Radeon Graphics (RADV RENOIR)", IntegratedGpu),
            info("AMD Radeon RX 6800", DiscreteGpu),
        ];
        let chosen = |wanted| choose(&adapters, wanted).ok();
        assert_eq!(chosen(None), Some(2), "the fastest kind");
        for (wanted, index) in [
            ("0", Some(0)),
            (" 1 ", Some(1)),
            ("01", Some(1)),
            ("+1", Some(1)),
            ("RADEON", Some(2)),
            ("renoir", Some(1)),
            ("LLVM 15", Some(0)),
            ("geforce", None),
            // Numbers do not match names that contain them.
            ("15", None),
            ("6800", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(chosen(Some(wanted)), index, "{wanted:?}");
        }
        let error = choose(&adapters[..2], Some("6")).unwrap_err().to_string();
        assert!(error.contains("\"6\"; there are 0: llvmpipe (LLVM 15.0.6, 256 bits), 1: AMD Radeon"), "{error}");
        assert!(matches!(choose(&[], Some("0")), Err(Error::NoAdapter)));
    }

    #[test]
    fn a_software_adapter_names_the_gpu_beside_it() {
        let adapters = [info("llvmpipe", wgpu::DeviceType::Cpu), info("Arc A770", wgpu::DeviceType::DiscreteGpu)];
        assert_eq!(unused_gpu(&adapters).unwrap(), "--device 1 runs on Arc A770");
    }
}
