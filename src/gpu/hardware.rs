//! What wgpu does not tell of an adapter, asked of Vulkan itself.

/// Of an adapter's hardware, what its driver tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hardware {
    /// Bytes of the largest heap that is local to the device: on a discrete GPU its own memory, on others what they share with the CPU.
    pub(super) memory_bytes: Option<u64>,
    /// Compute units, which NVIDIA calls multiprocessors. Only AMD's and NVIDIA's drivers tell.
    pub(super) compute_units: Option<u32>,
}

#[cfg(not(target_vendor = "apple"))]
impl Hardware {
    #[allow(unsafe_code)]
    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        use ash::vk;

        let mut nvidia = vk::PhysicalDeviceShaderSMBuiltinsPropertiesNV::default();
        let mut amd = vk::PhysicalDeviceShaderCoreProperties2AMD::default();
        // SAFETY: the handles are asked about and neither kept nor destroyed, and the guard keeps the adapter alive meanwhile. What a
        // driver does not know of the chain it skips, as Vulkan demands, and leaves 0.
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

/// Apple's GPUs are not reached through Vulkan here.
#[cfg(target_vendor = "apple")]
impl Hardware {
    pub(super) fn of(_adapter: &wgpu::Adapter) -> Self {
        Self::default()
    }
}
