//! Whole networks on the default adapter: `cargo bench --bench network`. Throughput is multiply-adds, so GFLOP/s is twice
//! the figure shown in Gelem/s.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, GpuOptions};
use resnet_rs::graph::{Graph, TensorId, fuse};
use resnet_rs::models::{Config, Input, Mode, Network, Preset};
use resnet_rs::train::{Decay, Optimizer, Step};

fn macs(graph: &Graph) -> u64 {
    graph.nodes().iter().map(|n| n.cost(graph).macs).sum()
}

fn session(gpu: &Gpu, graph: Graph, output: TensorId) -> Session {
    let mut store = ParameterStore::new(gpu);
    store.allocate(&graph).unwrap();
    store.initialize(1).unwrap();
    let mut session = Session::new(&store, graph, &[output], &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    session
}

fn inference(c: &mut Criterion, gpu: &Gpu, model: &str, batch: usize, res: usize) {
    let config = Preset::find(model).unwrap().config(1000);
    let mut net = Network::build(&config, batch, [res; 2], Input::Tensor, Mode::Inference).unwrap();
    let throughput = Throughput::Elements(macs(&net.graph));
    fuse::for_inference(&mut net.graph, &[net.logits]).unwrap();
    let mut session = session(gpu, net.graph, net.logits);
    session.feed(&[(net.input, &vec![0.5; batch * res * res * 3])], &[]).unwrap();
    let mut group = c.benchmark_group(gpu.name().to_owned());
    group.sample_size(10).throughput(throughput);
    group.bench_function(format!("infer/{model}/{res}px/batch{batch}"), |b| {
        b.iter(|| {
            session.run().unwrap();
            session.read(net.logits).unwrap()
        });
    });
}

fn training(c: &mut Criterion, gpu: &Gpu, config: &Config, name: &str, batch: usize, res: usize) {
    let optimizer = Optimizer { momentum: 0.9, nesterov: true, weight_decay: 4e-5, decay: Decay::All };
    let step = Step::build(config, batch, [res; 2], Input::Tensor, 0.1, &optimizer).unwrap();
    let throughput = Throughput::Elements(macs(&step.graph));
    let mut session = session(gpu, step.graph, step.loss);
    let pictures: Vec<f32> = (0..batch * res * res * 3).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let labels: Vec<u32> = (0..batch).map(|i| (i % 10) as u32).collect();
    session.feed(&[(step.input, &pictures), (step.lr, &[0.01])], &[(step.labels, &labels)]).unwrap();
    let mut group = c.benchmark_group(gpu.name().to_owned());
    group.sample_size(10).throughput(throughput);
    group.bench_function(format!("train/{name}/{res}px/batch{batch}"), |b| {
        b.iter(|| {
            session.run().unwrap();
            session.read(step.loss).unwrap()
        });
    });
}

fn networks(c: &mut Criterion) {
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    inference(c, &gpu, "resnet-rs-50", 1, 160);
    training(c, &gpu, &Config::resnet_rs([1, 1, 1, 1], 0.25, 10), "small", 32, 32);
    training(c, &gpu, &Preset::find("resnet-rs-50").unwrap().config(1000), "resnet-rs-50", 8, 160);
}

criterion_group!(benches, networks);
criterion_main!(benches);
