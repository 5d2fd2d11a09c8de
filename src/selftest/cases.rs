//! The suite of operations: the cases that the tests and `resnet-rs selftest` run on every adapter with every kernel
//! family.
//!
//! # Tolerance
//! A case compares tensors with the reference's. Each has an accumulation length K, the number of products or sums of
//! order one that an element adds up; [`super`] derives the tolerance from it. The fed values are chosen such that the
//! results are well conditioned: rounding those values once more stays within a quarter of the tolerance.

mod block;
mod boxes;
mod convolutions;
mod depth;
mod draft;
mod head;
mod maps;
mod ops;
mod optim;
mod random;

pub use convolutions::small_windows;
use draft::fitting;
use half::f16;
use ops::{ConvCase, Join, Layer};

use crate::graph::half::{store_half, store_half_maps};
use crate::graph::op::{
    AvgPool, Axis, Dropout, DropoutScope, Epilogue, Filter, GlobalAvgPool, Half, Padding, Resize, ResizeGrad,
    SliceChannels, SoftmaxCrossEntropyGrad, Statistics, Window, WinogradTile,
};
use crate::graph::{self, Activation, DType, Graph, Spec, TensorId, winograd};

/// One graph with values to feed and tensors to compare.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operation and its shapes.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// Elements of inputs, parameters and states, logical and row-major; each is exact in the tensor's own type.
    pub feeds: Vec<(TensorId, Vec<f64>)>,
    /// Tensors to compare after one run, each with its accumulation length K.
    pub compare: Vec<(TensorId, f64)>,
    /// Inputs with respect to which the first compared tensor has a gradient.
    pub differentiable: Vec<TensorId>,
}

/// Statistics of a batch, and running ones without and with parameters that learn. The epsilon of 0 is explained in
/// [`ops::batch_norm_grad`].
const STATISTICS: [Statistics; 3] = [
    Statistics::Batch,
    Statistics::Running { eps: 0.0, learns: false },
    Statistics::Running { eps: 0.0, learns: true },
];

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Sigmoid];

/// A fixed list that covers every operation and every branch of its kernels.
pub fn standard() -> Vec<Case> {
    let mut cases = convolutions::convolutions();
    cases.extend(convolutions::epilogues());
    cases.extend(convolutions::depthwise());
    cases.extend(winograd());
    cases.extend(norms());
    cases.extend(joins());
    cases.extend(pools());
    cases.extend(resized());
    cases.extend(joined());
    cases.extend(maps::pixels());
    cases.extend(boxes::standard());
    cases.extend(depth::standard());
    cases.extend(dense());
    cases.extend(rest());
    cases.extend(half(&cases));
    cases.extend([block::inference(false, 0), block::inference(true, 0), block::training_step(0)]);
    cases.push(head::on_three_maps(0));
    cases.extend([1024.0, 16_777_216.0].map(|loss_scale| block::mixed_step(loss_scale, 0)));
    cases
}

/// The cases of operations that have kernels for f16 ([`Half`]), stored as in inference and as in training, with fed
/// values that are exact in f16.
fn half(cases: &[Case]) -> Vec<Case> {
    let stored = |case: &Case, label: &str, store: fn(&mut Graph) -> Result<(), graph::Error>| {
        let mut case = Case { differentiable: Vec::new(), ..case.clone() };
        fitting(store(&mut case.graph));
        case.name += label;
        for (_, elements) in case.feeds.iter_mut().filter(|(id, _)| case.graph.spec(*id).dtype == DType::F16) {
            elements.iter_mut().for_each(|v| *v = to_half(*v));
        }
        case
    };
    let halves = |case: &Case| {
        let types = |case: &Case| case.graph.tensors().iter().map(|t| t.spec.dtype).collect::<Vec<_>>();
        let known: Vec<Half> = case.graph.nodes().iter().map(|node| node.op.rule().half()).collect();
        let answers = known.iter().all(|&half| half == Half::MapsAndWeights);
        let changed = |half: &Case| types(half) != types(case);
        let all = answers.then(|| stored(case, ", f16", store_half)).filter(changed);
        let maps = known.iter().all(|&half| half != Half::None).then(|| stored(case, ", f16 maps", store_half_maps));
        let differs = |maps: &Case| changed(maps) && all.as_ref().is_none_or(|all| types(all) != types(maps));
        let maps = maps.filter(differs);
        [all, maps]
    };
    cases.iter().flat_map(halves).flatten().collect()
}

/// The nearest f16 number. Subnormal numbers become 0, since WGSL lets a device read them as 0.
fn to_half(v: f64) -> f64 {
    if v.abs() < f64::from(f16::MIN_POSITIVE) { 0.0 } else { f64::from(f16::from_f64(v)) }
}

/// A random case of each operation, from a seed, also in f16 if the operation has kernels for it.
pub fn random(seed: u64) -> Vec<Case> {
    let mut cases = random::cases(seed);
    cases.extend(half(&cases));
    cases
}

/// The transforms alone, and the whole algorithm, whether or not an adapter's table would choose it.
fn winograd() -> Vec<Case> {
    let relu = Epilogue { bias: true, activation: Activation::Relu, ..Epilogue::NONE };
    let all = Epilogue { gate: true, shortcut: true, ..relu };
    let mut cases = Vec::new();
    for tile in WinogradTile::ALL {
        for flipped in [false, true] {
            cases.extend([[1, 3], [36, 68]].map(|channels| ops::winograd_weights(tile, flipped, channels, 0)));
        }
        // A single pixel; tiles clipped at one end, at both, at none; with dilation, which at last exceeds the
        // map's width.
        let of_maps = [
            ([1, 1], [1, 1, 1, 1]),
            ([0, 1], [2, 9, 7, 5]),
            ([1, 1], [3, 10, 9, 36]),
            ([2, 1], [1, 6, 14, 8]),
            ([2, 2], [2, 9, 7, 5]),
            ([6, 3], [1, 6, 14, 8]),
            ([7, 7], [1, 5, 9, 4]),
            ([9, 9], [1, 5, 7, 4]),
        ];
        for (padding_and_dilation, shape) in of_maps {
            cases.push(ops::winograd_input(tile, padding_and_dilation, shape, 0));
        }
        // Around the 64 rows of a GPU's tile and the 32 of a CPU adapter's.
        for (tiles, channels) in [(1, [1, 1]), (33, [12, 40]), (65, [64, 132])] {
            cases.push(ops::winograd_product(tile, tiles, channels, 0));
        }
        for (shape, epilogue) in [([1, 1, 1, 1], Epilogue::NONE), ([2, 9, 7, 5], relu), ([3, 8, 12, 36], all)] {
            for dilation in [1, 2, 5] {
                cases.push(ops::winograd_output(tile, dilation, shape, epilogue, 0));
            }
        }
        cases.extend(wide(all).map(|case| by_tiles(tile, case)));
    }
    cases
}

/// Convolutions that Winograd's algorithm can serve: with and without zeros around the map, ordinary ones and those
/// with dilation, one of which reaches beyond its map.
fn wide(epilogue: Epilogue) -> impl Iterator<Item = Case> {
    let cases = [[1, 1], [1, 0], [3, 3], [2, 4], [2, 0], [10, 10]].map(|[dilation, padding]| {
        let case = convolutions::square([3, 9, 8, 20], 3, 68, 1, padding);
        ConvCase { window: Window { dilation: [dilation; 2], ..case.window }, ..case }
    });
    cases.into_iter().flat_map(move |case| [ops::conv2d(case, epilogue, 0), ops::conv2d_input_grad(case, true, 0)])
}

fn by_tiles(tile: WinogradTile, mut case: Case) -> Case {
    fitting(winograd::rewrite(&mut case.graph, |_, _| Some(tile)));
    case.name += &format!(", by Winograd's {tile:?}");
    case
}

fn norms() -> Vec<Case> {
    // Rows: 2; 15, 16 and 17, around one chunk; several chunks, the last cut short; more than 256 chunks of 16.
    let shapes = [[1, 1, 2, 3], [1, 3, 5, 8], [1, 4, 4, 5], [17, 1, 1, 4], [2, 9, 7, 66], [2, 50, 50, 6]];
    let mut cases = Vec::new();
    for (i, shape) in shapes.into_iter().enumerate() {
        let activation = ACTIVATIONS[i % 4];
        cases.push(ops::batch_norm(shape, activation, 0.0, 0));
        for statistics in STATISTICS {
            cases.push(ops::batch_norm_grad(shape, activation, statistics, 0));
        }
        cases.push(ops::normalize(shape, activation, 0));
        cases.push(ops::batch_norm_inference(shape, activation, 0));
    }
    for activation in ACTIVATIONS {
        cases.push(ops::batch_norm([3, 6, 5, 10], activation, 0.5, 0));
        cases.push(ops::batch_norm_grad([3, 6, 5, 10], activation, Statistics::Batch, 0));
        cases.push(ops::batch_norm_inference([3, 1, 5, 10], activation, 0));
    }
    cases.push(ops::batch_norm([2, 50, 50, 6], Activation::Identity, 8.0, 0));
    for (shape, relu) in [([1, 1, 1, 3], false), ([2, 9, 7, 66], false), ([2, 9, 7, 66], true), ([2, 50, 50, 6], true)]
    {
        cases.push(ops::bias_grad(shape, relu, 0));
    }
    let kernels = [[1, 1, 3, 5], [3, 3, 6, 9], [1, 1, 64, 132]].map(Spec::weights);
    cases
        .extend(kernels.into_iter().chain([Spec::depthwise([5, 5, 70])]).map(|kernel| ops::fold_batch_norm(kernel, 0)));
    cases
}

fn joins() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ACTIVATIONS {
        for (gate, shortcut) in [(false, false), (true, false), (false, true), (true, true)] {
            let join = Join { gate, shortcut, activation };
            cases.push(ops::scale_add([2, 5, 3, 6], join, 0));
            cases.push(ops::scale_add_grad([2, 5, 3, 6], join, 0));
        }
    }
    let join = Join { gate: true, shortcut: true, activation: Activation::Relu };
    for shape in [[1, 1, 1, 1], [3, 1, 1, 70], [2, 40, 41, 20]] {
        cases.push(ops::scale_add(shape, join, 0));
        cases.push(ops::scale_add_grad(shape, join, 0));
    }
    let others =
        [Spec::channels([7]), Spec::channels([3, 10]), Spec::weights([3, 1, 6, 70]), Spec::depthwise([3, 3, 9])];
    cases.extend(others.map(|spec| ops::sum(spec, 0)));
    let element = |rate, stream| Dropout { rate, scope: DropoutScope::Element, stream };
    let sample = |rate, stream| Dropout { rate, scope: DropoutScope::Sample, stream };
    cases.extend([
        ops::dropout(&[3, 70], element(0.0, 0), [1, 0], 0),
        ops::dropout(&[3, 70], element(0.25, 1), [4_000_000_000, 7], 0),
        ops::dropout(&[1, 2049], element(0.9, 2), [2, 100_000], 0),
        ops::dropout(&[64, 5], sample(0.3, 40), [3, 1], 0),
        ops::dropout(&[2, 3, 4, 7], element(0.5, 3), [5, 2], 0),
        ops::dropout(&[5, 2, 3, 6], sample(0.5, 4), [6, 3], 0),
        ops::fill([3, 6], 1.0, 0),
        ops::fill([1, 130], -0.5, 0),
    ]);
    cases
}

/// Those of ResNets, and others: overlapping, with gaps, dilated, uneven. The text of a pool's kernel depends on its
/// window, so they are few.
fn pool_windows() -> [Window; 6] {
    [
        Window::square(2, 2, Padding::Same),
        Window::square(3, 2, 1),
        Window::square(3, 1, Padding::Same),
        Window::square(1, 2, 0),
        Window { dilation: [2, 3], ..Window::square(2, 1, Padding::Same) },
        Window { kernel: [3, 5], stride: [2, 1], dilation: [1, 2], padding: Padding::Zeros([1, 4]) },
    ]
}

fn pools() -> Vec<Case> {
    let shapes = [[1, 1, 1, 3], [2, 2, 2, 4], [2, 3, 5, 6], [1, 7, 8, 130], [1, 64, 65, 8]];
    let mut cases = Vec::new();
    for shape in shapes {
        cases.extend([
            ops::global_avg_pool(shape, GlobalAvgPool::TO_FEATURES, 0),
            ops::global_avg_pool(shape, GlobalAvgPool::TO_MAP, 0),
            ops::global_avg_pool_grad(shape, false, 0),
            ops::global_avg_pool_grad(shape, true, 0),
        ]);
        for window in pool_windows().into_iter().filter(|window| window.pools([shape[1], shape[2]]).is_ok()) {
            for zeros_count in [false, true] {
                let pool = AvgPool { window, zeros_count };
                cases.extend([
                    ops::avg_pool(shape, pool, 0),
                    ops::avg_pool_grad(shape, pool, false, 0),
                    ops::avg_pool_grad(shape, pool, true, 0),
                ]);
            }
            cases.extend([ops::max_pool(shape, window, 0), ops::max_pool_grad(shape, window, 0)]);
        }
    }
    cases
}

/// One map, two, and many; a last one whose channels are no whole quads.
fn joined() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, before) in
        [([2, 3, 5, 6], &[][..]), ([1, 4, 3, 8], &[4]), ([3, 2, 2, 5], &[8, 4]), ([1, 1, 7, 256], &[256, 64, 12, 128])]
    {
        cases.push(maps::concat(shape, before, 0));
    }
    for (first, count) in [(0, 4), (4, 8), (8, 10), (0, 18)] {
        cases.push(maps::slice_channels([2, 3, 4, 18], SliceChannels { first, count }, 0));
    }
    cases
}

/// Upwards, downwards, to odd sides, from a single pixel, and along one axis alone.
fn resized() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, size) in [
        ([2, 3, 4, 5], [6, 8]),
        ([1, 9, 7, 8], [17, 13]),
        ([1, 7, 12, 3], [3, 5]),
        ([2, 1, 1, 6], [9, 11]),
        ([1, 5, 5, 4], [5, 33]),
        ([1, 3, 2, 21], [65, 70]),
    ] {
        for filter in [Filter::Nearest, Filter::Bilinear] {
            cases.push(maps::resize(shape, Resize { size, filter }, 0));
            for (axis, addend) in [(Axis::Height, false), (Axis::Width, true)] {
                let i = usize::from(axis == Axis::Width);
                let op = ResizeGrad { axis, pixels: shape[1 + i], filter, addend };
                cases.push(maps::resize_grad(shape, size[i], op, 0));
            }
        }
    }
    cases
}

fn dense() -> Vec<Case> {
    let layer = |rows, input, out, pointwise| Layer { rows, input, out, pointwise };
    let layers = [
        layer(1, 1, 1, false),
        layer(1, 3, 5, true),
        layer(4, 64, 10, false),
        layer(33, 68, 132, true),
        layer(130, 20, 12, false),
        layer(2, 1024, 1000, false),
        // More rows than one loop may have iterations.
        layer(70_000, 1, 3, false),
    ];
    let mut cases = Vec::new();
    for (i, layer) in layers.into_iter().enumerate() {
        cases.push(ops::linear(layer, ACTIVATIONS[i % 4], 0));
        cases.push(ops::linear_input_grad(layer, 0));
        cases.push(ops::linear_weight_grad(layer, 0));
    }
    cases.extend(
        ACTIVATIONS.map(|activation| ops::linear(Layer { rows: 5, input: 7, out: 9, pointwise: true }, activation, 0)),
    );
    for shape in [[1, 1], [5, 70]] {
        cases.extend(ACTIVATIONS.map(|activation| ops::activation_grad(shape, activation, 0)));
    }
    cases
}

/// Input, loss and optimiser.
fn rest() -> Vec<Case> {
    let mut cases = vec![ops::standardize([1, 1, 1], 0), ops::standardize([2, 5, 7], 0)];
    for (shape, smoothing, magnitude) in
        [([1, 2], 0.0, 1.0), ([3, 10], 0.1, 1.0), ([70, 7], 0.1, 4.0), ([8, 1000], 0.1, 1.0), ([6, 10], 0.1, 100.0)]
    {
        for mixed in [false, true] {
            cases.push(ops::loss(shape, smoothing, magnitude, mixed, 0));
            for (weight, scaled) in [(1.0, false), (0.4, true)] {
                let op = SoftmaxCrossEntropyGrad { label_smoothing: smoothing, mixed, weight, scaled };
                cases.push(ops::loss_grad(shape, magnitude, op, 0));
            }
        }
    }
    // More rows than one loop may have iterations.
    cases.push(ops::loss([70_000, 3], 0.1, 1.0, false, 0));
    cases.extend(optim::cases());
    cases
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::graph::{DType, Node, Op};
    use crate::reference::{Values, run};

    fn reference(case: &Case, feeds: &[(TensorId, Vec<f64>)]) -> Values {
        let mut values = Values::new();
        for (id, elements) in feeds {
            values.set(&case.graph, *id, elements.clone()).unwrap();
        }
        run(&case.graph, &mut values).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        values
    }

    fn everything() -> impl Iterator<Item = Case> {
        standard().into_iter().chain((0..20).flat_map(random))
    }

    #[test]
    fn both_lists_cover_every_operation() {
        for list in [standard(), random(1)] {
            let ops = || list.iter().flat_map(|case| case.graph.nodes()).map(|node| &node.op);
            let covered: HashSet<&str> = ops().map(Op::variant).collect();
            assert_eq!(covered, HashSet::from_iter(Op::VARIANTS.iter().copied()));
            let names: HashSet<&str> = ops().map(|op| op.rule().name()).collect();
            assert_eq!(names.len(), covered.len(), "each has a name of its own: {names:?}");
        }
    }

    #[test]
    fn every_operation_that_knows_f16_has_cases_in_f16() {
        for list in [standard(), random(1)] {
            let nodes = || list.iter().flat_map(|case| case.graph.nodes().iter().map(move |node| (&case.graph, node)));
            let in_half = |graph: &Graph, node: &Node| {
                let tensors = node.inputs.iter().chain(&node.updates).chain(&node.outputs);
                tensors.into_iter().any(|&id| graph.spec(id).dtype == DType::F16)
            };
            let known = nodes().filter(|(_, node)| node.op.rule().half() != Half::None);
            let known: HashSet<&str> = known.map(|(_, node)| node.op.variant()).collect();
            let tried = nodes().filter(|(graph, node)| in_half(graph, node));
            let tried: HashSet<&str> = tried.map(|(_, node)| node.op.variant()).collect();
            assert_eq!(tried, known);
        }
    }

    #[test]
    fn cases_are_distinct_small_and_exact() {
        let mut names = HashSet::new();
        for case in standard() {
            assert!(names.insert(case.name.clone()), "{} stands twice", case.name);
        }
        for case in everything() {
            let macs: u64 = case.graph.nodes().iter().map(|node| node.cost(&case.graph).macs).sum();
            let elements: usize = case.graph.tensors().iter().map(|t| t.spec.elements()).sum();
            assert!(macs <= 20_000_000 && elements <= 1_500_000, "{}: {macs} MACs, {elements} elements", case.name);
            assert!(!case.compare.is_empty() && case.compare.iter().all(|(_, k)| *k >= 1.0), "{}", case.name);
            for (id, elements) in &case.feeds {
                let exact = |v: f64| match case.graph.spec(*id).dtype {
                    DType::F32 => f64::from(v as f32) == v,
                    DType::F16 => to_half(v) == v,
                    DType::U32 => f64::from(v as u32) == v,
                };
                assert!(elements.iter().all(|&v| exact(v)), "{}: {}", case.name, case.graph.tensor(*id).name);
            }
        }
    }

    #[test]
    fn the_step_in_mixed_precision_overflows_with_the_large_scale_alone() {
        for (loss_scale, steps) in [(1024.0, 1.0), (16_777_216.0, 0.0)] {
            let case = block::mixed_step(loss_scale, 0);
            // The factor of the gradients, and whether to step.
            let (clip, _) = case.compare[0];
            assert_eq!(reference(&case, &case.feeds).get(clip).unwrap()[1], steps, "{loss_scale}");
        }
    }

    /// But for the cases that say so: in which nothing counts.
    #[test]
    fn results_are_finite_and_not_all_zero() {
        let (mut alive, standard) = (HashSet::new(), standard().len());
        for (i, case) in everything().enumerate() {
            let values = reference(&case, &case.feeds);
            let results: Vec<f64> = case.compare.iter().flat_map(|(id, _)| values.get(*id).unwrap()).copied().collect();
            assert!(results.iter().all(|v| v.is_finite()), "{}", case.name);
            let last = case.graph.nodes().last().unwrap();
            let fills_state = |node: &&Node| node.updates.iter().any(|state| last.inputs.contains(state));
            let seen = case.graph.nodes().iter().filter(fills_state).chain([last]);
            let zero = case.name.contains("all zero");
            assert!(!zero || results.iter().all(|&v| v == 0.0), "{}", case.name);
            if results.iter().any(|&v| v != 0.0) {
                alive.extend(seen.map(|node| node.op.variant()));
            } else {
                // A random case may be a single pixel after a ReLU, or a single dropped sample.
                assert!(zero || i >= standard, "{}: all zero", case.name);
            }
        }
        assert_eq!(alive, HashSet::from_iter(Op::VARIANTS.iter().copied()));
    }

    /// Moving every fed value by half a unit in the last place must change results by at most c = 2, one for each
    /// factor of a product. So no case divides by a small deviation or has a gradient at the kink of a ReLU.
    #[test]
    fn results_are_well_conditioned() {
        let half_ulp = 2f64.powi(-24);
        for case in everything() {
            let mut rounded = case.feeds.clone();
            for (id, elements) in rounded.iter_mut().filter(|(id, _)| case.graph.spec(*id).dtype == DType::F32) {
                let up = |i| draft::bits(1, &case.graph.tensor(*id).name, i) & 1 == 0;
                for (i, v) in elements.iter_mut().enumerate() {
                    *v *= if up(i) { 1.0 + half_ulp } else { 1.0 - half_ulp };
                }
            }
            let (exact, moved) = (reference(&case, &case.feeds), reference(&case, &rounded));
            for (id, k) in &case.compare {
                let (a, b) = (exact.get(*id).unwrap(), moved.get(*id).unwrap());
                let scale = a.iter().fold(1.0, |max: f64, v| max.max(v.abs()));
                let error = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let tolerance = 2.0 * k.sqrt() * half_ulp * scale;
                assert!(error <= tolerance, "{}: off by {error:e}, tolerated {tolerance:e}", case.name);
            }
        }
    }

    /// In f64, in which the rounding of sums of 9 x 68 terms, amplified by F(4x4), stays below 1e-13.
    #[test]
    fn winograds_algorithm_gives_the_same_sums() {
        let epilogue = Epilogue { bias: true, gate: true, shortcut: true, activation: Activation::Silu };
        for (tile, direct) in
            WinogradTile::ALL.into_iter().flat_map(|tile| wide(epilogue).map(move |case| (tile, case)))
        {
            let case = by_tiles(tile, direct.clone());
            assert!(case.graph.nodes().len() > direct.graph.nodes().len());
            let [want, got] = [&direct, &case].map(|case| reference(case, &case.feeds));
            for &(id, _) in &case.compare {
                let (want, got) = (want.get(id).unwrap(), got.get(id).unwrap());
                let off = want.iter().zip(got).map(|(want, got)| (want - got).abs()).fold(0.0, f64::max);
                let largest = want.iter().fold(1.0, |largest: f64, v| largest.max(v.abs()));
                assert!(off <= 1e-10 * largest, "{}: off by {off}", case.name);
            }
        }
    }
}
