//! Detection, segmentation and depth in training: they learn, and a resumed run ends in the same bits.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
#[allow(dead_code)]
mod adapters;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use resnet_rs::data::{Dataset, Geometry, Truth};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::Gpu;
use resnet_rs::graph::Elements;
use resnet_rs::models::{Input, Purpose};
use resnet_rs::train::{
    BoxLossName, Learning, Observer, Optimizer, Recipe, RecipeFlags, Run, Sgd, Step, StepOptions, Trainer,
    TrainingPrecision,
};
use resnet_rs::weights::StateDict;

/// A small network for a task.
fn recipe(task: Purpose) -> Recipe {
    let flags = RecipeFlags {
        task: Some(task),
        model: Some("small".into()),
        batch: Some(8),
        head_channels: Some(32),
        decoder_widths: Some([64, 32, 32, 16, 16]),
        ..RecipeFlags::default()
    };
    Recipe::resolve(None, &flags).unwrap()
}

struct Silent;

impl Observer for Silent {}

/// Trains up to a step, in a new run or the one of this folder. Returns the state.
fn train(gpu: &Gpu, recipe: &Recipe, folder: &Path, steps: u64) -> StateDict {
    let flags = RecipeFlags { max_steps: Some(steps), ..RecipeFlags::default() };
    let (run, checkpoint) = match folder.exists() {
        false => (Run::new(folder, "shapes", recipe.with(&flags).unwrap()).unwrap(), None),
        true => Run::resume(folder, None, &flags, false).map(|(run, c)| (run, Some(c))).unwrap(),
    };
    let stop = AtomicBool::new(false);
    Trainer::new(gpu, run, checkpoint, None, &Silent, &stop).unwrap().train().unwrap();
    StateDict::read(&folder.join("checkpoint/state.safetensors")).unwrap()
}

/// In mixed precision and in parts too, since these keep more states.
#[test]
fn a_resumed_run_ends_in_the_same_bits() {
    adapters::on_fastest(|gpu| {
        let folder = tempfile::tempdir().unwrap();
        for (task, precision, accumulate) in [
            (Purpose::Segment, TrainingPrecision::Mixed, 1),
            (Purpose::Detect, TrainingPrecision::F32, 2),
            (Purpose::Depth, TrainingPrecision::F32, 1),
        ] {
            let recipe = Recipe { precision, accumulate, ema: 0.9, ..recipe(task) };
            let run = |name: &str, steps| train(gpu, &recipe, &folder.path().join(format!("{task}-{name}")), steps);
            let whole = run("whole", 5);
            run("parts", 3);
            let resumed = run("parts", 5);
            assert_same(&format!("{task}, resumed"), &whole, &resumed);
        }
    });
}

fn assert_same(what: &str, first: &StateDict, second: &StateDict) {
    assert_eq!(first.tensors.len(), second.tensors.len());
    let differs = first.tensors.iter().find(|(name, tensor)| {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        bits(&tensor.data) != bits(&second.tensors[*name].data)
    });
    assert!(differs.is_none(), "{what}: {} differs", differs.unwrap().0);
}

/// Heads have what classifiers lack: weights that several maps share, maps that are joined or resized, dropout of maps.
#[test]
fn recomputing_changes_no_bit() {
    adapters::on_fastest(|gpu| {
        let folder = tempfile::tempdir().unwrap();
        for task in [Purpose::Segment, Purpose::Detect, Purpose::Depth] {
            let run = |recompute| {
                let recipe = Recipe { recompute, dropout: 0.1, ..recipe(task) };
                train(gpu, &recipe, &folder.path().join(format!("{task}-{recompute}")), 3)
            };
            assert_same(&format!("{task}, recomputed"), &run(false), &run(true));
        }
    });
}

/// The terms of the loss in steps on one batch of eight scenes.
fn losses(gpu: &Gpu, recipe: &Recipe, lr: f32, steps: usize) -> Vec<Vec<f32>> {
    let task = recipe.task();
    let data = Dataset::open("shapes", task.truth()).unwrap();
    let samples: Vec<_> = (0..8).map(|index| data.train.sample(index).unwrap()).collect();
    let card = task.card(recipe, &data).unwrap();
    let size = [card.res as usize; 2];
    let optimizer = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: true });
    let learning = Learning { optimizer, weight_decay: 0.0, max_norm: 10.0, ..Learning::default() };
    let options = StepOptions { learning, ..StepOptions::default() };
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let step = Step::build(&card.config, samples.len(), size, input, &*task, &options).unwrap();
    let mut store = ParameterStore::new(gpu);
    store.allocate(&step.graph).unwrap();
    store.initialize(1).unwrap();
    let (terms, outputs) = (step.loss.clone(), step.outputs());
    let mut session = Session::new(&store, step.graph, &outputs, &SessionOptions::default()).unwrap();
    session.prepare().unwrap();

    let pixel = |pixel: &image::Rgb<u8>| u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 255]);
    let pixels: Vec<u32> = samples.iter().flat_map(|sample| sample.image.pixels().map(pixel)).collect();
    let truths: Vec<Truth> = samples.into_iter().map(|sample| sample.truth).collect();
    let targets = task.encode(&truths, &vec![Geometry::whole(size); truths.len()], None).unwrap();
    let mut losses = Vec::new();
    for number in 0..steps {
        let mut feeds: Vec<(&str, Elements<'_>)> = vec![("pixels", pixels[..].into())];
        // A short warm-up.
        let lr = [lr * ((number + 1) as f32 / 10.0).min(1.0)];
        let clock = [0, number as u32];
        feeds.extend([("lr", lr[..].into()), ("factor", [1.0][..].into()), ("clock", clock[..].into())]);
        feeds.extend(targets.iter());
        session.feed_inputs(&feeds).unwrap();
        session.run().unwrap();
        let values = session.read_later(&outputs).unwrap().wait().unwrap();
        losses.push(terms.iter().zip(values).map(|(term, value)| term.weight * value[0]).collect());
    }
    losses
}

/// Networks that cannot learn eight scenes by heart have a mistake somewhere.
#[test]
fn scenes_are_learnt_by_heart() {
    adapters::on_fastest(|gpu| {
        let detect = |box_loss| Recipe { box_loss, ..recipe(Purpose::Detect) };
        for (recipe, lr, steps, share) in [
            (recipe(Purpose::Segment), 0.2, 60, 0.15),
            (detect(BoxLossName::L1), 0.02, 80, 0.25),
            (detect(BoxLossName::Huber), 0.02, 80, 0.25),
            (detect(BoxLossName::Giou), 0.02, 80, 0.4),
            (recipe(Purpose::Depth), 0.05, 60, 0.5),
        ] {
            let losses = losses(gpu, &recipe, lr, steps);
            let task = recipe.task();
            let sums: Vec<f32> = losses.iter().map(|terms| terms.iter().sum()).collect();
            let last = sums[steps - 5..].iter().copied().max_by(f32::total_cmp).unwrap();
            assert!(last < share * sums[0], "{task:?}: the loss is still {last} after {steps} steps: {sums:?}");
            // Of a detector, that of the boxes by itself.
            let of_boxes: Vec<f32> = losses.iter().filter_map(|terms| terms.get(1).copied()).collect();
            let fell = of_boxes.is_empty() || of_boxes[steps - 5..].iter().all(|last| *last < 0.6 * of_boxes[0]);
            assert!(fell, "{task:?}: the loss of the boxes: {of_boxes:?}");
        }
    });
}
