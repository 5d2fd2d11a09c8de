//! Classifying a folder: decoding and resizing alone, the GPU's work alone, and both as in `predict`.
//!
//! `cargo bench --bench stream -- [MODEL [PICTURES]]`; by default resnet-rs-50 on 2,000 JPEGs of 500 x 375.

#[path = "common/application.rs"]
mod application;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use application::{arguments, untrained};
use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use resnet_rs::data::decode;
use resnet_rs::{Classifier, Gpu, GpuOptions, InferenceOptions, Picture};

/// The batch of `predict`.
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (model, count) = arguments(2000)?;
    let folder = tempfile::tempdir()?;
    let paths = write_pictures(folder.path(), count)?;
    let gpu = Gpu::new(&GpuOptions::default())?;
    let options = InferenceOptions { batch: BATCH, ..InferenceOptions::default() };
    let net = Classifier::new(&gpu, &untrained(&gpu, &model)?, &options)?;
    println!("{model} at {} px on {}, {count} pictures, {BATCH} at a time", net.card().res, gpu.name());

    let prepare = |path: &PathBuf| net.prepare(decode(path)?);
    let started = Instant::now();
    paths.par_iter().try_for_each(|path| prepare(path).map(drop))?;
    let decoding_s = told("decoding alone", started, count);

    let pictures = paths[..BATCH.min(count)].iter().map(prepare).collect::<Result<Vec<Picture<'_>>, _>>()?;
    net.classify_all(pictures.clone())?;
    let started = Instant::now();
    let mut before = None;
    for _ in 0..count.div_ceil(BATCH) {
        if let Some(before) = before.replace(net.submit_all(pictures.clone())?) {
            before.wait()?;
        }
    }
    before.map(|last| last.wait()).transpose()?;
    let computing_s = told("the GPU alone", started, count);

    let started = Instant::now();
    let ended = net.classify_files(&paths, |_, answer| match answer {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    })?;
    if let ControlFlow::Break(error) = ended {
        return Err(error.into());
    }
    let both_s = told("both", started, count);
    println!("of the slower one's speed: {:.3}", decoding_s.max(computing_s) / both_s);
    Ok(())
}

fn told(what: &str, started: Instant, count: usize) -> f64 {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {seconds:.2} s, {:.1} pictures/s", count as f64 / seconds);
    seconds
}

/// Pictures as detailed as photographs, by the size of their JPEGs.
fn write_pictures(folder: &Path, count: usize) -> Result<Vec<PathBuf>, Box<dyn Error + Send + Sync>> {
    let write = |i: usize| {
        let wave = |at: u32, period: f32| 60.0 * (at as f32 / period + i as f32).sin();
        let mut noise = rand_pcg::Pcg64Mcg::seed_from_u64(i as u64);
        let picture = RgbImage::from_fn(500, 375, |x, y| {
            let grain = noise.random_range(-12.0f32..12.0);
            let value = |a: f32, b: f32| (128.0 + wave(x, a) + wave(y, b) + grain) as u8;
            Rgb([value(31.0, 47.0), value(53.0, 23.0), value(91.0, 67.0)])
        });
        let path = folder.join(format!("{i:05}.jpg"));
        picture.save(&path)?;
        Ok(path)
    };
    (0..count).into_par_iter().map(write).collect()
}
