//! Repeated measurements and their statistics.

use std::time::{Duration, Instant};

/// When enough is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// Stop once the median is known to within this share of itself ([`spread`]).
    pub spread: f64,
    /// Or stop after this time. A software adapter takes seconds per run.
    pub budget: Duration,
}

impl Default for Patience {
    /// Half a percent, ten seconds.
    fn default() -> Self {
        Self { spread: 0.005, budget: Duration::from_secs(10) }
    }
}

/// Fewest runs: with fewer than six, the 95 % confidence interval of the median is wider than the range of the values.
/// Three if the time is over.
const FEWEST: usize = 6;
const FEWEST_IN_TIME: usize = 3;
/// Most runs: a median hardly changes after that.
const MOST: usize = 400;

/// Repeats a run until `patience` is satisfied, and returns the times in milliseconds.
///
/// # Errors
/// The first error of `run`.
pub fn repeat<E>(patience: Patience, mut run: impl FnMut() -> Result<f64, E>) -> Result<Vec<f64>, E> {
    let started = Instant::now();
    let mut times_ms = Vec::new();
    loop {
        times_ms.push(run()?);
        let runs = times_ms.len();
        let in_time = started.elapsed() < patience.budget;
        let enough = runs >= FEWEST && spread(&times_ms) <= patience.spread;
        if runs >= MOST || (runs >= FEWEST_IN_TIME && !in_time) || enough {
            return Ok(times_ms);
        }
    }
}

/// The median: the middle value, or the mean of the two middle ones; NaN if there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

/// Half the 95 % confidence interval of the median, as a share of the median. It comes from order statistics, which
/// assume nothing about the distribution: the number of values below the true median is binomial, and differs from n /
/// 2 by at most 0.98 sqrt(n) in 95 % of all cases. For fewer than six values, half of their range.
pub fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    let first = (n as f64 / 2.0 - 0.98 * (n as f64).sqrt()).max(0.0) as usize;
    (sorted[n - 1 - first] - sorted[first]) / 2.0 / median(values)
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

    /// For 1 to 100 the interval reaches from the 41st to the 60th value; for few values, over all of them.
    #[test]
    fn spreads() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(spread(&hundred), (60.0 - 41.0) / 2.0 / 50.5);
        assert_eq!(spread(&[9.0, 11.0, 10.0]), 0.1);
        assert_eq!(spread(&[5.0]), 0.0);
        assert!(spread(&[]).is_nan());
    }

    #[test]
    fn runs_are_bounded() {
        let runs = |patience, times: &[f64]| {
            let mut times = times.iter().cycle();
            repeat(patience, || Ok::<_, ()>(*times.next().unwrap_or(&1.0))).map(|times| times.len())
        };
        let seconds = |s| Duration::from_secs(s);
        assert_eq!(runs(Patience { spread: 0.01, budget: seconds(9) }, &[2.0]), Ok(FEWEST), "steady");
        assert_eq!(runs(Patience { spread: 0.01, budget: seconds(9) }, &[2.0, 3.0]), Ok(MOST), "never steady");
        assert_eq!(runs(Patience { spread: 0.0, budget: seconds(0) }, &[2.0, 3.0]), Ok(FEWEST_IN_TIME), "no time");
        let mut left = 2;
        let fails_third = || {
            left -= 1;
            if left < 0 { Err("broken") } else { Ok(1.0) }
        };
        assert_eq!(repeat(Patience::default(), fails_third), Err("broken"));
    }
}
