//! Every adapter of the machine, with each kernel family.

use resnet_rs::gpu::{Family, Gpu, GpuOptions, adapters};

/// Runs `test` on each adapter with each kernel family, shaders checked. A machine without any adapter fails.
pub(crate) fn on_each(test: impl Fn(&Gpu)) {
    for family in [Family::Registers, Family::Tiles] {
        on_each_with(family, &test);
    }
}

/// Runs `test` on each adapter with the kernel family that serves it by default.
pub(crate) fn on_each_default(test: impl Fn(&Gpu)) {
    for adapter in all() {
        let family = if adapter.device_type == "Cpu" { Family::Registers } else { Family::Tiles };
        test(&open(adapter.index, family));
    }
}

fn on_each_with(family: Family, test: &impl Fn(&Gpu)) {
    for adapter in all() {
        test(&open(adapter.index, family));
    }
}

fn all() -> Vec<resnet_rs::gpu::AdapterReport> {
    let found = adapters();
    assert!(!found.is_empty(), "no GPU adapter answers; `make setup` installs two software adapters");
    found
}

fn open(index: usize, family: Family) -> Gpu {
    let options = GpuOptions {
        device: Some(index.to_string()),
        family: Some(family),
        checked_shaders: true,
        memory_limit_bytes: None,
    };
    let gpu = Gpu::new(&options).unwrap();
    eprintln!("on {} with {family:?}", gpu.name());
    gpu
}
