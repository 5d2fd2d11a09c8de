//! The order in which an epoch reads its pictures.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// The numbers below `count`, shuffled.
pub(super) fn shuffled(count: usize, rng: &mut Pcg64Mcg) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order, rng);
    order
}

/// Fisher and Yates's shuffle.
fn shuffle<T>(items: &mut [T], rng: &mut Pcg64Mcg) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i as u64) as usize);
    }
}
