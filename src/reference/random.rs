//! Random bits from a counter: the twin of `shaders/shared/random.wgsl`.

/// Mixes 32 bits so that each input bit flips each output bit about half the time: "lowbias32", found by Chris Wellons
/// in a search for two-round multiply-xorshift hashes of low bias.
pub(crate) fn hash(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The bits that belong to one element of one random draw in one training step.
pub(super) fn random_bits(seed: u32, step: u32, stream: u32, index: u32) -> u32 {
    hash(index ^ hash(stream ^ hash(step ^ hash(seed))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's integers, from the definition.
    #[test]
    fn hash_is_the_published_one() {
        assert_eq!([0, 1, 2, u32::MAX].map(hash), [0, 0x6889_90c0, 0xd113_2181, 0x6768_824a]);
        assert_eq!(random_bits(1, 2, 3, 4), 0x934a_ddd8);
    }

    #[test]
    fn neighbouring_elements_get_unrelated_bits() {
        let flips = |i| (random_bits(1, 2, 3, i) ^ random_bits(1, 2, 3, i + 1)).count_ones();
        let total: u32 = (0..10_000).map(flips).sum();
        // 320,000 fair bits have a mean of 160,000 and a standard deviation of 283; the limit is five of these.
        assert!(total.abs_diff(160_000) < 5 * 283, "{total}");
    }
}
