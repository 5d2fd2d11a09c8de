//! The GPU against PyTorch and timm: whole networks, whole training steps, on every adapter.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/synth.rs"]
mod synth;

use golden::{BRANCH_GAMMA, SEED, assert_close, load};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::Gpu;
use resnet_rs::graph::{Graph, fuse};
use resnet_rs::models::{Input, Mode, Network, Preset};

/// Largest logit error as a share of the largest logit.
const LOGITS: f64 = 1e-4;

fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// A store with the synthetic weights of the golden files.
fn synthetic(gpu: &Gpu, graph: &Graph) -> ParameterStore {
    let mut store = ParameterStore::new(gpu);
    store.allocate(graph).unwrap();
    for tensor in store.tensors() {
        if !tensor.name.ends_with(".momentum") {
            store.write(&tensor.name, &synth::parameter(&tensor.name, &tensor.spec.shape, SEED, BRANCH_GAMMA)).unwrap();
        }
    }
    store
}

fn infer(gpu: &Gpu, depth: usize, size: usize) {
    let Some(want) = load(&format!("infer_rs{depth}_{size}")) else { return };
    let config = Preset::find(&format!("resnetrs{depth}")).unwrap().config(1000);
    let mut net = Network::build(&config, 2, [size; 2], Input::Tensor, Mode::Inference).unwrap();
    let outputs: Vec<_> =
        if depth == 50 { net.stages.iter().copied().chain([net.logits]).collect() } else { vec![net.logits] };
    fuse::for_inference(&mut net.graph, &outputs).unwrap();
    let store = synthetic(gpu, &net.graph);
    let start = std::time::Instant::now();
    let mut session = Session::new(&store, net.graph, &outputs, &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    session.feed(&[(net.input, &synth::images("input", [2, 3, size, size], SEED))], &[]).unwrap();
    let bound = start.elapsed();
    session.run().unwrap();
    assert_close("logits", &widen(session.read(net.logits).unwrap()), &want["logits"], LOGITS);
    eprintln!("depth {depth}: bound in {bound:?}, answered after {:?}", start.elapsed());
    if depth != 50 {
        return;
    }
    for (name, &map) in ["stem", "layer1", "layer2", "layer3", "layer4"].iter().zip(&net.stages) {
        let [_, h, w, c] = session.graph().spec(map).shape[..] else { panic!("not a map") };
        let data = session.read(map).unwrap();
        let corner: Vec<f64> = (0..8)
            .flat_map(|channel| (0..h * w).map(|pixel| f64::from(data[pixel * c + channel])).collect::<Vec<_>>())
            .collect();
        assert_close(name, &corner, &want[*name], LOGITS);
    }
}

#[test]
fn resnet_rs_50_at_both_sizes_with_both_families() {
    adapters::on_each(|gpu| {
        infer(gpu, 50, 64);
        infer(gpu, 50, 75);
    });
}
