//! Whole networks on the default adapter: `cargo bench --bench network`.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{Adapter, Work, bench, criterion};
use criterion::Criterion;
use resnet_rs::bench::{Mode, Workload};
use resnet_rs::graph::Precision;
use resnet_rs::models::Preset;

fn network(c: &mut Criterion, adapter: &Adapter, mode: Mode, model: &str, classes: usize, batch: usize) {
    let preset = Preset::find(model).unwrap();
    let (config, res) = (preset.config(classes), preset.res as usize);
    let prepared =
        Workload { model: model.into(), config, res, batch, mode, precision: Precision::F32, recompute: false }
            .prepare()
            .unwrap();
    let mut running = prepared.start(&adapter.gpu, Instant::now(), &|_, _| {}).unwrap();
    let (graph, steps) = (running.session.graph(), &running.session.plan().steps);
    let costs: Vec<_> = steps.iter().map(|&i| graph.nodes()[i].cost(graph)).collect();
    let work = Work {
        flops: prepared.flops,
        bytes: costs.iter().map(|cost| cost.bytes).sum(),
        limit_ms: costs.iter().map(|cost| adapter.peaks.limit_ms(2 * cost.macs, cost.bytes)).sum(),
    };
    let id = [&format!("{mode:?}").to_lowercase(), &format!("{model}/{res}px/batch{batch}")];
    bench(c, &adapter.peaks, id.map(String::as_str), &work, || running.run_ms().unwrap());
}

fn main() {
    let (adapter, mut c) = (Adapter::open(), criterion());
    network(&mut c, &adapter, Mode::Infer, "resnet-rs-50", 1000, 1);
    network(&mut c, &adapter, Mode::Train, "small", 10, 32);
    network(&mut c, &adapter, Mode::Train, "resnet-rs-50", 1000, 8);
    c.final_summary();
}
