//! Every adapter of the machine, with each kernel family.

use resnet_rs::gpu::{AdapterReport, Error, Family, Gpu, GpuOptions, Kept, adapters};

/// Runs `test` on each adapter with each kernel family, shaders checked. A machine without any adapter fails.
#[allow(dead_code, reason = "not every test binary that mounts this file needs all adapters")]
pub(crate) fn on_each(test: impl Fn(&Gpu) + Sync) {
    side_by_side(|adapter, family| {
        if let Some(gpu) = open(adapter.index, family, false) {
            eprintln!("on {} with {family:?}", gpu.name());
            test(&gpu);
        }
    });
}

/// Runs `test` on each adapter with each kernel family and each form of 16-bit floats that it has.
#[allow(dead_code, reason = "not every test binary that mounts this file is about 16-bit floats")]
pub(crate) fn on_each_half(test: impl Fn(&Gpu) + Sync) {
    side_by_side(|adapter, family| {
        for packed_half in [false, true] {
            let offered = packed_half || adapter.f16;
            if let Some(gpu) = offered.then(|| open(adapter.index, family, packed_half)).flatten() {
                eprintln!("on {} with {family:?}, f16 {:?}", gpu.name(), gpu.half_storage());
                test(&gpu);
            }
        }
    });
}

/// Each adapter in a thread of its own, all of which end before this panics for one of them: software adapters compile one kernel
/// after another. Its families follow each other, for the sake of memory.
fn side_by_side(test: impl Fn(&AdapterReport, Family) + Sync) {
    let found = adapters();
    assert!(!found.is_empty(), "no GPU adapter answers; `scripts/setup test` installs two software adapters");
    let with_families =
        |adapter| [Family::Registers, Family::Tiles].into_iter().for_each(|family| test(adapter, family));
    std::thread::scope(|threads| {
        for adapter in &found {
            threads.spawn(|| with_families(adapter));
        }
    });
}

/// Options that leave the user's files alone: results must not depend on what was tuned on this machine.
pub(crate) fn hermetic() -> GpuOptions {
    GpuOptions { pipeline_cache: Kept::Nowhere, tuning: Kept::Nowhere, ..GpuOptions::default() }
}

/// None, with a reason, if the kernel family does not work on the adapter.
fn open(adapter: usize, family: Family, packed_half: bool) -> Option<Gpu> {
    let device = Some(adapter.to_string());
    let options = GpuOptions { device, family: Some(family), checked_shaders: true, packed_half, ..hermetic() };
    match Gpu::new(&options) {
        Ok(gpu) => Some(gpu),
        Err(e @ Error::NoSubgroups { .. }) => {
            eprintln!("skipped {family:?}: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Runs `test` on the default adapter alone, with unchecked shaders: for work that takes minutes elsewhere.
#[allow(dead_code, reason = "not every test binary that mounts this file has such work")]
pub(crate) fn on_fastest(test: impl Fn(&Gpu)) {
    let gpu = Gpu::new(&hermetic()).unwrap();
    eprintln!("on {} with {:?}", gpu.name(), gpu.family());
    test(&gpu);
}
