//! What fails on purpose: memory that runs out at every point of the preparation, and a device that is lost.
#![allow(clippy::unwrap_used)]

use resnet_rs::exec::{self, ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{self, Gpu, GpuOptions};
use resnet_rs::models::{Config, Input};
use resnet_rs::train::{Step, StepOptions};

fn step() -> Step {
    let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
    Step::build(&config, 4, [32; 2], Input::Tensor, &StepOptions::default()).unwrap()
}

fn session(gpu: &Gpu) -> Result<(Session, Step), exec::Error> {
    let step = step();
    let mut store = ParameterStore::new(gpu);
    store.allocate(&step.graph)?;
    store.initialize(1)?;
    Ok((Session::new(&store, step.graph.clone(), &[step.loss], &SessionOptions::default())?, step))
}

/// The limit grows until the session fits: each attempt before fails with the bytes in its message and frees all it took.
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

#[test]
fn a_lost_device_is_named() {
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let (mut session, step) = session(&gpu).unwrap();
    session.feed(&[(step.feeds.lr(), &[0.1])], &[]).unwrap();
    session.run().unwrap();
    session.read(step.loss).unwrap();
    gpu.destroy();
    let error = session.run().and_then(|()| session.read(step.loss)).unwrap_err();
    assert!(matches!(&error, exec::Error::Gpu(gpu::Error::DeviceLost { .. })), "{error}");
    assert!(error.to_string().contains(gpu.name()) && error.to_string().contains("--resume"), "{error}");
}
