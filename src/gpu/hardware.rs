//! Hardware facts that wgpu does not report, from Vulkan and from Linux.

use std::fs;
use std::path::Path;

/// Facts on an adapter's hardware, as far as its driver reports them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hardware {
    /// Bytes of the largest heap that is local to the device: on a discrete GPU its own memory, on others the memory
    /// shared with the CPU.
    pub(super) memory_bytes: Option<u64>,
    /// Compute units, which NVIDIA calls multiprocessors. Only AMD's and NVIDIA's drivers report them.
    pub(super) compute_units: Option<u32>,
}

#[cfg(not(target_vendor = "apple"))]
impl Hardware {
    #[allow(unsafe_code)]
    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        use ash::vk;

        let mut nvidia = vk::PhysicalDeviceShaderSMBuiltinsPropertiesNV::default();
        let mut amd = vk::PhysicalDeviceShaderCoreProperties2AMD::default();
        // SAFETY: the handles are only queried, neither kept nor destroyed, and the guard keeps the adapter alive. A
        // driver skips structures of the chain that it does not know, as Vulkan demands, and leaves them 0.
        let memory = unsafe {
            let Some(vulkan) = adapter.as_hal::<wgpu::hal::api::Vulkan>() else { return Self::default() };
            let (instance, device) = (vulkan.shared_instance(), vulkan.raw_physical_device());
            if instance.instance_api_version() >= vk::API_VERSION_1_1 {
                let mut chain = vk::PhysicalDeviceProperties2::default().push_next(&mut nvidia).push_next(&mut amd);
                instance.raw_instance().get_physical_device_properties2(device, &mut chain);
            }
            instance.raw_instance().get_physical_device_memory_properties(device)
        };
        let local = |heap: &&vk::MemoryHeap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL);
        let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
        let units = nvidia.shader_sm_count.max(amd.active_compute_unit_count);
        Self {
            memory_bytes: heaps.filter(local).map(|heap| heap.size).max(),
            compute_units: (units > 0).then_some(units),
        }
    }
}

/// Vulkan is not used for Apple's GPUs.
#[cfg(target_vendor = "apple")]
impl Hardware {
    pub(super) fn of(_adapter: &wgpu::Adapter) -> Self {
        Self::default()
    }
}

/// A GPU that Linux lists but no Vulkan driver offers, and what to do about it.
pub(super) fn gpu_without_driver() -> Option<String> {
    let (vendor, remedy) = kernel_gpu(Path::new("/"))?;
    let remedy = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some())
        .map_or(remedy.to_owned(), |name| format!("unset {name}, which names the drivers to use"));
    Some(format!("the machine has a GPU by {vendor}, but no Vulkan driver offers it: {remedy}"))
}

/// Vendor of a GPU that the kernel knows, and where its Vulkan driver comes from. Display chips of servers and virtual
/// machines are left out, since they compute nothing.
fn kernel_gpu(root: &Path) -> Option<(&'static str, &'static str)> {
    const NVIDIA: &str = "install the Vulkan part of NVIDIA's driver (Debian: nvidia-vulkan-icd, Ubuntu: \
                          libnvidia-gl-VERSION; in a container set NVIDIA_DRIVER_CAPABILITIES=all)";
    const MESA: &str = "install Mesa's Vulkan drivers (Debian, Fedora: mesa-vulkan-drivers) and join the group of \
                        /dev/dri/renderD* (in a container: --device /dev/dri)";
    // PCI's numbers of vendors.
    let known = [("0x10de", "NVIDIA", NVIDIA), ("0x1002", "AMD", MESA), ("0x8086", "Intel", MESA)];
    let cards = fs::read_dir(root.join("sys/class/drm")).into_iter().flatten().flatten();
    let ids: Vec<String> =
        cards.filter_map(|card| fs::read_to_string(card.path().join("device/vendor")).ok()).collect();
    // A GPU with NVIDIA's own driver need not appear there.
    let by_nvidia = root.join("dev/nvidia0").exists();
    let is_there = |id: &str| ids.iter().any(|found| found.trim() == id) || id == known[0].0 && by_nvidia;
    known.iter().find(|(id, ..)| is_there(id)).map(|&(_, vendor, remedy)| (vendor, remedy))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_gpus_are_told_from_display_chips() {
        let root = tempfile::tempdir().unwrap();
        let vendor = || kernel_gpu(root.path()).map(|(vendor, _)| vendor);
        let card = |name: &str, id: &str| {
            let device = root.path().join("sys/class/drm").join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("vendor"), format!("{id}\n")).unwrap();
        };
        assert_eq!(vendor(), None);
        // A connector, and a server's display chip.
        fs::create_dir_all(root.path().join("sys/class/drm/card0-HDMI-A-1/device")).unwrap();
        card("card0", "0x1a03");
        assert_eq!(vendor(), None);
        card("card1", "0x8086");
        assert_eq!(vendor(), Some("Intel"));
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/nvidia0"), "").unwrap();
        assert_eq!(vendor(), Some("NVIDIA"));
    }
}
