//! Classifies pictures eight at a time, in f16, and reads the next eight while the GPU works:
//! `cargo run --release --example batch -- WEIGHTS.safetensors PICTURE...`

use std::error::Error;

use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions, Picture, Precision};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let weights = arguments.next().ok_or("give WEIGHTS.safetensors PICTURE...")?;
    let paths: Vec<String> = arguments.collect();

    let gpu = Gpu::new(&GpuOptions::default())?;
    let options = InferenceOptions { batch: 8, precision: Precision::F16, ..InferenceOptions::default() };
    let net = Classifier::load_with(&gpu, weights, &options)?;

    let mut batches = paths.chunks(8);
    let mut submit = || -> Result<_, Box<dyn Error>> {
        let Some(paths) = batches.next() else { return Ok(None) };
        let pictures = paths.iter().map(Picture::open).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((paths, net.submit_all(pictures)?)))
    };
    let mut waiting = submit()?;
    while let Some((paths, answers)) = waiting {
        waiting = submit()?;
        for (path, answer) in paths.iter().zip(answers.wait()?) {
            let best = &answer.top(1)[0];
            println!("{path}: {:.2} % {}", 100.0 * best.probability, best.label);
        }
    }
    Ok(())
}
