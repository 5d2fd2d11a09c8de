//! The memory plan of whole networks, without a GPU.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use resnet_rs::graph::plan::{Home, MemoryPlan};
use resnet_rs::graph::{Graph, TensorId, fuse};
use resnet_rs::models::{Input, Mode, Network, Preset};
use resnet_rs::train::{Decay, Optimizer, Step};

const PIXELS: Input = Input::Pixels { mean: [0.5; 3], std: [0.25; 3] };

fn training_step(model: &str, batch: usize, res: usize) -> Step {
    let optimizer = Optimizer { momentum: 0.9, nesterov: true, weight_decay: 1e-4, decay: Decay::Kernels };
    let config = Preset::find(model).unwrap().config(1000);
    Step::build(&config, batch, [res; 2], PIXELS, 0.1, &optimizer).unwrap()
}

/// Plans a graph, checks that no node finds what it writes in a slot with anything else that it touches, and returns how much
/// larger the slots are than what lives in them at once.
fn overhead(graph: &Graph, output: TensorId) -> f64 {
    let plan = MemoryPlan::new(graph, &[output]);
    let slot = |t: &TensorId| match plan.home(*t) {
        Some(Home::Slot(address)) => Some(address.slot),
        _ => None,
    };
    for (i, node) in graph.nodes().iter().enumerate() {
        let scratch = plan.workspaces.get(&i).map(|a| a.slot);
        let written: Vec<usize> = node.outputs.iter().filter_map(slot).chain(scratch).collect();
        let read: HashSet<usize> = node.inputs.iter().filter_map(slot).collect();
        assert!(written.iter().all(|s| !read.contains(s)), "{}: a slot is read and written", node.name);
        assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len(), "{}: written twice", node.name);
    }
    plan.bytes.slots as f64 / plan.bytes.live_peak as f64
}

#[test]
fn slots_of_training_steps_are_hardly_larger_than_what_lives_in_them() {
    for (model, batch, res) in [("small", 32, 32), ("resnet-rs-50", 8, 160), ("resnet-rs-50", 32, 160)] {
        let step = training_step(model, batch, res);
        let ratio = overhead(&step.graph, step.loss);
        assert!(ratio <= 1.02, "{model}, batch {batch}: {ratio}");
    }
}

/// At the end of a block two wide maps and a narrow one live; the narrow ones before it do not always find a gap.
#[test]
fn slots_of_inference() {
    for (model, batch, res) in [("small", 1, 32), ("resnet-rs-50", 1, 160), ("resnet-rs-50", 32, 160)] {
        let config = Preset::find(model).unwrap().config(1000);
        let mut net = Network::build(&config, batch, [res; 2], PIXELS, Mode::Inference).unwrap();
        fuse::for_inference(&mut net.graph, &[net.logits]).unwrap();
        let ratio = overhead(&net.graph, net.logits);
        assert!(ratio <= 1.12, "{model}, batch {batch}: {ratio}");
    }
}
