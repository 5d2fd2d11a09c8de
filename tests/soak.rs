//! Ten thousand answers, then two hundred networks, in one process whose memory must not grow. It runs alone in its
//! process, since other tests' memory would count.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "common/golden.rs"]
mod golden;
#[path = "common/synth.rs"]
mod synth;
#[path = "common/weights.rs"]
mod weights;

use image::RgbImage;
use resnet_rs::models::Config;
use resnet_rs::weights::{ModelCard, TrainedNetwork};
use resnet_rs::{Classifier, Gpu, InferenceOptions};

const ANSWERS: usize = 10_000;
const NETWORKS: usize = 200;

/// The first runs of either, whose memory is not limited.
const FIRST: usize = 100;

/// Allowed growth of memory at the end, for the allocator's fragmentation.
const GROWTH: f64 = 1.02;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Repeats `work`, and compares the memory at the end with that after the first [`FIRST`] times.
fn repeat(what: &str, times: usize, mut work: impl FnMut(usize)) {
    let mut after_first = 0;
    for i in 0..times {
        work(i);
        if i + 1 == FIRST {
            after_first = resident_kib();
        }
    }
    let at_end = resident_kib();
    let growth = at_end as f64 / after_first as f64;
    eprintln!("{times} {what}: {} MiB after {FIRST}, {} MiB at the end: {growth:.4}", after_first >> 10, at_end >> 10);
    assert!(growth <= GROWTH, "{what}: resident memory has grown by a factor of {growth:.4}");
}

fn load(gpu: &Gpu, network: &TrainedNetwork) -> Classifier {
    Classifier::new(gpu, network, &InferenceOptions::default()).unwrap()
}

#[test]
fn memory_stays_where_it_is() {
    let card = ModelCard { res: 32, ..ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)) };
    let network = weights::network(&card);
    let picture = RgbImage::from_fn(50, 40, |x, y| image::Rgb([(5 * x) as u8, (6 * y) as u8, 90]));
    adapters::on_fastest(|gpu| {
        let net = load(gpu, &network);
        let want = net.classify(&picture).unwrap().logits;
        repeat("answers", ANSWERS, |i| {
            // Waited for, awaited, abandoned.
            let pending = net.submit(&picture).unwrap();
            match i % 3 {
                0 => assert_eq!(pending.wait().unwrap().logits, want),
                1 => assert_eq!(pollster::block_on(pending).unwrap().logits, want),
                _ => drop(pending),
            }
        });
        drop(net);
        let allocated = gpu.allocated_bytes();
        repeat("networks", NETWORKS, |_| {
            let net = load(gpu, &network);
            assert_eq!(net.classify(&picture).unwrap().logits, want);
            drop(net);
            assert_eq!(gpu.allocated_bytes(), allocated, "what a network takes it gives back");
        });
    });
}
