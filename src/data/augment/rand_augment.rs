//! RandAugment (Cubuk et al. 2019, arXiv 1909.13719): a few operations in a row, drawn anew for each picture, all of
//! one magnitude.

use clap::ValueEnum;
use image::RgbImage;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::super::geometry::Geometry;
use super::operation::Operation;

/// RandAugment's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// Operations in a row.
    pub layers: u32,
    /// Their magnitude, at least 0; 10 is the nominal maximum.
    pub magnitude: f32,
    /// The set of operations, and what a magnitude means for each.
    pub convention: Convention,
    /// Whether only those operations are drawn that change colours: ten, of those that neither move nor hide anything.
    /// Else boxes, masks and depths move with the picture, and boxes grow when it is rotated or sheared.
    pub colour_only: bool,
}

/// Whose RandAugment it is. All three draw operations uniformly and with replacement, give rotation, shear and
/// translation a random sign, and fill with grey 128.
///
/// All three use Pillow's operations here. TensorFlow's own differ in two points: they take the nearest pixel instead
/// of interpolating, and contrast is taken around the number of pixels over 256 instead of the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// The ResNet-RS release (tensorflow/tpu): 16 operations, translation by up to 100 pixels, magnitudes beyond 10 as
    /// they are.
    Tpu,
    /// The TensorFlow Model Garden: as [`Convention::Tpu`], but translation by up to 10 pixels, and one more choice
    /// that does nothing, which makes 17.
    Tfm,
    /// timm's `rand-mM-mstd0.5-inc1`: 15 operations (no Cutout). Each grows with the magnitude and is applied with
    /// probability 1/2; translation by up to 0.45 of the side. The magnitude of each is drawn from a normal
    /// distribution of standard deviation 0.5 and clipped to 0 to 10.
    Timm,
}

impl RandAugment {
    /// Changes a picture of at least one pixel, and returns its geometry afterwards.
    pub(super) fn apply(&self, picture: &mut RgbImage, mut geometry: Geometry, rng: &mut Pcg64Mcg) -> Geometry {
        for _ in 0..self.layers {
            if let Some(operation) = self.draw(picture.dimensions(), rng) {
                operation.apply(picture);
                geometry = operation.affine(picture.dimensions()).map_or(geometry, |change| geometry.after(change));
            }
        }
        geometry
    }

    /// One layer's operation for a picture of this size; `None` leaves it as it is.
    fn draw(&self, (width, height): (u32, u32), rng: &mut Pcg64Mcg) -> Option<Operation> {
        let choices = match (self.convention, self.colour_only) {
            (Convention::Tpu, false) => 16,
            (Convention::Tfm, false) => 17,
            (Convention::Timm, false) => 15,
            (Convention::Tpu | Convention::Timm, true) => 10,
            (Convention::Tfm, true) => 11,
        };
        let choice: usize = rng.random_range(0..choices);
        let sign = if rng.random() { 1.0 } else { -1.0 };
        let centre = (rng.random_range(0..width), rng.random_range(0..height));
        let mut magnitude = f64::from(self.magnitude);
        if self.convention == Convention::Timm {
            if rng.random() {
                return None;
            }
            let noise: f64 = StandardNormal.sample(rng);
            magnitude = (magnitude + 0.5 * noise).clamp(0.0, 10.0);
        }
        let operations = self.convention.operations(magnitude, sign, (width, height), centre).into_iter();
        operations.filter(|operation| !self.colour_only || operation.keeps_places()).nth(choice)
    }
}

impl Convention {
    /// Every operation at one magnitude, for a picture of this size. Sources: tensorflow/tpu,
    /// models/official/efficientnet/autoaugment.py; tensorflow/models, official/vision/ops/augment.py;
    /// timm/data/auto_augment.py.
    fn operations(self, magnitude: f64, sign: f64, (width, height): (u32, u32), centre: (u32, u32)) -> [Operation; 16] {
        use Operation::*;
        // Truncated, as Python's int() does.
        let scaled = |most: f64| (magnitude / 10.0 * most) as u32;
        let signed = |most: f64| sign * magnitude / 10.0 * most;
        let (bits, threshold, factor) = match self {
            Self::Tpu | Self::Tfm => (scaled(4.0).min(8), scaled(256.0), 0.1 + magnitude / 10.0 * 1.8),
            Self::Timm => (4 - scaled(4.0), 256 - scaled(256.0), (1.0 + signed(0.9)).max(0.1)),
        };
        let factor = factor as f32;
        let [across, down] = match self {
            Self::Tpu => [100.0; 2],
            Self::Tfm => [10.0; 2],
            Self::Timm => [width, height].map(|side| 0.45 * f64::from(side)),
        };
        [
            AutoContrast,
            Equalize,
            Invert,
            Rotate { degrees: signed(30.0) },
            Posterize { bits },
            Solarize { threshold },
            Color { factor },
            Contrast { factor },
            Brightness { factor },
            Sharpness { factor },
            ShearX { share: signed(0.3) },
            ShearY { share: signed(0.3) },
            TranslateX { pixels: signed(across) },
            TranslateY { pixels: signed(down) },
            SolarizeAdd { addition: scaled(110.0) },
            // Last, since timm has all but this one.
            Cutout { centre, half_side: scaled(40.0) },
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::super::random::{Purpose, generator};
    use super::Operation::*;
    use super::*;

    const SIZE: (u32, u32) = (160, 80);

    /// The operation's name, and its argument if it has one.
    fn parts(operation: Operation) -> (&'static str, f64) {
        match operation {
            AutoContrast => ("AutoContrast", 0.0),
            Equalize => ("Equalize", 0.0),
            Invert => ("Invert", 0.0),
            Rotate { degrees } => ("Rotate", degrees),
            Posterize { bits } => ("Posterize", f64::from(bits)),
            Solarize { threshold } => ("Solarize", f64::from(threshold)),
            SolarizeAdd { addition } => ("SolarizeAdd", f64::from(addition)),
            Color { factor } => ("Color", f64::from(factor)),
            Contrast { factor } => ("Contrast", f64::from(factor)),
            Brightness { factor } => ("Brightness", f64::from(factor)),
            Sharpness { factor } => ("Sharpness", f64::from(factor)),
            ShearX { share } => ("ShearX", share),
            ShearY { share } => ("ShearY", share),
            TranslateX { pixels } => ("TranslateX", pixels),
            TranslateY { pixels } => ("TranslateY", pixels),
            Cutout { half_side, .. } => ("Cutout", f64::from(half_side)),
        }
    }

    #[test]
    fn magnitudes_mean_what_tensorflow_and_timm_say() {
        use Convention::*;
        // Rotate, Posterize, Solarize, the four enhancements, the two shears, TranslateX, TranslateY, SolarizeAdd,
        // Cutout.
        for (convention, magnitude, sign, want) in [
            (Tpu, 0.0, 1.0, [0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (Tpu, 9.0, 1.0, [27.0, 3.0, 230.0, 1.72, 0.27, 90.0, 90.0, 99.0, 36.0]),
            (Tpu, 10.0, -1.0, [-30.0, 4.0, 256.0, 1.9, -0.3, -100.0, -100.0, 110.0, 40.0]),
            (Tpu, 15.0, 1.0, [45.0, 6.0, 384.0, 2.8, 0.45, 150.0, 150.0, 165.0, 60.0]),
            (Tfm, 0.0, 1.0, [0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (Tfm, 9.0, -1.0, [-27.0, 3.0, 230.0, 1.72, -0.27, -9.0, -9.0, 99.0, 36.0]),
            (Tfm, 10.0, 1.0, [30.0, 4.0, 256.0, 1.9, 0.3, 10.0, 10.0, 110.0, 40.0]),
            (Tfm, 15.0, 1.0, [45.0, 6.0, 384.0, 2.8, 0.45, 15.0, 15.0, 165.0, 60.0]),
            (Timm, 0.0, 1.0, [0.0, 4.0, 256.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (Timm, 9.0, 1.0, [27.0, 1.0, 26.0, 1.81, 0.27, 64.8, 32.4, 99.0, 36.0]),
            (Timm, 9.0, -1.0, [-27.0, 1.0, 26.0, 0.19, -0.27, -64.8, -32.4, 99.0, 36.0]),
            (Timm, 10.0, -1.0, [-30.0, 0.0, 0.0, 0.1, -0.3, -72.0, -36.0, 110.0, 40.0]),
        ] {
            let got = convention.operations(magnitude, sign, SIZE, (0, 0)).map(parts);
            let [degrees, bits, threshold, factor, share, across, down, addition, half_side] = want;
            let arguments = [degrees, bits, threshold, factor, factor, factor, factor, share, share, across, down];
            for ((name, got), want) in got[3..].iter().zip(arguments.into_iter().chain([addition, half_side])) {
                assert!((got - want).abs() < 1e-6, "{convention:?} {name} at {magnitude}: {got}, not {want}");
            }
        }
    }

    /// How often each operation comes in `draws` draws, and the arguments it has.
    fn drawn(convention: Convention, magnitude: f32, draws: usize) -> BTreeMap<&'static str, Vec<f64>> {
        drawn_by(RandAugment { layers: 1, magnitude, convention, colour_only: false }, draws)
    }

    fn drawn_by(rand_augment: RandAugment, draws: usize) -> BTreeMap<&'static str, Vec<f64>> {
        let mut rng = generator(1, Purpose::RandAugment, 0, 0);
        let mut counts: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for _ in 0..draws {
            let (name, argument) = rand_augment.draw(SIZE, &mut rng).map_or(("nothing", 0.0), parts);
            counts.entry(name).or_default().push(argument);
        }
        counts
    }

    /// Five standard deviations of a binomial count.
    fn assert_share(what: &str, count: usize, draws: usize, share: f64) {
        let (mean, deviation) = (draws as f64 * share, (draws as f64 * share * (1.0 - share)).sqrt());
        assert!((count as f64 - mean).abs() <= 5.0 * deviation, "{what}: {count} of {draws}, not about {mean:.0}");
    }

    #[test]
    fn choices_and_signs_are_uniform() {
        const DRAWS: usize = 20_000;
        for (convention, operations, share, nothing) in [
            (Convention::Tpu, 16, 1.0 / 16.0, 0.0),
            (Convention::Tfm, 16, 1.0 / 17.0, 1.0 / 17.0),
            (Convention::Timm, 15, 1.0 / 30.0, 0.5),
        ] {
            let mut counts = drawn(convention, 9.0, DRAWS);
            assert_share("nothing", counts.remove("nothing").map_or(0, |d| d.len()), DRAWS, nothing);
            assert_eq!(counts.len(), operations, "{convention:?}");
            for (name, arguments) in &counts {
                assert_share(name, arguments.len(), DRAWS, share);
                if ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"].contains(name) {
                    let negative = arguments.iter().filter(|&&a| a < 0.0).count();
                    assert_share(name, negative, arguments.len(), 0.5);
                }
            }
        }
    }

    #[test]
    fn colours_alone_are_ten_operations() {
        const DRAWS: usize = 20_000;
        for (convention, share) in
            [(Convention::Tpu, 1.0 / 10.0), (Convention::Tfm, 1.0 / 11.0), (Convention::Timm, 1.0 / 20.0)]
        {
            let all = RandAugment { layers: 1, magnitude: 9.0, convention, colour_only: true };
            let mut counts = drawn_by(all, DRAWS);
            let nothing = counts.remove("nothing").map_or(0, |draws| draws.len());
            assert_share("nothing", nothing, DRAWS, 1.0 - 10.0 * share);
            assert_eq!(counts.len(), 10, "{convention:?}");
            for (name, arguments) in &counts {
                assert!(!["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout"].contains(name));
                assert_share(name, arguments.len(), DRAWS, share);
            }
        }
    }

    #[test]
    fn timm_draws_magnitudes_and_clips_them() {
        let magnitudes = |magnitude| -> Vec<f64> {
            drawn(Convention::Timm, magnitude, 20_000)["Rotate"].iter().map(|degrees| degrees.abs() / 3.0).collect()
        };
        let at_five = magnitudes(5.0);
        let count = at_five.len() as f64;
        let mean = at_five.iter().sum::<f64>() / count;
        let deviation = (at_five.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / count).sqrt();
        // Five standard errors: 0.5 / sqrt(n) of the mean, 0.5 / sqrt(2 n) of the deviation.
        assert!((mean - 5.0).abs() < 2.5 / count.sqrt(), "{mean}");
        assert!((deviation - 0.5).abs() < 2.5 / (2.0 * count).sqrt(), "{deviation}");
        assert!(magnitudes(15.0).iter().all(|&m| m == 10.0), "15 lies ten deviations above 10");
        assert!(magnitudes(0.0).contains(&0.0));
    }

    /// Pictures so small that they have no interior, no neighbouring pixels, or only one value.
    #[test]
    fn pictures_of_a_row_a_column_or_a_pixel() {
        for size in [(1, 1), (1, 9), (9, 1), (2, 2)] {
            for convention in [Convention::Tpu, Convention::Tfm, Convention::Timm] {
                for magnitude in [0.0, 3.0, 10.0] {
                    for operation in convention.operations(magnitude, -1.0, size, (0, 0)) {
                        let mut picture =
                            RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb([9 * x as u8, y as u8, 200]));
                        operation.apply(&mut picture);
                        assert_eq!(picture.dimensions(), size, "{operation:?}");
                    }
                }
            }
        }
    }
}
