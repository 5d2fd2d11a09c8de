//! Provoked failures: memory that runs out at every point of the preparation, and a lost device.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use resnet_rs::exec::{self, ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{self, Gpu, GpuOptions};
use resnet_rs::models::{Config, Input};
use resnet_rs::train::task::Classify;
use resnet_rs::train::{Observer, Recipe, Run, Step, StepLine, StepOptions, Trainer};

fn step() -> Step {
    let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
    Step::build(&config, 4, [32; 2], Input::Tensor, &Classify::default(), &StepOptions::default()).unwrap()
}

fn session(gpu: &Gpu) -> Result<(Session, Step), exec::Error> {
    let step = step();
    let mut store = ParameterStore::new(gpu);
    store.allocate(&step.graph)?;
    store.initialize(1)?;
    Ok((Session::new(&store, step.graph.clone(), &[step.loss[0].id], &SessionOptions::default())?, step))
}

/// The limit grows until the session fits. Each earlier attempt fails with the bytes in its message and frees all its
/// memory.
#[test]
fn memory_that_runs_out_is_reported_and_freed() {
    let (mut limit, mut failures) = (64 << 10, 0);
    loop {
        let gpu = Gpu::new(&GpuOptions { memory_limit_bytes: Some(limit), ..GpuOptions::default() }).unwrap();
        match session(&gpu) {
            Ok(_) => break,
            Err(exec::Error::Gpu(error @ gpu::Error::OutOfMemory { .. })) => {
                assert!(error.to_string().contains(&format!("the limit set is {limit}")), "{error}");
                assert_eq!(gpu.allocated_bytes(), 0);
            }
            Err(other) => panic!("{other}"),
        }
        failures += 1;
        limit += limit / 4;
    }
    assert!(failures > 10, "the limit fell on parameters, momenta and slots, {failures} times in all");
}

/// Destroys the device at its fifth step.
struct Saboteur<'a> {
    gpu: &'a Gpu,
    steps: AtomicU32,
}

impl Observer for Saboteur<'_> {
    fn step(&self, _: &StepLine) {
        if self.steps.fetch_add(1, Ordering::Relaxed) == 4 {
            self.gpu.destroy();
        }
    }
}

/// An observer that does nothing.
struct Nobody;

impl Observer for Nobody {}

/// The run opens the device again, continues from its checkpoint, and ends in the same bits.
#[test]
fn a_run_outlives_its_device() {
    let folder = tempfile::tempdir().unwrap();
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let train = |name: &str, observer: &dyn Observer| {
        let recipe = Recipe { batch: 16, max_steps: Some(12), ..Recipe::default() };
        let run = Run::new(&folder.path().join(name), "shapes", recipe).unwrap();
        let stop = AtomicBool::new(false);
        let summary = Trainer::new(&gpu, run, None, None, observer, &stop).unwrap().train().unwrap();
        assert_eq!(summary.steps, 12);
        ["last.safetensors", "metrics.jsonl"].map(|file| std::fs::read(folder.path().join(name).join(file)).unwrap())
    };
    let [weights, _] = train("undisturbed", &Nobody);
    let saboteur = Saboteur { gpu: &gpu, steps: AtomicU32::new(0) };
    let [disturbed, metrics] = train("disturbed", &saboteur);
    assert!(saboteur.steps.into_inner() > 12, "some steps were made twice");
    assert_eq!(metrics.iter().filter(|&&byte| byte == b'\n').count(), 12, "and stand in the metrics once");
    assert!(weights == disturbed);
}

#[test]
fn a_lost_device_is_named() {
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let (mut session, step) = session(&gpu).unwrap();
    session.feed(&[(step.graph.find("lr").unwrap(), &[0.1])], &[]).unwrap();
    session.run().unwrap();
    session.read(step.loss[0].id).unwrap();
    gpu.destroy();
    let error = session.run().and_then(|()| session.read(step.loss[0].id)).unwrap_err();
    assert!(matches!(&error, exec::Error::Gpu(gpu::Error::DeviceLost { .. })), "{error}");
    assert!(error.to_string().contains(gpu.name()) && error.to_string().contains("--resume"), "{error}");
}
