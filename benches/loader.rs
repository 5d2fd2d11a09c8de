//! Pictures per second that the CPU can load: `cargo bench --bench loader`. Compare with the rate that `train` prints.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use image::{Rgb, RgbImage};
use resnet_rs::data::{
    Augment, Augmentation, Batches, Convention, Dataset, LoaderOptions, RandAugment, Transform, TruthKind,
};

/// Pictures on disk, and pictures in an epoch.
const PICTURES: usize = 128;
/// Their side, px: about that of ImageNet's photographs.
const SIDE: u32 = 500;
const BATCH: usize = 32;
const RES: usize = 160;

/// Writes JPEGs with as much detail as photographs: about 70 kB each at the usual quality.
fn write_pictures(folder: &Path) {
    for (split, count) in [("train", PICTURES), ("val", 2)] {
        for i in 0..count {
            let class = folder.join(split).join(format!("class{}", i % 2));
            std::fs::create_dir_all(&class).unwrap();
            let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
                let wave = |period: f32| ((x as f32 / period).sin() + ((y + i as u32) as f32 / period).cos()) * 24.0;
                let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503 + i as u32)) >> 24;
                Rgb([2.0, 9.0, 60.0].map(|period| (128.0 + wave(period) + wave(90.0) + (noise % 32) as f32) as u8))
            });
            picture.save(class.join(format!("{i:04}.jpg"))).unwrap();
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    write_pictures(folder.path());
    let dataset = Dataset::open(&format!("folder:{}", folder.path().display()), TruthKind::Class).unwrap();
    let mut c = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(5)).configure_from_args();
    let mut group = c.benchmark_group(format!("loader/{SIDE} px JPEGs to {RES} px"));
    group.throughput(Throughput::Elements(PICTURES as u64));
    let rand_augment = RandAugment { layers: 2, magnitude: 10.0, convention: Convention::Timm, colour_only: false };
    for (name, rand_augment) in [("crops and flips", None), ("RandAugment", Some(rand_augment))] {
        let augmentation = Augmentation {
            crop: Augment::Standard { shift: 0.125, hflip: 0.5 },
            rand_augment,
            ..Augmentation::default()
        };
        let transform = Transform::Train { augmentation, small: false, shuffle: true, seed: 0 };
        let options = LoaderOptions { batch: BATCH, at_once: 1, size: [RES; 2], transform };
        group.bench_function(name, |b| {
            b.iter(|| {
                let batches = Batches::new(dataset.train.clone(), options, 0, 0);
                batches.map(|batch| batch.unwrap().truths.len()).sum::<usize>()
            });
        });
    }
    group.finish();
    c.final_summary();
}
