//! Every adapter of the machine, with each kernel family.

use resnet_rs::gpu::{Error, Family, Gpu, GpuOptions, adapters};

/// Runs `test` on each adapter with each kernel family, shaders checked. A machine without any adapter fails.
#[allow(dead_code, reason = "not every test binary that mounts this file needs all adapters")]
pub(crate) fn on_each(test: impl Fn(&Gpu)) {
    let found = adapters();
    assert!(!found.is_empty(), "no GPU adapter answers; `scripts/setup test` installs two software adapters");
    for adapter in found {
        for family in [Family::Registers, Family::Tiles] {
            let options = GpuOptions {
                device: Some(adapter.index.to_string()),
                family: Some(family),
                checked_shaders: true,
                memory_limit_bytes: None,
            };
            match Gpu::new(&options) {
                Ok(gpu) => {
                    eprintln!("on {} with {family:?}", gpu.name());
                    test(&gpu);
                }
                Err(e @ Error::NoSubgroups { .. }) => eprintln!("skipped {family:?}: {e}"),
                Err(e) => panic!("{}: {e}", adapter.name),
            }
        }
    }
}

/// Runs `test` on the default adapter alone, with unchecked shaders: for work that takes minutes elsewhere.
#[allow(dead_code, reason = "not every test binary that mounts this file has such work")]
pub(crate) fn on_fastest(test: impl Fn(&Gpu)) {
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    eprintln!("on {} with {:?}", gpu.name(), gpu.family());
    test(&gpu);
}
