//! How often to measure, and what to make of it.

use std::time::{Duration, Instant};

/// Fewest runs: a median needs three.
const FEWEST: usize = 3;
/// Most runs: a median hardly moves beyond.
const MOST: usize = 100;
/// Time after which no further run starts. A software adapter takes seconds a run.
const BUDGET: Duration = Duration::from_secs(10);

/// Results of running `run` again and again: 3 times at least, then up to 100 times within ten seconds.
///
/// # Errors
/// The first that `run` returns.
pub fn repeat<T, E>(mut run: impl FnMut() -> Result<T, E>) -> Result<Vec<T>, E> {
    let started = Instant::now();
    let mut results = Vec::new();
    while results.len() < FEWEST || (results.len() < MOST && started.elapsed() < BUDGET) {
        results.push(run()?);
    }
    Ok(results)
}

/// The value in the middle, or the mean of the two there; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0, "an outlier does not count");
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn runs_are_bounded() {
        assert_eq!(repeat(|| Ok::<_, ()>(())).map(|r| r.len()), Ok(MOST));
        let mut left = 2;
        let fails_third = || {
            left -= 1;
            if left < 0 { Err("broken") } else { Ok(()) }
        };
        assert_eq!(repeat(fails_third), Err("broken"));
    }
}
