//! From coefficients to samples: the inverse cosine transform in integers, after C. Loeffler, A. Ligtenberg and G.
//! Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (1989), rounded where libjpeg's accurate one
//! rounds, so that samples are the same.

use super::markers::Component;

/// Fractional bits of the constants below.
const FRACTION: u32 = 13;
/// Extra bits of precision between the two passes.
const KEPT: u32 = 2;

/// Columns that are computed together, those of 16 blocks: the compiler vectorises the loop over them.
const LANES: usize = 128;

/// Only a damaged file has larger coefficients. They are clamped so that their sums stay in range.
const LARGEST: i16 = 1 << 14;

/// `value` with [`FRACTION`] fractional bits.
const fn fixed(value: f64) -> i32 {
    (value * (1 << FRACTION) as f64 + 0.5) as i32
}

/// Eight frequencies become eight samples, scaled by 2 to the power of `FRACTION - bits`, times √8.
///
/// Takes the frequencies as a function: the compiler does not always inline the closures of an array's methods, and a
/// call in the surrounding loop would prevent vectorisation.
#[inline(always)]
fn inverse(frequency: impl Fn(usize) -> i16, bits: u32) -> [i32; 8] {
    #[rustfmt::skip]
    let f: [i32; 8] = [
        frequency(0).into(), frequency(1).into(), frequency(2).into(), frequency(3).into(),
        frequency(4).into(), frequency(5).into(), frequency(6).into(), frequency(7).into(),
    ];
    // Even frequencies.
    let rotated = (f[2] + f[6]) * fixed(0.541196100);
    let (low, high) = (rotated - f[6] * fixed(1.847759065), rotated + f[2] * fixed(0.765366865));
    let (sum, difference) = ((f[0] + f[4]) << FRACTION, (f[0] - f[4]) << FRACTION);
    let even = [sum + high, difference + low, difference - low, sum - high];
    // Odd frequencies.
    let (a, b, c, d) = (f[7], f[5], f[3], f[1]);
    let all = (a + c + b + d) * fixed(1.175875602);
    let ac = all - (a + c) * fixed(1.961570560);
    let bd = all - (b + d) * fixed(0.390180644);
    let ad = (a + d) * fixed(0.899976223);
    let bc = (b + c) * fixed(2.562915447);
    let odd = [
        d * fixed(1.501321110) - ad + bd,
        c * fixed(3.072711026) - bc + ac,
        b * fixed(2.053119869) - bc + bd,
        a * fixed(0.298631336) - ad + ac,
    ];
    let mut samples = [0; 8];
    for i in 0..4 {
        samples[i] = (even[i] + odd[i] + (1 << (bits - 1))) >> bits;
        samples[7 - i] = (even[i] - odd[i] + (1 << (bits - 1))) >> bits;
    }
    samples
}

/// Computes the samples of `count` rows of blocks from row `first` on. Their coefficients start at row `stored`, and
/// are reset to zero.
pub(super) fn rows(component: &mut Component, first: usize, count: usize, stored: usize) {
    let Component { coefficients, samples, stride, kept, steps: Some(steps), .. } = component else { return };
    let length = 64 * *stride;
    let coefficients = coefficients[stored * length..][..count * length].chunks_exact_mut(length);
    let samples = samples[(8 * first % *kept) * 8 * *stride..].chunks_exact_mut(length);
    super::wide(
        #[inline(always)]
        || {
            for (coefficients, samples) in coefficients.zip(samples) {
                row(coefficients, steps, samples);
                coefficients.fill(0);
            }
        },
    );
}

/// The samples of a row of blocks; both lie as eight rows of eight for each block.
#[inline(always)]
fn row(coefficients: &[i16], steps: &[[i16; 8]; 8], samples: &mut [u8]) {
    let width = coefficients.len() / 8;
    let (mut frequencies, mut halfway) = ([[0; LANES]; 8], [[0; LANES]; 8]);
    for start in (0..width).step_by(LANES) {
        let here = LANES.min(width - start);
        for y in 0..8 {
            let coefficients = coefficients[y * width + start..][..here].as_chunks::<8>().0;
            let steps = steps[y];
            for (out, coefficients) in frequencies[y].as_chunks_mut::<8>().0.iter_mut().zip(coefficients) {
                let values = *coefficients;
                let mut products = [0i16; 8];
                for x in 0..8 {
                    products[x] = values[x].wrapping_mul(steps[x]).clamp(-LARGEST, LARGEST);
                }
                *out = products;
            }
        }
        for lane in 0..LANES {
            let column = inverse(
                #[inline(always)]
                |y| frequencies[y][lane],
                FRACTION - KEPT,
            );
            for y in 0..8 {
                halfway[y][lane] = column[y].clamp((-LARGEST).into(), LARGEST.into()) as i16;
            }
        }
        for (y, halfway) in halfway.iter().enumerate() {
            let samples = &mut samples[y * width + start..][..here];
            for (out, halfway) in samples.as_chunks_mut::<8>().0.iter_mut().zip(halfway.as_chunks::<8>().0) {
                // Both passes together scale by 8.
                let row = inverse(
                    #[inline(always)]
                    |x| halfway[x],
                    FRACTION + KEPT + 3,
                );
                for x in 0..8 {
                    out[x] = (row[x] + 128).clamp(0, 255) as u8;
                }
            }
        }
    }
}
