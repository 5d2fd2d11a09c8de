//! The order in which an epoch reads its pictures.

use std::ops::Range;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// The numbers below `count`, shuffled.
pub(super) fn shuffled(count: usize, rng: &mut Pcg64Mcg) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order, rng);
    order
}

/// The numbers of `runs`, nearly in sequence: the runs in random order, then through a shuffle buffer of `capacity`
/// numbers (at least 1), which returns a random one for each that comes in. No number leaves more than `capacity - 1`
/// places early, and half leave within `0.7 * capacity` steps after they came in.
pub(super) fn buffered(runs: &[Range<usize>], capacity: usize, rng: &mut Pcg64Mcg) -> Vec<usize> {
    let mut runs = runs.to_vec();
    shuffle(&mut runs, rng);
    let mut order = Vec::with_capacity(runs.iter().map(ExactSizeIterator::len).sum());
    let mut arriving = runs.into_iter().flatten();
    let mut buffer: Vec<usize> = arriving.by_ref().take(capacity).collect();
    for number in arriving {
        let slot = rng.random_range(0..capacity as u64) as usize;
        order.push(std::mem::replace(&mut buffer[slot], number));
    }
    shuffle(&mut buffer, rng);
    order.extend(buffer);
    order
}

/// Fisher and Yates's shuffle.
fn shuffle<T>(items: &mut [T], rng: &mut Pcg64Mcg) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i as u64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Purpose, generator};
    use super::*;

    fn rng(epoch: u64) -> Pcg64Mcg {
        generator(1, Purpose::Shuffle, epoch, 0)
    }

    /// Fifty runs of 80 to 120 numbers.
    fn runs() -> Vec<Range<usize>> {
        let ends = (0..50).scan(0, |end, run| {
            let start = *end;
            *end += 80 + run * 7 % 41;
            Some(start..*end)
        });
        ends.collect()
    }

    #[test]
    fn every_number_comes_once_and_epochs_differ() {
        let orders = [0, 1].map(|epoch| buffered(&runs(), 64, &mut rng(epoch)));
        assert_ne!(orders[0], orders[1]);
        assert_eq!(orders[0], buffered(&runs(), 64, &mut rng(0)));
        for mut order in orders {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..runs().last().map_or(0, |run| run.end)));
        }
    }

    #[test]
    fn reading_is_nearly_sequential() {
        const CAPACITY: usize = 64;
        let order = buffered(&runs(), CAPACITY, &mut rng(0));
        // The run of each number, and the order of the runs: with a buffer of one, the same generator leaves the runs
        // whole.
        let arrivals = buffered(&runs(), 1, &mut rng(0));
        let mut turn = vec![0; arrivals.len()];
        for (at, &number) in arrivals.iter().enumerate() {
            turn[number] = at;
        }
        let early = order.iter().enumerate().map(|(at, &number)| turn[number].saturating_sub(at)).max();
        assert_eq!(early, Some(CAPACITY - 1), "the buffer holds no more, and is used");
        let mut late: Vec<usize> =
            (0..).zip(&order).map(|(at, &number)| (at + CAPACITY).saturating_sub(turn[number])).collect();
        late.sort_unstable();
        let median = late[late.len() / 2];
        assert!((35..=55).contains(&median), "{median}: ln 2 of {CAPACITY} is 44");
    }

    #[test]
    fn a_buffer_that_holds_everything_shuffles_fully() {
        let order = buffered(&runs(), 1 << 20, &mut rng(0));
        let first = &order[..order.len() / 2];
        let from_last_runs = first.iter().filter(|&&number| number >= order.len() / 2).count();
        let share = from_last_runs as f64 / first.len() as f64;
        // Binomial: 2,500 draws have a deviation of 1 %.
        assert!((share - 0.5).abs() < 0.05, "{share}");
    }
}
