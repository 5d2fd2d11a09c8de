//! The memory plan of whole networks, and training steps that recompute instead of keeping.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;

use std::collections::HashSet;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, Target};
use resnet_rs::graph::plan::{Home, Scratch};
use resnet_rs::graph::{Graph, TensorId, fuse};
use resnet_rs::kernels;
use resnet_rs::models::{Config, DeepLabV3, EfficientNet, Head, Input, Mode, Network, Preset, ResNet, RetinaNet};
use resnet_rs::train::task::{Classify, Detect, Segment, Task};
use resnet_rs::train::{Step, StepOptions};

const PIXELS: Input = Input::Pixels { mean: [0.5; 3], std: [0.25; 3] };

fn training_step(model: &str, batch: usize, res: usize) -> Step {
    let config = Preset::find(model).unwrap().config(1000);
    Step::build(&config, batch, [res; 2], PIXELS, &Classify::default(), &StepOptions::default()).unwrap()
}

/// Plans a graph, checks that no node writes to a slot that it also reads, or twice to one slot, and returns how much
/// larger the slots are than the tensors that live at the same time.
fn overhead(graph: &Graph, output: TensorId) -> f64 {
    let plan = kernels::plan(graph, &[output], Target::TILES);
    let slot = |t: &TensorId| match plan.home(*t) {
        Some(Home::Slot(address)) => Some(address.slot),
        _ => None,
    };
    for (i, node) in graph.nodes().iter().enumerate() {
        let scratch = Scratch::ALL.into_iter().filter_map(|which| Some(plan.scratch.get(&(i, which))?.slot));
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
        let ratio = overhead(&step.graph, loss(&step));
        assert!(ratio <= 1.05, "{model}, batch {batch}: {ratio}");
    }
}

/// A detector and a segmentation network as they are trained on photographs.
#[test]
fn slots_of_dense_steps_are_hardly_larger_than_what_lives_in_them() {
    let retinanet = Head::RetinaNet(RetinaNet::default());
    let deeplab = Head::DeepLabV3(DeepLabV3::default());
    let cases: [(&dyn Task, Head, usize, usize, usize); 2] =
        [(&Detect::default(), retinanet, 2, 512, 32), (&Segment, deeplab, 4, 513, 16)];
    for (task, head, batch, res, output_stride) in cases {
        let config = Config { head, output_stride, ..Preset::find("resnet-rs-50").unwrap().config(21) };
        let step = || Step::build(&config, batch, [res; 2], PIXELS, task, &StepOptions::default()).unwrap();
        for step in [step(), step().recomputing().unwrap()] {
            let ratio = overhead(&step.graph, loss(&step));
            assert!(ratio <= 1.10, "{task:?}: {ratio}");
        }
    }
}

/// The loss of a step.
fn loss(step: &Step) -> TensorId {
    step.loss[0].id
}

#[test]
fn recomputing_takes_a_third_of_the_memory() {
    for (model, batch, res) in [("resnet-rs-50", 32, 160), ("resnet-rs-101", 8, 192)] {
        let step = training_step(model, batch, res);
        let kept = kernels::plan(&step.graph, &[loss(&step)], Target::TILES).bytes;
        let macs = |graph: &Graph| graph.nodes().iter().map(|n| n.cost(graph).macs).sum::<u64>() as f64;
        let macs_kept = macs(&step.graph);
        let step = step.recomputing().unwrap();
        let recomputed = kernels::plan(&step.graph, &[loss(&step)], Target::TILES).bytes;
        assert!(3 * recomputed.slots <= kept.slots, "{model}: {recomputed:?} instead of {kept:?}");
        assert!(macs(&step.graph) <= 1.15 * macs_kept, "{model}");
        assert!(overhead(&step.graph, loss(&step)) <= 1.05);
    }
}

/// A frozen part keeps only its result, which is never recomputed.
#[test]
fn recomputing_leaves_frozen_parts_alone() {
    let config = Preset::find("resnet-rs-50").unwrap().config(1000);
    for frozen in 1..config.parts().len() - 1 {
        let options = StepOptions { frozen, ..StepOptions::default() };
        let step = Step::build(&config, 8, [160; 2], PIXELS, &Classify::default(), &options).unwrap();
        let bytes = |step: &Step| kernels::plan(&step.graph, &[loss(step)], Target::TILES).bytes.slots;
        let of_frozen =
            |step: &Step| step.graph.nodes().iter().filter(|n| step.parts.of(&n.name) < Some(frozen)).count();
        let (kept, nodes) = (bytes(&step), of_frozen(&step));
        let step = step.recomputing().unwrap();
        assert!(
            nodes > 3 && of_frozen(&step) == nodes,
            "{frozen} parts frozen: {nodes} nodes, then {}",
            of_frozen(&step)
        );
        assert!(bytes(&step) < kept, "{frozen} parts frozen: {kept} bytes, then {}", bytes(&step));
    }
}

/// Losses of three steps, then every parameter, running statistic and momentum, as bits.
fn train(gpu: &Gpu, step: Step) -> Vec<Vec<u32>> {
    let mut store = ParameterStore::new(gpu);
    store.allocate(&step.graph).unwrap();
    store.initialize(3).unwrap();
    let loss = loss(&step);
    let mut session = Session::new(&store, step.graph, &[loss], &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut results = Vec::new();
    for s in 0..3u32 {
        let pixels: Vec<u32> = (0..6 * 32 * 32).map(|i: u32| (i ^ s).wrapping_mul(2_654_435_761)).collect();
        let clock = [7, s];
        let feeds = [
            ("pixels", pixels[..].into()),
            ("labels", [0, 1, 2, 3, 4, 5][..].into()),
            ("clock", clock[..].into()),
            ("lr", [0.05][..].into()),
        ];
        session.feed_inputs(&feeds).unwrap();
        session.run().unwrap();
        results.push(bits(session.read(loss).unwrap()));
    }
    results.extend(store.read_all(|_| true).unwrap().into_iter().map(|(_, values)| bits(values)));
    results
}

/// With everything that recomputation could get wrong: running statistics, dropout, stochastic depth, pooled shortcuts.
#[test]
fn recomputing_changes_no_bit() {
    let resnet = ResNet { zero_init_last: false, ..ResNet::rs([1, 2, 1, 1], 0.25) };
    let efficientnet = EfficientNet { width: 0.25, depth: 0.6 };
    for network in [Config::new(resnet, 10), Config::new(efficientnet, 10)] {
        let config = Config { dropout: 0.2, drop_path: 0.2, ..network };
        let step = || Step::build(&config, 6, [32; 2], PIXELS, &Classify::default(), &StepOptions::default()).unwrap();
        adapters::on_each(|gpu| {
            let (kept, recomputed) = (train(gpu, step()), train(gpu, step().recomputing().unwrap()));
            assert!(kept[0] != kept[2], "the network learns");
            assert!(kept == recomputed, "every loss and every weight agrees to the bit");
        });
    }
}

/// At the end of a block two wide maps and a narrow one live; earlier narrow ones do not always fit a gap. At batch 1
/// the scratch memory of split sums is as large as maps, and must not share a slot with its node's tensors.
#[test]
fn slots_of_inference() {
    for (model, batch, res, limit) in
        [("small", 1, 32, 1.25), ("resnet-rs-50", 1, 160, 1.25), ("resnet-rs-50", 32, 160, 1.12)]
    {
        let config = Preset::find(model).unwrap().config(1000);
        let mut net = Network::build(&config, batch, [res; 2], PIXELS, Mode::Inference).unwrap();
        let logits = net.output("logits");
        fuse::for_inference(&mut net.graph, &[logits]).unwrap();
        let ratio = overhead(&net.graph, net.output("logits"));
        assert!(ratio <= limit, "{model}, batch {batch}: {ratio}");
    }
}
