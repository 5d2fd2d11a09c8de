//! Compares every kernel of both families with the reference, on every adapter.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, HalfStorage};
use resnet_rs::graph::half::store_half;
use resnet_rs::graph::op::ScaleAdd;
use resnet_rs::graph::{DType, Graph, Spec};
use resnet_rs::selftest::{Case, cases, run};

fn hold(gpu: &Gpu, cases: &[Case]) {
    let outcomes = run(gpu, cases, |_| {}).unwrap();
    let worst = outcomes.iter().max_by(|a, b| a.error.total_cmp(&b.error)).unwrap();
    eprintln!("{} cases, worst {:.3} of what is allowed: {}", outcomes.len(), worst.error, worst.case);
    let off: Vec<String> =
        outcomes.iter().filter(|o| !o.passed).map(|o| format!("  {} times: {}", o.error, o.case)).collect();
    assert!(off.is_empty(), "off by more than is allowed on {}:\n{}", gpu.name(), off.join("\n"));
}

/// In one test, since a device keeps its compiled kernels, and compiling takes most of the time.
#[test]
fn standard_and_random_cases() {
    let cases: Vec<Case> = cases::standard().into_iter().chain((0..20).flat_map(cases::random)).collect();
    adapters::on_each(|gpu| hold(gpu, &cases));
}

/// Adapters with 16-bit floats also read them packed, like adapters without.
#[test]
fn packed_half_cases() {
    let is_half = |case: &Case| case.graph.tensors().iter().any(|t| t.spec.dtype == DType::F16);
    let half: Vec<Case> = cases::standard().into_iter().chain((0..5).flat_map(cases::random)).filter(is_half).collect();
    adapters::on_each_half(|gpu| {
        if gpu.report().f16 && gpu.half_storage() == HalfStorage::Packed {
            hold(gpu, &half);
        }
    });
}

#[test]
fn beyond_half_precision_lies_its_largest_number() {
    let mut graph = Graph::new();
    let x = graph.input("x", Spec::channels([1, 1, 1, 4])).unwrap();
    let sum = graph.apply1("sum", ScaleAdd::ADD, &[x, x]).unwrap();
    store_half(&mut graph).unwrap();
    adapters::on_each_half(|gpu| {
        let options = SessionOptions::default();
        let mut session = Session::new(&ParameterStore::new(gpu), graph.clone(), &[sum], &options).unwrap();
        session.feed(&[(x, &[1e9, 4e4, -4e4, 32752.0])], &[]).unwrap();
        session.run().unwrap();
        assert_eq!(session.read(sum).unwrap(), [65504.0, 65504.0, -65504.0, 65504.0]);
    });
}

/// A value beyond f32 is finite in the reference and infinite on the GPU.
#[test]
fn a_wrong_result_is_found() {
    adapters::on_each(|gpu| {
        let mut case = cases::standard().swap_remove(0);
        let passes = |case: &Case| run(gpu, std::slice::from_ref(case), |_| {}).unwrap()[0].passed;
        assert!(passes(&case));
        case.feeds[0].1[0] = 2.0 * f64::from(f32::MAX);
        assert!(!passes(&case));
    });
}
