//! Comparison of gradients through ReLUs, which have kinks.

use super::golden::SEED;
use super::synth;

/// Number of pictures with which gradients may be tried, the golden ones first.
const NEARBY: u32 = 8;

/// Compares gradients through ReLUs with PyTorch's. A pre-activation within rounding of zero may lie on the other side
/// of its ReLU in f32 than in f64, which changes whole gradients by far more than rounding does. So if `check` fails on
/// the golden pictures it is repeated on pictures that differ from them by rounding alone: gradients that are correct
/// but for rounding meet the tolerances on one of them; gradients with a larger error meet them on none.
pub(crate) fn through_kinks(check: impl Fn(u32) -> Result<(), String>) {
    let off = (0..NEARBY).map_while(|nearby| check(nearby).err());
    let off: Vec<String> = off.inspect(|off| eprintln!("{off}")).collect();
    assert!(off.len() < NEARBY as usize, "off on all nearby pictures as well:\n{}", off.join("\n"));
}

/// The golden pictures, or pictures that differ from them by up to eight roundings.
pub(crate) fn pictures(name: &str, shape: [usize; 4], nearby: u32) -> Vec<f32> {
    let golden = synth::images(name, shape, SEED);
    let noise = synth::value(name, golden.len(), SEED + nearby);
    let size = if nearby == 0 { 0.0 } else { 8.0 * 2f32.powi(-24) };
    golden.iter().zip(noise).map(|(pixel, noise)| pixel * (1.0 + size * noise)).collect()
}
