//! How much memory an adapter has, where its backend tells.

/// Bytes of the largest heap that is local to the device: on a discrete GPU its own memory, on others what they share with the
/// CPU. `None` for backends that wgpu does not let ask.
#[cfg(not(target_vendor = "apple"))]
#[allow(unsafe_code)]
pub(super) fn device_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handles are asked about and neither kept nor destroyed, and the guard keeps the adapter alive meanwhile.
    let properties = unsafe {
        let vulkan = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = vulkan.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(vulkan.raw_physical_device())
    };
    let heaps = properties.memory_heaps.iter().take(properties.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// Apple's GPUs are not reached through Vulkan here.
#[cfg(target_vendor = "apple")]
pub(super) fn device_bytes(_adapter: &wgpu::Adapter) -> Option<u64> {
    None
}
