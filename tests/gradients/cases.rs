//! Compares gradients of every operation with central differences, on the cases of the self-test.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use resnet_rs::graph::{DType, Init, Node, Role, Tensor, TensorId, autodiff};
use resnet_rs::reference::run;
use resnet_rs::selftest::{Case, cases};

use super::{Net, positive, synth};

/// Copies a case to a net, with its nodes and values. The tensors that the case is differentiable in become parameters.
/// Also returns the id in the net of each of the case's tensors.
fn with_parameters(case: &Case) -> (Net, HashMap<TensorId, TensorId>) {
    let (mut net, from) = (Net::default(), &case.graph);
    let results = from.producers();
    let mut here = HashMap::new();
    for id in from.ids().filter(|id| !results.contains_key(id)) {
        let Tensor { name, spec, role } = from.tensor(id).clone();
        let learned = case.differentiable.contains(&id);
        let role = if learned { Role::Parameter(Init::Constant(0.0)) } else { role };
        here.insert(id, net.graph.add_tensor(name, spec, role).unwrap());
    }
    for node in from.nodes() {
        let [inputs, updates] =
            [&node.inputs, &node.updates].map(|ids| ids.iter().map(|id| here[id]).collect::<Vec<_>>());
        let outputs = net.graph.apply(&node.name, node.op.clone(), &inputs, &updates).unwrap();
        here.extend(node.outputs.iter().copied().zip(outputs));
    }
    for (id, elements) in &case.feeds {
        net.values.set(&net.graph, here[id], elements.clone()).unwrap();
    }
    (net, here)
}

/// The most multiply-adds and elements that one run of a checked case may take. The other cases differ in size alone.
const LARGEST_RUN: usize = 1_000_000;

/// The most multiply-adds and elements that all runs for one tensor of a case may take together. This limits how many
/// elements of the tensor are checked.
const RUNS: usize = 4_000_000;

/// Compares the gradients of a case's first result, weighted element by element, with central differences, as [`check`]
/// does for a loss. Returns the largest gradient that was checked, or `None` for a case that is too large.
fn check_case(case: &Case) -> Option<f64> {
    let (net, here) = with_parameters(case);
    let result = here[&case.compare[0].0];
    let macs: u64 = net.graph.nodes().iter().map(|node| node.cost(&net.graph).macs).sum();
    let work = macs as usize + net.graph.tensors().iter().map(|t| t.spec.elements()).sum::<usize>();
    if work > LARGEST_RUN {
        return None;
    }
    let (mut graph, mut values) = (net.graph.clone(), net.values.clone());
    let seed = graph.input("seed", graph.spec(result).clone()).unwrap();
    let weights: Vec<f64> = synth::value("seed", graph.spec(seed).elements(), 7).into_iter().map(f64::from).collect();
    values.set(&graph, seed, weights.clone()).unwrap();
    let mut gradients = Vec::new();
    autodiff::propagate(&mut graph, &[(result, seed)], |_, parameter, gradient| {
        gradients.push((parameter, gradient));
        Ok(())
    })
    .unwrap_or_else(|e| panic!("{}: {e}", case.name));
    assert_eq!(gradients.len(), case.differentiable.len(), "{}: every input once", case.name);
    run(&graph, &mut values).unwrap();
    let kinks = positive(&net.graph, &values);

    let (mut all, mut checked, mut skipped) = (0.0f64, 0, 0);
    for (parameter, gradient) in gradients {
        let name = &net.graph.tensor(parameter).name;
        let analytic = values.get(gradient).unwrap();
        let largest = analytic.iter().fold(0.0, |max: f64, g| max.max(g.abs()));
        all = all.max(largest);
        let start = net.values.get(parameter).unwrap();
        let count = (RUNS / work).clamp(4, 100).min(start.len());
        for nth in 0..count {
            // All elements of a small tensor; of a larger one, elements scattered over the tensor.
            let i = if count == start.len() { nth } else { nth * 0x9E37_79B1 % start.len() };
            let step = f64::EPSILON.cbrt() * start[i].abs().max(1.0);
            let result_at = |offset: f64| {
                let mut moved = net.values.clone();
                let mut elements = start.to_vec();
                elements[i] += offset;
                moved.set(&net.graph, parameter, elements).unwrap();
                run(&net.graph, &mut moved).unwrap();
                (positive(&net.graph, &moved) == kinks).then(|| moved.get(result).unwrap().to_vec())
            };
            let (Some(above), Some(below)) = (result_at(step), result_at(-step)) else {
                skipped += 1;
                continue;
            };
            // Subtracts element by element, since most elements are equal: the rounding errors of two sums would add
            // up.
            let differences = weights.iter().zip(above.iter().zip(&below)).map(|(w, (a, b))| w * (a - b));
            let numeric = differences.sum::<f64>() / (2.0 * step);
            let error = (analytic[i] - numeric).abs();
            let what =
                || format!("{}: {name}[{i}]: {} by the chain rule, {numeric} by differences", case.name, analytic[i]);
            // A batch norm of two pixels has gradients that almost cancel.
            assert!(error <= 1e-6 * largest.max(1e-3), "{}: off by {error:e}", what());
            checked += 1;
        }
    }
    // A batch norm moves thousands of elements at once, and joins have inputs of exactly 0.
    assert!(skipped * 10 <= checked, "{}: {skipped} of {checked} elements lie at a kink", case.name);
    Some(all)
}

/// Checks all cases of the self-test. A case whose operation has a gradient must list the tensors that it is
/// differentiable in.
#[test]
fn every_differentiable_case() {
    let cases: Vec<Case> = cases::standard().into_iter().chain((0..20).flat_map(cases::random)).collect();
    let has_gradient = |case: &&Case| {
        let mut graph = case.graph.clone();
        let result = case.compare[0].0;
        let makes_it = |node: &Node| !node.inputs.is_empty() && node.outputs.first() == Some(&result);
        let single = graph.nodes().len() == 1 && makes_it(&graph.nodes()[0]);
        let seed = graph.input("seed", graph.spec(result).clone()).unwrap();
        single && autodiff::propagate(&mut graph, &[(result, seed)], |_, _, _| Ok(())).is_ok()
    };
    let in_full = |case: &&Case| case.graph.tensors().iter().all(|tensor| tensor.spec.dtype != DType::F16);
    for case in cases.iter().filter(in_full).filter(has_gradient) {
        assert!(!case.differentiable.is_empty(), "{} has a gradient, which nobody checks", case.name);
    }
    let differentiable: Vec<&Case> = cases.iter().filter(|case| !case.differentiable.is_empty()).collect();
    let checked = differentiable.par_iter().map(|case| (case, check_case(case)));
    let alive: HashSet<&str> = checked
        .filter(|(_, largest)| largest.is_some_and(|largest| largest > 1e-3))
        .map(|(case, _)| case.graph.nodes()[0].op.variant())
        .collect();
    let wanted: HashSet<&str> = differentiable.iter().map(|case| case.graph.nodes()[0].op.variant()).collect();
    assert_eq!(alive, wanted, "operations with a gradient that is not too small to be checked");
}

#[test]
fn small_windows() {
    cases::small_windows().par_iter().for_each(|case| {
        let largest = check_case(case).unwrap();
        assert!(largest > 1e-3, "{}: gradients are at most {largest:e}, too small to be checked", case.name);
    });
}
