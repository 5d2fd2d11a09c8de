//! Runs tests on every adapter of the machine, with each kernel family.

use resnet_rs::gpu::{AdapterReport, Error, Family, Gpu, GpuOptions, Kept, adapters};

/// Runs `test` on each adapter with each kernel family and checked shaders. Fails on a machine without an adapter.
#[allow(dead_code, reason = "not every test binary that mounts this file needs all adapters")]
pub(crate) fn on_each(test: impl Fn(&Gpu) + Sync) {
    side_by_side(|adapter, family| {
        if let Some(gpu) = open(adapter.index, family, false) {
            eprintln!("on {} with {family:?}", gpu.name());
            test(&gpu);
        }
    });
}

/// Runs `test` on each adapter with each kernel family and each supported form of 16-bit floats.
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

/// Tests each adapter in its own thread, since software adapters compile one kernel after another. All threads end
/// before this panics for one of them. The families of an adapter run one after the other, to save memory.
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

/// Options that do not use the user's files: results must not depend on this machine's tuning.
pub(crate) fn hermetic() -> GpuOptions {
    GpuOptions { pipeline_cache: Kept::Nowhere, tuning: Kept::Nowhere, ..GpuOptions::default() }
}

/// Opens an adapter. `None`, with a printed reason, if the kernel family does not work on it.
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

/// Runs `test` on the default adapter alone, with unchecked shaders: for work that takes minutes on other adapters.
#[allow(dead_code, reason = "not every test binary that mounts this file has such work")]
pub(crate) fn on_fastest(test: impl Fn(&Gpu)) {
    let gpu = Gpu::new(&hermetic()).unwrap();
    eprintln!("on {} with {:?}", gpu.name(), gpu.family());
    test(&gpu);
}
