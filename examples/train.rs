//! Trains a small network on rendered shapes and classifies one of them:
//! `cargo run --release --example train -- FOLDER`

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use resnet_rs::data::{Dataset, TruthKind};
use resnet_rs::train::{EpochLine, Observer, Recipe, Run, Trainer};
use resnet_rs::{Classifier, Gpu, GpuOptions};

/// Prints the progress of the run.
struct Report;

impl Observer for Report {
    fn epoch(&self, line: &EpochLine) {
        let right = line.val("top1").unwrap_or_default();
        println!("epoch {}: {:.1} % of the held-out pictures are right", line.epoch, 100.0 * right);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("give a FOLDER for the run")?;
    let gpu = Gpu::new(&GpuOptions::default())?;

    let recipe = Recipe { model: "small".into(), epochs: 3, ..Recipe::default() };
    let run = Run::new(Path::new(&folder), "shapes", recipe)?;
    // Another thread or a signal handler may set this to end the run after its current step; Run::resume continues it.
    let stop = AtomicBool::new(false);
    let summary = Trainer::new(&gpu, run, None, None, &Report, &stop)?.train()?;
    println!("{} steps, at best {:.1} %", summary.steps, 100.0 * summary.best.unwrap_or(0.0));

    let net = Classifier::load(&gpu, Path::new(&folder).join("best.safetensors"))?;
    let data = Dataset::open("shapes", TruthKind::Class)?;
    let held_out = data.val.sample(7)?;
    let best = &net.classify(&held_out.image)?.top(1)[0];
    let class = held_out.truth.class().map(|class| &data.classes[class as usize]);
    println!("a {} is taken for a {}", class.map_or("picture", String::as_str), best.label);
    Ok(())
}
