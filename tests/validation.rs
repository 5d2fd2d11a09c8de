//! The Vulkan validation layer reports nothing for a training step and an inference.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, GpuOptions, adapters};
use resnet_rs::graph::fuse;
use resnet_rs::models::{Config, Input, Mode, Network, Preset};
use resnet_rs::train::task::Classify;
use resnet_rs::train::{Step, StepOptions};

/// Where Vulkan loaders look for the layer's manifest on Linux and the BSDs.
const MANIFESTS: [&str; 3] = ["/usr/share", "/usr/local/share", "/etc"];

/// A message of the layer for every instance, which proves that the layer is active.
const ACTIVE: &str = "Khronos Validation Layer Active";

#[test]
fn the_validation_layer_stays_silent() {
    let manifest = "vulkan/explicit_layer.d/VkLayer_khronos_validation.json";
    if !MANIFESTS.iter().any(|root| Path::new(root).join(manifest).exists()) {
        eprintln!(
            "skipped: the Vulkan validation layer is not installed (Debian: apt install vulkan-validationlayers)"
        );
        return;
    }
    let complaints = work_under_layer("SYNCHRONIZATION_VALIDATION");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // Advice on best practices is known to appear, at least for small allocations, so this test would see a complaint.
    assert!(!work_under_layer("BEST_PRACTICES").is_empty(), "not even advice gets through");
}

/// Errors and warnings of the layer about [`work`], with one of its optional checks on. The layer is configured by
/// environment variables that must be set before Vulkan is loaded, hence a separate process.
fn work_under_layer(check: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("vk_layer_settings.txt");
    let lines = format!(
        "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n\
         khronos_validation.log_filename = stdout\n\
         khronos_validation.report_flags = error,warn,perf,info\n\
         khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_{check}_EXT\n"
    );
    std::fs::write(&settings, lines).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work", "--ignored", "--nocapture"])
        .env("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation")
        .env("VK_LAYER_SETTINGS_PATH", &settings)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains(ACTIVE) && said.contains(check), "the layer was not loaded:\n{said}");
    let complains = |line: &&str| ["Validation Error:", "Warning:"].iter().any(|kind| line.contains(kind));
    said.lines().filter(complains).map(str::to_owned).collect()
}

#[test]
#[ignore = "run by the test above, under the layer"]
fn work() {
    for adapter in adapters().into_iter().filter(|a| a.backend == "Vulkan") {
        let gpu = Gpu::new(&GpuOptions { device: Some(adapter.index.to_string()), ..Default::default() }).unwrap();
        train(&gpu);
        infer(&gpu);
    }
}

fn train(gpu: &Gpu) {
    let config = Config { dropout: 0.25, drop_path: 0.1, ..Preset::find("small").unwrap().config(10) };
    let step = Step::build(&config, 4, [32; 2], Input::Tensor, &Classify::default(), &StepOptions::default()).unwrap();
    let mut store = ParameterStore::new(gpu);
    store.allocate(&step.graph).unwrap();
    store.initialize(0).unwrap();
    let loss = step.loss[0].id;
    let mut session = Session::new(&store, step.graph, &[loss], &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    let pictures = vec![0.5; 4 * 32 * 32 * 3];
    for s in 0..3 {
        let clock = [0, s];
        let feeds = [
            ("input", pictures[..].into()),
            ("labels", [1, 2, 3, 4][..].into()),
            ("clock", clock[..].into()),
            ("lr", [0.1][..].into()),
        ];
        session.feed_inputs(&feeds).unwrap();
        session.run().unwrap();
    }
    assert!(session.read(loss).unwrap()[0].is_finite());
}

fn infer(gpu: &Gpu) {
    let config = Preset::find("small").unwrap().config(10);
    let mut network = Network::build(&config, 2, [33, 47], Input::Tensor, Mode::Inference).unwrap();
    let logits = network.output("logits");
    fuse::for_inference(&mut network.graph, &[logits]).unwrap();
    let mut store = ParameterStore::new(gpu);
    store.allocate(&network.graph).unwrap();
    store.initialize(0).unwrap();
    let logits = network.output("logits");
    let mut session = Session::new(&store, network.graph, &[logits], &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    session.feed(&[(network.input, &vec![0.5; 2 * 33 * 47 * 3])], &[]).unwrap();
    session.run_timed().unwrap();
    assert!(session.read(logits).unwrap().iter().all(|v| v.is_finite()));
}
