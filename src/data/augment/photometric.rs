//! Operations that change colours and move nothing, with the arithmetic of Pillow's ImageOps and ImageEnhance.

use image::{Rgb, RgbImage};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

/// Replaces every value by its entry in the channel's table.
fn look_up(picture: &mut RgbImage, tables: &[[u8; 256]; 3]) {
    for pixel in picture.pixels_mut() {
        *pixel = Rgb([0, 1, 2].map(|c| tables[c][usize::from(pixel[c])]));
    }
}

/// Replaces every value, whatever its channel.
pub(super) fn map(picture: &mut RgbImage, value: impl Fn(u8) -> u8) {
    let table = std::array::from_fn(|v| value(v as u8));
    look_up(picture, &[table; 3]);
}

/// How often each channel has each value.
fn histograms(picture: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in picture.pixels() {
        for c in 0..3 {
            counts[c][usize::from(pixel[c])] += 1;
        }
    }
    counts
}

/// Stretches each channel so that its darkest value becomes 0 and its brightest 255.
pub(super) fn auto_contrast(picture: &mut RgbImage) {
    let tables = histograms(picture).map(|counts| {
        let darkest = counts.iter().position(|&n| n > 0).unwrap_or(0);
        let brightest = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
        if brightest <= darkest {
            return identity();
        }
        let scale = 255.0 / (brightest - darkest) as f64;
        // The cast truncates and saturates, as Pillow does.
        std::array::from_fn(|v| (v as f64 * scale - darkest as f64 * scale) as u8)
    });
    look_up(picture, &tables);
}

/// Spreads each channel's values so that its histogram becomes flat.
pub(super) fn equalize(picture: &mut RgbImage) {
    let tables = histograms(picture).map(|counts| {
        let total: u32 = counts.iter().sum();
        let of_brightest = counts.iter().copied().rfind(|&n| n > 0).unwrap_or(0);
        // Pixels for each of the 255 steps. The brightest value's pixels do not count, since no step follows it.
        let step = (total - of_brightest) / 255;
        if step == 0 {
            return identity();
        }
        let mut darker = step / 2;
        counts.map(|n| {
            let value = (darker / step).min(255) as u8;
            darker += n;
            value
        })
    });
    look_up(picture, &tables);
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|v| v as u8)
}

/// `factor` of the way from one value to another, and beyond it for factors above 1.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}

/// Luma of ITU-R BT.601 in 16 fractional bits, rounded.
fn luma(&Rgb([r, g, b]): &Rgb<u8>) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8
}

/// Scales every value; a factor of 0 gives black.
pub(super) fn brightness(picture: &mut RgbImage, factor: f32) {
    map(picture, |v| blend(0, v, factor));
}

/// Scales the distance of every value from the picture's mean luma.
pub(super) fn contrast(picture: &mut RgbImage, factor: f32) {
    let sum: u64 = picture.pixels().map(|p| u64::from(luma(p))).sum();
    let count = u64::from(picture.width()) * u64::from(picture.height());
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    map(picture, |v| blend(mean, v, factor));
}

/// Scales the distance of every pixel from its own grey.
pub(super) fn color(picture: &mut RgbImage, factor: f32) {
    for pixel in picture.pixels_mut() {
        let grey = luma(pixel);
        *pixel = Rgb(pixel.0.map(|v| blend(grey, v, factor)));
    }
}

/// Scales the distance of every pixel from a smoothed picture: weights 5/13 for the pixel, 1/13 for each of its eight
/// neighbours. Pixels on the border have no smoothed value and stay.
pub(super) fn sharpness(picture: &mut RgbImage, factor: f32) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let row = 3 * width;
    let source = picture.clone().into_raw();
    let target: &mut [u8] = picture;
    for y in 1..height.saturating_sub(1) {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &source[y * row..][..row]);
        let inner = &mut target[y * row..][..row];
        for i in 3..row.saturating_sub(3) {
            let column = |i: usize| u32::from(above[i]) + u32::from(here[i]) + u32::from(below[i]);
            let sum = column(i - 3) + column(i) + column(i + 3) + 4 * u32::from(here[i]);
            // sum / 13, rounded.
            let smooth = ((2 * sum + 13) / 26) as u8;
            inner[i] = blend(smooth, here[i], factor);
        }
    }
}

/// Changes brightness, contrast and colourfulness in random order, each by up to 40 % of a strength.
pub(super) fn jitter(picture: &mut RgbImage, strength: f32, rng: &mut Pcg64Mcg) {
    let reach = 0.4 * strength;
    let mut changes: [fn(&mut RgbImage, f32); 3] = [brightness, contrast, color];
    changes.shuffle(rng);
    changes.iter().for_each(|change| change(picture, 1.0 + rng.random_range(-reach..=reach)));
}

#[cfg(test)]
mod tests {
    use super::super::super::random::{Purpose, generator};
    use super::*;

    /// A picture of three bands, and its mean, spread and colourfulness.
    fn jittered(strength: f32, index: u64) -> (RgbImage, [f64; 3]) {
        let bands = [[100, 80, 60], [60, 80, 100], [120, 130, 110]];
        let mut picture = RgbImage::from_fn(6, 6, |x, _| Rgb(bands[x as usize / 2]));
        jitter(&mut picture, strength, &mut generator(2, Purpose::Jitter, 0, index));
        let lumas: Vec<f64> = picture.pixels().map(|p| f64::from(luma(p))).collect();
        let mean = lumas.iter().sum::<f64>() / 36.0;
        let spread = (lumas.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 36.0).sqrt();
        let colour = picture.pixels().map(|p| f64::from(p[0].abs_diff(p[2]))).sum::<f64>() / 36.0;
        (picture, [mean, spread, colour])
    }

    #[test]
    fn jitter_changes_brightness_contrast_and_colours_within_its_reach() {
        assert_eq!(jittered(1.0, 4), jittered(1.0, 4));
        let (_, still) = jittered(0.0, 0);
        let mut ends = [[f64::MAX, 0.0_f64]; 3];
        for index in 0..400 {
            let (_, now) = jittered(1.0, index);
            (0..3).for_each(|i| ends[i] = [ends[i][0].min(now[i] / still[i]), ends[i][1].max(now[i] / still[i])]);
        }
        // Contrast keeps the mean; brightness and contrast both change the spread, and all three the colours. Values
        // are cut off to whole levels after each change: of a mean of 89 that is 3 %, of a spread of 21 15 %.
        for ([least, most], factors) in ends.into_iter().zip([1, 2, 3]) {
            let (lowest, highest) = (0.6_f64.powi(factors), 1.4_f64.powi(factors));
            assert!(least >= lowest * 0.8 && most <= highest * 1.15, "{least} to {most} by {factors} factors");
            assert!(least < 0.7 && most > 1.3, "{least} to {most} by {factors} factors");
        }
    }

    #[test]
    fn changes_come_in_any_order() {
        let different: std::collections::BTreeSet<Vec<u8>> = (0..60).map(|i| jittered(1.0, i).0.into_raw()).collect();
        assert!(different.len() > 55, "{} of 60 differ", different.len());
    }
}
