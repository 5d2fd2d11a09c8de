//! Compares the reference with PyTorch and timm: whole networks, whole training steps.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

#[path = "common/golden.rs"]
mod golden;
#[path = "common/optimizers.rs"]
mod optimizers;
#[path = "common/synth.rs"]
mod synth;

use golden::{BRANCH_GAMMA, EFFICIENTNET_GAMMA, SEED, assert_close, load, shapes};
use resnet_rs::graph::autodiff::{self, Loss};
use resnet_rs::graph::{Graph, Role, StateKind, TensorId, fuse};
use resnet_rs::models::{Config, Input, Mode, Network, Preset};
use resnet_rs::reference::{Values, run};
use resnet_rs::train::task::{Classify, Task};
use resnet_rs::train::{Learning, Step, StepOptions};
use resnet_rs::weights::timm;

/// Both sides compute in f64. The files hold f32, and so do this crate's constants such as 0.1, which PyTorch holds in
/// f64.
const TOLERANCE: f64 = 1e-5;

const TRAINING: Mode = Mode::TRAINING;
const SMOOTHED: Classify = Classify { label_smoothing: 0.1, mixed: false };

fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// The synthetic parameters and running statistics, and zero momenta.
fn weights(graph: &Graph) -> Values {
    weights_with(graph, BRANCH_GAMMA)
}

fn weights_with(graph: &Graph, branch_gamma: f32) -> Values {
    let mut values = Values::new();
    for id in graph.persistent() {
        let tensor = graph.tensor(id);
        let made = match tensor.role {
            Role::State(StateKind::Momentum, _) => vec![0.0; tensor.spec.elements()],
            _ => widen(synth::parameter(&tensor.name, &tensor.spec.shape, SEED, branch_gamma)),
        };
        values.set(graph, id, made).unwrap();
    }
    values
}

fn pictures(name: &str, batch: usize, size: usize) -> Vec<f64> {
    widen(synth::images(name, [batch, 3, size, size], SEED))
}

fn preset(name: &str) -> Config {
    Preset::find(name).unwrap().config(1000)
}

fn small() -> Config {
    Config::resnet_rs([1, 1, 1, 1], 0.25, 10)
}

/// The first image's first 8 channels of an NHWC map, as NCHW.
fn corner(graph: &Graph, values: &Values, map: TensorId) -> Vec<f64> {
    let [_, h, w, c] = graph.spec(map).shape[..] else { panic!("not a map") };
    let data = values.get(map).unwrap();
    (0..8).flat_map(|channel| (0..h * w).map(move |pixel| data[pixel * c + channel])).collect()
}

fn infer(depth: usize, size: usize) {
    let want = load(&format!("infer_rs{depth}_{size}"));
    let mut net =
        Network::build(&preset(&format!("resnetrs{depth}")), 2, [size; 2], Input::Tensor, Mode::Inference).unwrap();
    let mut values = weights(&net.graph);
    values.set(&net.graph, net.input, pictures("input", 2, size)).unwrap();
    run(&net.graph, &mut values).unwrap();
    assert_close("logits", values.get(net.output("logits")).unwrap(), &want["logits"], TOLERANCE);
    if depth != 50 {
        return;
    }
    for (name, &map) in ["stem", "layer1", "layer2", "layer3", "layer4"].iter().zip(net.parts.ends()) {
        assert_close(name, &corner(&net.graph, &values, map), &want[*name], TOLERANCE);
    }
    let logits = net.output("logits");
    fuse::for_inference(&mut net.graph, &[logits]).unwrap();
    run(&net.graph, &mut values).unwrap();
    assert_close("logits after fusion", values.get(net.output("logits")).unwrap(), &want["logits"], TOLERANCE);
}

#[test]
fn logits_of_every_depth() {
    for depth in [50, 101, 152, 200, 270, 350, 420] {
        infer(depth, 64);
    }
}

#[test]
fn logits_of_efficientnets() {
    for size in ["b0", "b1", "b4", "b7"] {
        let want = load(&format!("infer_{size}_64"));
        let config = preset(&format!("tf_efficientnet_{size}"));
        let mut net = Network::build(&config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap();
        let mut values = weights_with(&net.graph, EFFICIENTNET_GAMMA);
        values.set(&net.graph, net.input, pictures("input", 1, 64)).unwrap();
        run(&net.graph, &mut values).unwrap();
        assert_close(size, values.get(net.output("logits")).unwrap(), &want["logits"], TOLERANCE);
        let logits = net.output("logits");
        fuse::for_inference(&mut net.graph, &[logits]).unwrap();
        run(&net.graph, &mut values).unwrap();
        assert_close("after fusion", values.get(net.output("logits")).unwrap(), &want["logits"], TOLERANCE);
    }
}

/// Every tensor of timm's state dict, by name and shape.
#[test]
fn efficientnet_tensors_are_those_of_timm() {
    let want = shapes("infer_b0_64");
    let graph =
        Network::build(&preset("tf_efficientnet_b0"), 1, [64; 2], Input::Tensor, Mode::Inference).unwrap().graph;
    let ours = graph.persistent().map(|id| graph.tensor(id));
    let ours: BTreeMap<String, Vec<usize>> = ours.map(|t| (t.name.clone(), timm::torch_shape(&t.spec))).collect();
    assert_eq!(ours, want);
}

/// 75 pixels: odd maps in every stage, so the last window of the shortcut's pool is clipped.
#[test]
fn logits_of_odd_pictures() {
    infer(50, 75);
}

/// One step's loss, gradients and running statistics.
fn training_step(config: &Config, batch: usize, size: usize, labels: &[f64]) -> (Network, TensorId, Values, Gradients) {
    let mut net = Network::build(config, batch, [size; 2], Input::Tensor, TRAINING).unwrap();
    let loss = SMOOTHED.loss(&mut net.graph, &net.outputs).unwrap().terms[0].id;
    let mut gradients = Gradients::new();
    autodiff::differentiate(&mut net.graph, &[Loss { id: loss, weight: 1.0 }], None, |_, parameter, gradient| {
        gradients.push((parameter, gradient));
        Ok(())
    })
    .unwrap();
    let mut values = weights(&net.graph);
    values.set(&net.graph, net.input, pictures("input", batch, size)).unwrap();
    values.set(&net.graph, net.graph.find("clock").unwrap(), vec![0.0, 0.0]).unwrap();
    values.set(&net.graph, net.graph.find("labels").unwrap(), labels.to_vec()).unwrap();
    run(&net.graph, &mut values).unwrap();
    (net, loss, values, gradients)
}

/// Each parameter with its gradient.
type Gradients = Vec<(TensorId, TensorId)>;

fn small_labels() -> Vec<f64> {
    (0..8).map(|i| f64::from(i * 7 % 10)).collect()
}

#[test]
fn small_training_step() {
    let want = load("train_small_step");
    let (net, loss, values, gradients) = training_step(&small(), 8, 32, &small_labels());
    assert_close("logits", values.get(net.output("logits")).unwrap(), &want["logits"], TOLERANCE);
    assert_close("loss", values.get(loss).unwrap(), &want["loss"], TOLERANCE);
    for &(parameter, gradient) in &gradients {
        let tensor = net.graph.tensor(parameter);
        let key = format!("grad.{}", tensor.name);
        let expected = synth::from_torch(&tensor.spec.shape, &want[&key]);
        assert_close(&key, values.get(gradient).unwrap(), &expected, TOLERANCE);
    }
    assert_eq!(gradients.len(), want.keys().filter(|k| k.starts_with("grad.")).count());
    let states = || net.graph.ids().filter(|&id| matches!(net.graph.tensor(id).role, Role::State(..)));
    for id in states() {
        let key = format!("after_forward.{}", net.graph.tensor(id).name);
        assert_close(&key, values.get(id).unwrap(), &want[&key], TOLERANCE);
    }
    assert_eq!(states().count(), want.keys().filter(|k| k.starts_with("after_forward.")).count());
}

#[test]
fn gradients_of_resnet_rs_50() {
    let want = load("train_rs50_64");
    let (net, loss, values, gradients) = training_step(&preset("resnetrs50"), 4, 64, &[0.0, 211.0, 422.0, 633.0]);
    let gradient_of = |parameter: TensorId| {
        let &(_, gradient) = gradients.iter().find(|(p, _)| *p == parameter).unwrap();
        values.get(gradient).unwrap()
    };
    assert_close("loss", values.get(loss).unwrap(), &want["loss"], TOLERANCE);
    for name in ["conv1.0.weight", "layer3.2.se.fc1.bias", "fc.bias"] {
        let id = net.graph.find(name).unwrap();
        let expected = synth::from_torch(&net.graph.spec(id).shape, &want[&format!("{name}.grad")]);
        assert_close(name, gradient_of(id), &expected, TOLERANCE);
    }
    // Parameters of the graph and of the PyTorch module come in different orders, so compare the norms sorted.
    let norm = |&(p, _): &(TensorId, TensorId)| gradient_of(p).iter().map(|g| g * g).sum::<f64>().sqrt();
    let mut norms: Vec<f64> = gradients.iter().map(norm).collect();
    let mut expected = want["grad_norms"].clone();
    norms.sort_by(f64::total_cmp);
    expected.sort_by(f32::total_cmp);
    for (got, want) in norms.iter().zip(&expected) {
        assert_close("gradient norm", &[*got], &[*want], TOLERANCE);
    }
    assert_eq!(norms.len(), expected.len());
}

/// Ten steps of an optimiser as in PyTorch, then evaluation with the running statistics.
fn ten_steps(case: &str, learning: Learning) {
    let want = load(case);
    let options = StepOptions { learning, ..StepOptions::default() };
    let Step { graph, loss, .. } = Step::build(&small(), 8, [32; 2], Input::Tensor, &SMOOTHED, &options).unwrap();
    let [loss, input, lr, clock, labels] = [loss[0].id]
        .into_iter()
        .chain(["input", "lr", "clock", "labels"].map(|name| graph.find(name).unwrap()))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();

    let mut values = weights(&graph);
    values.set(&graph, clock, vec![0.0, 0.0]).unwrap();
    values.set(&graph, labels, small_labels()).unwrap();
    values.set(&graph, lr, vec![0.001]).unwrap();
    let mut losses = Vec::new();
    for step in 0..10 {
        values.set(&graph, input, pictures(&format!("input{step}"), 8, 32)).unwrap();
        run(&graph, &mut values).unwrap();
        losses.extend(values.get(loss).unwrap());
    }
    assert_close("losses", &losses, &want["losses"], TOLERANCE);
    for name in ["conv1.0.weight", "fc.weight", "layer4.0.bn3.running_var"] {
        let id = graph.find(name).unwrap();
        let expected = synth::from_torch(&graph.spec(id).shape, &want[name]);
        assert_close(name, values.get(id).unwrap(), &expected, TOLERANCE);
    }

    let eval = Network::build(&small(), 8, [32; 2], Input::Tensor, Mode::Inference).unwrap();
    let mut trained = Values::new();
    for id in eval.graph.persistent() {
        let source = graph.find(&eval.graph.tensor(id).name).unwrap();
        trained.set(&eval.graph, id, values.get(source).unwrap().to_vec()).unwrap();
    }
    trained.set(&eval.graph, eval.input, pictures("input", 8, 32)).unwrap();
    run(&eval.graph, &mut trained).unwrap();
    assert_close("logits after training", trained.get(eval.output("logits")).unwrap(), &want["eval_logits"], TOLERANCE);
}

#[test]
fn ten_steps_of_sgd() {
    ten_steps("train_small_sgd", optimizers::sgd());
}

#[test]
fn ten_steps_of_nesterov() {
    ten_steps("train_small_nesterov", optimizers::nesterov());
}

#[test]
fn ten_steps_of_adamw() {
    ten_steps("train_small_adamw", optimizers::adamw());
}
