//! Every distinct convolution of ResNet-RS-50 and of `small`, forward and both gradients, and every distinct batch
//! norm, on the default adapter: `cargo bench --bench kernels`, with a part of a name after `--` to select some. Cases
//! of the self-test are measured only if named: `cargo bench --bench kernels -- 'case/conv2d 3x3'`. Times are the
//! adapter's own if it has timestamps.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{Adapter, Work, bench, criterion};
use criterion::Criterion;
use resnet_rs::bench::distinct;
use resnet_rs::exec::{self, Session};
use resnet_rs::graph::{Op, Precision};
use resnet_rs::models::Preset;
use resnet_rs::selftest::cases;
use resnet_rs::summary::training_step;

fn wanted(op: &Op) -> bool {
    let convolution = matches!(op, Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_));
    convolution || matches!(op, Op::BatchNorm(_) | Op::BatchNormGrad(_))
}

fn run_ms(session: &mut Session) -> Result<f64, exec::Error> {
    let started = Instant::now();
    if let Some(times) = session.run_timed()? {
        return Ok(times.iter().map(|node| node.milliseconds).sum());
    }
    session.wait()?;
    Ok(1e3 * started.elapsed().as_secs_f64())
}

fn network(c: &mut Criterion, adapter: &Adapter, model: &str, classes: usize, res: usize, batch: usize) {
    let config = Preset::find(model).unwrap().config(classes);
    let graph = training_step(&config, batch, [res; 2], Precision::F32, false).unwrap().graph;
    for node in distinct(&graph, wanted) {
        let (flops, bytes) = (2 * node.cost.macs, node.cost.bytes);
        let work = Work { flops, bytes, limit_ms: adapter.peaks.limit_ms(flops, bytes) };
        let mut session = None;
        let run = || run_ms(session.get_or_insert_with(|| node.session(&adapter.gpu, None).unwrap())).unwrap();
        bench(c, &adapter.peaks, [&format!("{model}/{}", node.op), &node.name], &work, run);
    }
}

/// The self-test's cases whose names start with the first argument.
fn cases(c: &mut Criterion, adapter: &Adapter) {
    let Some(wanted) = std::env::args().skip(1).find_map(|word| word.strip_prefix("case/").map(str::to_owned)) else {
        return;
    };
    for case in cases::standard().iter().filter(|case| case.name.starts_with(&wanted)) {
        let costs = || case.graph.nodes().iter().map(|node| node.cost(&case.graph));
        let (flops, bytes) = (costs().map(|cost| 2 * cost.macs).sum(), costs().map(|cost| cost.bytes).sum());
        let work = Work { flops, bytes, limit_ms: adapter.peaks.limit_ms(flops, bytes) };
        let mut ready = None;
        let run = || {
            let (_, session) = ready.get_or_insert_with(|| case.session(&adapter.gpu, None).unwrap());
            run_ms(session).unwrap()
        };
        bench(c, &adapter.peaks, ["case", &case.name], &work, run);
    }
}

fn main() {
    let (adapter, mut c) = (Adapter::open(), criterion());
    network(&mut c, &adapter, "resnet-rs-50", 1000, 160, 4);
    network(&mut c, &adapter, "small", 10, 32, 32);
    cases(&mut c, &adapter);
    c.final_summary();
}
