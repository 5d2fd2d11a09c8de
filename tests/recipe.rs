//! Options of a recipe in a training step: batches in parts, clipping, averages, frozen parts.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "common/golden.rs"]
mod golden;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "common/synth.rs"]
mod synth;

use std::collections::BTreeSet;

use golden::{BRANCH_GAMMA, SEED};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::Gpu;
use resnet_rs::graph::TensorId;
use resnet_rs::models::{Config, Input, Mode, Network};
use resnet_rs::train::task::Classify;
use resnet_rs::train::{Learning, Step, StepOptions, Update, When};

const LABELS: [u32; 8] = [0, 7, 4, 1, 8, 5, 2, 9];

fn config() -> Config {
    Config::resnet_rs([1, 1, 1, 1], 0.25, 10)
}

/// A store with the synthetic weights of the golden files, and zeros for the states of training.
fn synthetic(gpu: &Gpu, graphs: &[&resnet_rs::graph::Graph]) -> ParameterStore {
    let mut store = ParameterStore::new(gpu);
    graphs.iter().for_each(|graph| store.allocate(graph).unwrap());
    let added = [".momentum", ".gradient", ".ema", "squared_norms"];
    for tensor in store.tensors().filter(|t| !added.iter().any(|suffix| t.name.ends_with(suffix))) {
        store.write(&tensor.name, &synth::parameter(&tensor.name, &tensor.spec.shape, SEED, BRANCH_GAMMA)).unwrap();
    }
    store
}

/// A step over parts of 4 pictures, and its update.
struct InParts {
    store: ParameterStore,
    step: Session,
    update: Session,
    norm: TensorId,
}

const CLOCK: [u32; 2] = [0, 0];

impl InParts {
    fn new(gpu: &Gpu, learning: Learning) -> Self {
        let options = StepOptions { learning, when: When::AfterParts, ..StepOptions::default() };
        let task = Classify { label_smoothing: 0.1, ..Classify::default() };
        let step = Step::build(&config(), 4, [32; 2], Input::Tensor, &task, &options).unwrap();
        let Update { graph, norm } = Update::build(&step, &options).unwrap();
        let store = synthetic(gpu, &[&step.graph, &graph]);
        let outputs = step.outputs();
        let step = Session::new(&store, step.graph, &outputs, &SessionOptions::default()).unwrap();
        let update = Session::new(&store, graph, &[norm], &SessionOptions::default()).unwrap();
        Self { store, step, update, norm }
    }

    /// Returns the norm of the gradients.
    fn run(&mut self, pictures: &[f32], lr: f32) -> f32 {
        self.step.prepare().unwrap();
        for (i, part) in pictures.chunks(pictures.len() / 2).enumerate() {
            let keep = [if i > 0 { 1.0 } else { 0.0 }];
            let labels = &LABELS[4 * i..4 * i + 4];
            let feeds = [
                ("input", part.into()),
                ("keep", keep[..].into()),
                ("labels", labels.into()),
                ("clock", CLOCK[..].into()),
            ];
            self.step.feed_inputs(&feeds).unwrap();
            self.step.run().unwrap();
        }
        self.update(lr)
    }

    fn update(&mut self, lr: f32) -> f32 {
        self.update.feed_inputs(&[("lr", [lr][..].into()), ("factor", [0.5][..].into())]).unwrap();
        self.update.run().unwrap();
        self.update.read(self.norm).unwrap()[0]
    }
}

/// A batch of 8 in two parts, smoothed labels, the gradient scaled down to half its norm: PyTorch's
/// (tests/golden/make_accumulated.py). With zero initial momentum and no decay, the momentum is the gradient.
#[test]
fn accumulated_and_clipped_gradients_equal_pytorch() {
    let want = golden::load("accumulated");
    adapters::on_each(|gpu| {
        let learning = Learning { max_norm: want["max_norm"][0], ..Learning::default() };
        let mut parts = InParts::new(gpu, learning);
        let pictures = synth::images("input", [8, 3, 32, 32], SEED);
        // The first part overwrites what an earlier step has left.
        parts.run(&vec![1.0; pictures.len()], 0.0);
        for tensor in parts.store.tensors().filter(|t| t.name.ends_with(".momentum")) {
            parts.store.write(&tensor.name, &vec![0.0; tensor.spec.elements()]).unwrap();
        }
        let norm = parts.run(&pictures, 0.1);
        assert!((norm / want["norm"][0] - 1.0).abs() <= 1e-4, "norm {norm} instead of {}", want["norm"][0]);
        for (name, want) in want.iter().filter(|(name, _)| !name.ends_with("norm")) {
            let name = format!("{name}.momentum");
            let shape = parts.store.tensors().find(|t| t.name == name).unwrap().spec.shape.clone();
            let got: Vec<f64> = parts.store.read(&name).unwrap().into_iter().map(f64::from).collect();
            let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest > 0.0, "{name} learns");
            golden::assert_close(&name, &got, &synth::from_torch(&shape, want), 1e-4);
        }
    });
}

/// With one number that is not finite, in any gradient, neither weights nor momenta change, and the next step learns.
#[test]
fn a_step_that_is_not_finite_is_left_out() {
    adapters::on_each(|gpu| {
        let mut parts = InParts::new(gpu, Learning::default());
        let pictures = synth::images("input", [8, 3, 32, 32], SEED);
        assert!(parts.run(&pictures, 0.1).is_finite());
        let learned = |store: &ParameterStore| {
            let read = store
                .read_all(|t| {
                    ![".gradient", "squared_norms"].iter().any(|end| t.name.ends_with(end))
                        && !t.name.contains("running_")
                })
                .unwrap();
            read.into_iter().flat_map(|(_, v)| v).map(f32::to_bits).collect::<Vec<_>>()
        };
        let before = learned(&parts.store);
        for (name, value) in [("conv1.0.weight", f32::NAN), ("fc.bias", f32::INFINITY), ("bn1.weight", -f32::NAN)] {
            let name = format!("{name}.gradient");
            let gradient = parts.store.read(&name).unwrap();
            let mut broken = gradient.clone();
            broken[3] = value;
            parts.store.write(&name, &broken).unwrap();
            assert!(!parts.update(0.1).is_finite(), "{name} with {value}");
            assert!(before == learned(&parts.store), "{name} with {value}: weights and momenta are as they were");
            parts.store.write(&name, &gradient).unwrap();
        }
        assert!(parts.update(0.1).is_finite());
        assert!(before != learned(&parts.store));
    });
}

/// Averages follow weights and running statistics at the given rate.
#[test]
fn averages_follow_the_weights() {
    adapters::on_each(|gpu| {
        let learning = Learning { ema: true, ..Learning::default() };
        let options = StepOptions { learning, ..StepOptions::default() };
        let step = Step::build(&config(), 8, [32; 2], Input::Tensor, &Classify::default(), &options).unwrap();
        let store = synthetic(gpu, &[&step.graph]);
        let outputs = step.outputs();
        let mut session = Session::new(&store, step.graph, &outputs, &SessionOptions::default()).unwrap();
        let names = ["conv1.0.weight", "bn1.running_var", "fc.bias"];
        let mut expected: Vec<Vec<f64>> = names.iter().map(|name| vec![0.0; store.read(name).unwrap().len()]).collect();
        for (s, rate) in [0.9, 0.5, 0.1].into_iter().enumerate() {
            let pictures = synth::images(&format!("input{s}"), [8, 3, 32, 32], SEED);
            let rate_fed = [rate as f32];
            let feeds = [
                ("input", pictures[..].into()),
                ("lr", [0.1][..].into()),
                ("ema_rate", rate_fed[..].into()),
                ("labels", LABELS[..].into()),
                ("clock", CLOCK[..].into()),
            ];
            session.feed_inputs(&feeds).unwrap();
            session.run().unwrap();
            for (name, average) in names.iter().zip(&mut expected) {
                let weights = store.read(name).unwrap();
                average.iter_mut().zip(&weights).for_each(|(a, w)| *a += rate * (f64::from(*w) - *a));
                let got: Vec<f64> = store.read(&format!("{name}.ema")).unwrap().into_iter().map(f64::from).collect();
                let want: Vec<f32> = average.iter().map(|&a| a as f32).collect();
                // Three roundings per step.
                golden::assert_close(name, &got, &want, 16.0 * 2f64.powi(-24));
            }
        }
    });
}

/// Every way of learning averages every parameter that learns and every running statistic, of frozen parts as well.
#[test]
fn the_same_is_averaged_whenever_parameters_learn() {
    for frozen in [0, 3] {
        let averaged = [When::AtOnce, When::Together, When::AfterParts].map(|when| {
            let learning = Learning { ema: true, ..Learning::default() };
            let options = StepOptions { frozen, learning, when, ..StepOptions::default() };
            let step = Step::build(&config(), 4, [32; 2], Input::Tensor, &Classify::default(), &options).unwrap();
            let learns = match when {
                When::AtOnce | When::Together => step.graph,
                When::AfterParts => Update::build(&step, &options).unwrap().graph,
            };
            let names = learns.persistent().map(|id| learns.tensor(id).name.clone());
            names.filter_map(|name| name.strip_suffix(".ema").map(str::to_owned)).collect::<BTreeSet<String>>()
        });
        let Network { graph, parts, .. } =
            Network::build(&config(), 1, [32; 2], Input::Tensor, Mode::Inference).unwrap();
        let network = graph.persistent().map(|id| graph.tensor(id).name.clone());
        let expected: BTreeSet<String> =
            network.filter(|name| parts.of(name).unwrap() >= frozen || name.contains(".running_")).collect();
        for averaged in averaged {
            assert_eq!(averaged, expected, "{frozen} parts frozen");
        }
    }
}

/// Freezing up to any part: frozen tensors keep every bit, statistics included, and all others learn.
#[test]
fn frozen_parts_stay_as_they_are() {
    adapters::on_fastest(|gpu| {
        for frozen in 1..config().parts().len() {
            let options = StepOptions { frozen, ..StepOptions::default() };
            let step = Step::build(&config(), 8, [32; 2], Input::Tensor, &Classify::default(), &options).unwrap();
            let store = synthetic(gpu, &[&step.graph]);
            let outputs = step.outputs();
            let mut session = Session::new(&store, step.graph, &outputs, &SessionOptions::default()).unwrap();
            session.prepare().unwrap();
            let all = |store: &ParameterStore| -> Vec<(String, Vec<u32>)> {
                let read = store.read_all(|t| !t.name.ends_with(".momentum")).unwrap();
                read.into_iter().map(|(t, v)| (t.name.clone(), v.into_iter().map(f32::to_bits).collect())).collect()
            };
            let before = all(&store);
            let pictures = synth::images("input", [8, 3, 32, 32], SEED);
            let feeds = [
                ("input", pictures[..].into()),
                ("lr", [0.1][..].into()),
                ("labels", LABELS[..].into()),
                ("clock", CLOCK[..].into()),
            ];
            session.feed_inputs(&feeds).unwrap();
            session.run().unwrap();
            session.wait().unwrap();
            for ((name, before), (_, after)) in before.iter().zip(all(&store)) {
                let stays = step.parts.of(name).unwrap() < frozen;
                assert_eq!(*before == after, stays, "{name} with {frozen} parts frozen");
            }
        }
    });
}
