//! Random erasing (Zhong et al. 2017, arXiv 1708.04896), with the draws of timm's RandomErasing.

use image::RgbImage;
use rand::{Rng, RngExt};
use rand_pcg::Pcg64Mcg;

/// Replaces a random rectangle by noise, with the given probability. If no rectangle fits in ten attempts, the picture
/// stays as it is.
pub(super) fn erase(picture: &mut RgbImage, probability: f32, rng: &mut Pcg64Mcg) {
    if rng.random::<f32>() >= probability {
        return;
    }
    let (width, height) = picture.dimensions();
    for _ in 0..10 {
        let area = f64::from(width) * f64::from(height) * rng.random_range(0.02..=1.0 / 3.0);
        let shape = rng.random_range(0.3_f64.ln()..=-0.3_f64.ln()).exp();
        let (w, h) = ((area / shape).sqrt().round() as u32, (area * shape).sqrt().round() as u32);
        if w < width && h < height {
            let (left, top) = (rng.random_range(0..=width - w), rng.random_range(0..=height - h));
            let row = 3 * width as usize;
            for line in picture.chunks_exact_mut(row).skip(top as usize).take(h as usize) {
                rng.fill_bytes(&mut line[3 * left as usize..][..3 * w as usize]);
            }
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::random::{Purpose, generator};
    use super::*;

    /// Width and height of the rectangle that is erased from a black picture.
    fn erased(size: (u32, u32), probability: f32, index: u64) -> Option<(u32, u32)> {
        let mut picture = RgbImage::new(size.0, size.1);
        erase(&mut picture, probability, &mut generator(1, Purpose::Erase, 0, index));
        let changed: Vec<(u32, u32)> =
            picture.enumerate_pixels().filter(|(.., p)| p.0 != [0; 3]).map(|(x, y, _)| (x, y)).collect();
        let (left, right) = (changed.iter().map(|p| p.0).min()?, changed.iter().map(|p| p.0).max()?);
        let (top, bottom) = (changed.iter().map(|p| p.1).min()?, changed.iter().map(|p| p.1).max()?);
        let (width, height) = (right - left + 1, bottom - top + 1);
        assert!(changed.len() as u32 + 3 >= width * height, "a whole rectangle, but for noise that is black");
        Some((width, height))
    }

    #[test]
    fn rectangles_have_the_area_and_the_shape_asked_for() {
        let all = f64::from(64 * 48);
        let (mut smallest, mut largest, mut narrowest, mut widest) = (1.0_f64, 0.0_f64, 1.0_f64, 1.0_f64);
        for index in 0..2000 {
            let (width, height) = erased((64, 48), 1.0, index).map(|(w, h)| (f64::from(w), f64::from(h))).unwrap();
            // Both sides are rounded.
            assert!((width + 0.5) * (height + 0.5) >= 0.02 * all, "{width} x {height}");
            assert!((width - 0.5) * (height - 0.5) <= all / 3.0, "{width} x {height}");
            assert!((height + 0.5) / (width - 0.5) >= 0.3, "{width} x {height}");
            assert!((height - 0.5) / (width + 0.5) <= 1.0 / 0.3, "{width} x {height}");
            let (area, shape) = (width * height / all, height / width);
            (smallest, largest) = (smallest.min(area), largest.max(area));
            (narrowest, widest) = (narrowest.min(shape), widest.max(shape));
        }
        assert!(smallest < 0.03 && largest > 0.31, "{smallest} to {largest} of the area");
        assert!(narrowest < 0.35 && widest > 2.8, "shapes {narrowest} to {widest}");
    }

    #[test]
    fn as_many_pictures_as_the_probability_says() {
        let share = |probability| (0..4000).filter(|&i| erased((32, 32), probability, i).is_some()).count();
        assert_eq!(share(0.0), 0);
        // Five standard deviations of 27.
        assert!((865..=1135).contains(&share(0.25)), "{}", share(0.25));
    }

    #[test]
    fn pictures_without_room_stay() {
        for index in 0..100 {
            assert_eq!([(1, 1), (1, 9), (9, 1)].map(|size| erased(size, 1.0, index)), [None; 3]);
        }
    }
}
