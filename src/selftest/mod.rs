//! Compares every kernel with the reference: the same cases run in the tests and, as `resnet-rs selftest`, on the
//! user's own GPU.
//!
//! # What may differ
//! The reference computes in f64, a kernel in f32. An element that adds up K terms is rounded about K times, each time
//! by at most half a unit in the last place: 2^-24 of the partial sum. The roundings go either way, so together they
//! move the result like a random walk: by about sqrt(K) times that, not by K times as in the worst case. So
//!
//! ```text
//! |error| <= 8 * sqrt(max(K, 16)) * 2^-24 * scale
//! ```
//!
//! with `scale` the largest magnitude that the reference has in the tensor: elements that cancel to almost nothing keep
//! the error of their terms. In a tensor of a few elements all may cancel; there the scale is at least 1, the order of
//! the terms in every case. Zeros throughout must be met exactly.
//!
//! Winograd's algorithm computes the same sum with more operations: the variance of its rounding is larger, and K is
//! multiplied by the ratio ([`WinogradTile::rounding_variance`](crate::graph::op::WinogradTile::rounding_variance)).
//!
//! A result that is stored in f16 is rounded once more, to 11 significant bits. WGSL lets a device round either way,
//! which moves a number by less than 2^-10 of itself, and take numbers below 2^-14 for 0.
//!
//! An index off by one, a missing tap or a skipped row is wrong by the order of one term, thousands of times more.

pub mod cases;

use serde::Serialize;

pub use cases::Case;

use crate::exec::{self, ParameterStore, Session, SessionOptions};
use crate::gpu::{Family, Gpu};
use crate::graph::{DType, Elements, Graph, Node, Op, Role, TensorId};
use crate::kernels::Choices;
use crate::reference::{self, Values};

/// Standard deviations of the random walk that count as rounding. Four suffice for the millions of elements compared;
/// four more allow for the last operations of an element, such as exponentials, which GPUs may round by several units.
const ROUNDINGS: f64 = 8.0;

/// Least K assumed: the epilogue and the final roundings count, too.
const SHORTEST_WALK: f64 = 16.0;

/// Below this number of elements, all of them may be small by cancellation.
const FEW: usize = 16;

/// The outcome of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// The kernels that ran.
    pub family: Family,
    /// Largest deviation from the reference as a multiple of what is allowed; infinite if a result is not a number.
    pub error: f64,
    /// Time of the kernels in milliseconds, if the adapter has timestamps.
    pub kernels_ms: Option<f64>,
    /// Whether the error is at most 1.
    pub passed: bool,
    /// If it did not pass: which elements are off, by how much, and whether a second run repeats it. A wrong kernel is
    /// wrong again; a lost write seldom is.
    pub problem: Option<String>,
}

/// Why a case could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The GPU did not run it.
    #[error("{case}: {source}")]
    Gpu {
        /// Name of the case.
        case: String,
        /// What went wrong.
        source: exec::Error,
    },
    /// The reference did not run it.
    #[error("{case}: {source}")]
    Reference {
        /// Name of the case.
        case: String,
        /// What went wrong.
        source: reference::Error,
    },
}

/// Runs cases one after the other; `each` is called with every outcome as soon as it is known.
///
/// # Errors
/// If a case cannot be run at all, for instance because the driver refuses a shader.
pub fn run(gpu: &Gpu, cases: &[Case], mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, Error> {
    let run_one = |case| {
        let outcome = check(gpu, case)?;
        each(&outcome);
        Ok(outcome)
    };
    cases.iter().map(run_one).collect()
}

/// Runs one case.
///
/// # Errors
/// The errors of [`run`].
pub fn check(gpu: &Gpu, case: &Case) -> Result<Outcome, Error> {
    let expected = expect(case).map_err(|source| Error::Reference { case: case.name.clone(), source })?;
    let Computed { got, kernels_ms, variance } =
        compute(gpu, case).map_err(|source| Error::Gpu { case: case.name.clone(), source })?;
    let error = largest(case, &expected, &got, variance);
    let passed = error <= 1.0;
    let problem = if passed {
        None
    } else {
        let again = compute(gpu, case).map_err(|source| Error::Gpu { case: case.name.clone(), source })?;
        let repeated = match largest(case, &expected, &again.got, variance) {
            _ if again.got == got => "the same when repeated",
            error if error > 1.0 => "off in another way when repeated",
            _ => "right when repeated",
        };
        Some(format!("{}; {repeated}", describe(case, &expected, &got, variance)))
    };
    Ok(Outcome { case: case.name.clone(), family: gpu.family(), error, kernels_ms, passed, problem })
}

/// Largest deviation in the compared tensors.
fn largest(case: &Case, expected: &[Vec<f64>], got: &[Vec<f32>], variance: f64) -> f64 {
    let pairs = case.compare.iter().zip(expected.iter().zip(got));
    let deviations =
        pairs.map(|(&(id, k), (expected, got))| deviation(expected, got, k * variance, case.graph.spec(id).dtype));
    deviations.fold(0.0, f64::max)
}

/// Which elements are off.
fn describe(case: &Case, expected: &[Vec<f64>], got: &[Vec<f32>], variance: f64) -> String {
    let tensors = case.compare.iter().zip(expected.iter().zip(got)).filter_map(|(&(id, k), (expected, got))| {
        let multiples = multiples(expected, got, k * variance, case.graph.spec(id).dtype);
        let off: Vec<usize> = (0..multiples.len()).filter(|&i| multiples[i] > 1.0).collect();
        let worst = *off.iter().max_by(|&&a, &&b| multiples[a].total_cmp(&multiples[b]))?;
        let (name, [first, last]) = (&case.graph.tensor(id).name, [off[0], off[off.len() - 1]]);
        Some(format!(
            "{name}: {} of {} elements, {first} to {last}, the worst {} instead of {} at {worst}",
            off.len(),
            multiples.len(),
            got[worst],
            expected[worst]
        ))
    });
    tensors.collect::<Vec<_>>().join(", ")
}

/// The reference's values of the compared tensors.
fn expect(case: &Case) -> Result<Vec<Vec<f64>>, reference::Error> {
    let mut values = Values::new();
    for (id, elements) in &case.feeds {
        values.set(&case.graph, *id, elements.clone())?;
    }
    reference::run(&case.graph, &mut values)?;
    Ok(case.compare.iter().map(|&(id, _)| values.take(id).unwrap_or_default()).collect())
}

/// A GPU's results of a case.
struct Computed {
    /// The compared tensors.
    got: Vec<Vec<f32>>,
    /// The kernels' time in milliseconds.
    kernels_ms: Option<f64>,
    /// Variance of its convolutions' rounding, as a multiple of that of direct convolutions.
    variance: f64,
}

impl Case {
    /// A session that is fed and ready to run with the kernels that `choices` name, and the store of its parameters and
    /// states.
    ///
    /// # Errors
    /// If the case does not fit the device, or the device fails.
    pub fn session(&self, gpu: &Gpu, choices: Option<&Choices>) -> Result<(ParameterStore, Session), exec::Error> {
        let mut store = ParameterStore::new(gpu);
        store.allocate(&self.graph)?;
        let compared: Vec<TensorId> = self.compare.iter().map(|(id, _)| *id).collect();
        let options = SessionOptions { choices, ..SessionOptions::default() };
        let mut session = Session::new(&store, self.graph.clone(), &compared, &options)?;
        for (id, elements) in &self.feeds {
            feed(&store, &session, *id, elements)?;
        }
        session.prepare()?;
        Ok((store, session))
    }
}

fn compute(gpu: &Gpu, case: &Case) -> Result<Computed, exec::Error> {
    let (graph, (store, mut session)) = (&case.graph, case.session(gpu, None)?);
    let times = session.run_timed()?;
    let read = |&(id, _): &(TensorId, f64)| match graph.tensor(id).role.is_persistent() {
        true => store.read(&graph.tensor(id).name),
        false => Ok(match session.read_later(&[id])?.wait_elements()?.remove(0) {
            Elements::F32(floats) => floats.into_owned(),
            // Small numbers, which f32 represents exactly.
            Elements::U32(words) => words.iter().map(|&word| word as f32).collect(),
        }),
    };
    let got = case.compare.iter().map(read).collect::<Result<_, _>>()?;
    let kernels_ms = times.map(|nodes| nodes.iter().map(|n| n.milliseconds).sum());
    Ok(Computed { got, kernels_ms, variance: rounding_variance(session.graph()) })
}

/// Largest ratio of the variance of rounding to that of direct convolutions.
fn rounding_variance(graph: &Graph) -> f64 {
    let of_node = |node: &Node| match &node.op {
        Op::WinogradOutput(op) => op.tile.rounding_variance(),
        _ => 1.0,
    };
    graph.nodes().iter().map(of_node).fold(1.0, f64::max)
}

fn feed(store: &ParameterStore, session: &Session, id: TensorId, elements: &[f64]) -> Result<(), exec::Error> {
    let tensor = session.graph().tensor(id);
    let floats = || elements.iter().map(|&v| v as f32).collect::<Vec<_>>();
    let words = || elements.iter().map(|&v| v as u32).collect::<Vec<_>>();
    match (tensor.role, tensor.spec.dtype) {
        (Role::Input, DType::U32) => session.feed(&[], &[(id, &words())]),
        (Role::Input, DType::F32 | DType::F16) => session.feed(&[(id, &floats())], &[]),
        _ => store.write(&tensor.name, &floats()),
    }
}

/// Largest deviation from the expected values as a multiple of what rounding explains.
fn deviation(expected: &[f64], got: &[f32], k: f64, dtype: DType) -> f64 {
    if expected.len() != got.len() {
        return f64::INFINITY;
    }
    multiples(expected, got, k, dtype).into_iter().fold(0.0, f64::max)
}

/// Deviation of each element, as a multiple of what rounding explains.
fn multiples(expected: &[f64], got: &[f32], k: f64, dtype: DType) -> Vec<f64> {
    let largest = expected.iter().fold(0.0, |largest: f64, v| largest.max(v.abs()));
    let scale = if largest > 0.0 && expected.len() < FEW { largest.max(1.0) } else { largest };
    let allowed = ROUNDINGS * k.max(SHORTEST_WALK).sqrt() * 2f64.powi(-24) * scale;
    let stored = |e: f64| match dtype {
        DType::F16 if largest > 0.0 => (e * 2f64.powi(-10)).max(2f64.powi(-14)),
        _ => 0.0,
    };
    let multiple = |(e, g): (&f64, &f32)| {
        let error = (f64::from(*g) - e).abs();
        match error {
            0.0 => 0.0,
            _ if error.is_finite() => error / (allowed + stored(e.abs())),
            _ => f64::INFINITY,
        }
    };
    expected.iter().zip(got).map(multiple).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_described() {
        let case = &cases::standard()[0];
        let expected = expect(case).unwrap();
        let mut got: Vec<Vec<f32>> = expected.iter().map(|tensor| tensor.iter().map(|&v| v as f32).collect()).collect();
        assert_eq!(describe(case, &expected, &got, 1.0), "");
        got[0][0] = 7.5;
        let said = describe(case, &expected, &got, 1.0);
        assert!(
            said.contains(": 1 of ") && said.contains("the worst 7.5 instead of") && said.ends_with("at 0"),
            "{said}"
        );
    }

    #[test]
    fn rounding_passes_and_nothing_else_does() {
        let deviation = |expected: &[f64], got: &[f32], k| deviation(expected, got, k, DType::F32);
        let allowed = 8.0 * 10.0 * 2f32.powi(-24); // K = 100, scale 1
        for scale in [1.0, 2f32.powi(-20), 2f32.powi(40)] {
            let expected = [f64::from(scale); 20];
            let off_by = |share: f32| expected.map(|e| e as f32 * (1.0 + share * allowed));
            assert_eq!(deviation(&expected, &off_by(0.0), 100.0), 0.0);
            assert!(deviation(&expected, &off_by(0.9), 100.0) < 1.0);
            assert!(deviation(&expected, &off_by(-1.1), 100.0) > 1.0);
        }
        assert!(deviation(&[1e-3], &[1e-3 + 0.9 * allowed], 100.0) < 1.0, "one element may have cancelled");
        assert_eq!(deviation(&[0.0, 0.0], &[0.0, -0.0], 1.0), 0.0);
        assert_eq!(deviation(&[0.0, 0.0], &[0.0, 1e-30], 1.0), f64::INFINITY);
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(deviation(&[1.0, 1.0], &[broken, 1.0], 100.0), f64::INFINITY);
        }
        assert_eq!(deviation(&[1.0], &[1.0, 1.0], 1.0), f64::INFINITY);
    }

    #[test]
    fn results_stored_in_half_precision_may_be_off_by_a_unit_of_theirs() {
        let off_by = |error: f32| deviation(&[1.0, 3.0], &[1.0 + error, 3.0], 1.0, DType::F16);
        assert!(off_by(2f32.powi(-10)) < 1.0 && off_by(1.1 * 2f32.powi(-10)) > 1.0);
        let zeros = deviation(&[0.0, 0.0], &[0.0, 1e-7], 1.0, DType::F16);
        assert_eq!(zeros, f64::INFINITY);
    }
}
