//! How the answers of each kind of network are printed and drawn.

use image::{GrayImage, RgbImage};
use serde_json::{Map, Value, json};

use super::super::Error;
use crate::boxes::Selection;
use crate::drawing::overlay::{self, Outline};
use crate::predictor::FromOutputs;
use crate::{ClassShare, Depths, Detections, Found, Guess, Prediction, Predictor, Segmentation};

/// What the user wants to see of an answer.
#[derive(Clone, Copy)]
pub(super) struct Wishes {
    /// How many classes of a classifier.
    pub(super) top: usize,
    /// The least score of a detector's objects.
    pub(super) score: f32,
}

/// A picture of numbers.
pub(super) enum Numbers {
    /// Class numbers, of which 255 does not count.
    Mask(GrayImage),
    /// Width, height and numbers of 16 bits.
    Deep(u32, u32, Vec<u16>),
}

/// An answer that can be printed and drawn.
pub(super) trait Shown: FromOutputs {
    /// Pictures at a time, unless the user wants another number.
    const BATCH: usize = 1;

    /// The network, so that no object with this score is dropped.
    fn adjusted(predictor: Predictor<Self>, _score: Option<f32>) -> Predictor<Self> {
        predictor
    }

    /// The fields of its line of JSON.
    fn fields(&self, wishes: Wishes) -> Map<String, Value>;

    /// Its rows in a table.
    fn rows(&self, wishes: Wishes) -> Vec<[String; 2]>;

    /// The picture with the answer over it.
    fn drawn(&self, picture: RgbImage, wishes: Wishes) -> Result<RgbImage, Error>;

    /// The answer as a picture of numbers, with its key in the line of JSON.
    fn numbers(&self) -> Option<(&'static str, Numbers)> {
        None
    }
}

/// A line of JSON from pairs.
fn line<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn percent(share: f64) -> String {
    format!("{:6.2} %", 100.0 * share)
}

impl Shown for Prediction {
    const BATCH: usize = 8;

    fn fields(&self, wishes: Wishes) -> Map<String, Value> {
        line([("top", json!(self.top(wishes.top)))])
    }

    fn rows(&self, wishes: Wishes) -> Vec<[String; 2]> {
        let row = |guess: Guess| [percent(guess.probability.into()), guess.label];
        self.top(wishes.top).into_iter().map(row).collect()
    }

    fn drawn(&self, picture: RgbImage, _wishes: Wishes) -> Result<RgbImage, Error> {
        Ok(picture)
    }
}

impl Shown for Detections {
    fn adjusted(predictor: Predictor<Self>, score: Option<f32>) -> Predictor<Self> {
        let usual = Selection::default();
        match score {
            // The selection drops a score that equals its limit; --score keeps it.
            Some(score) if score <= usual.score => {
                predictor.with_selection(Selection { score: score.next_down().max(0.0), ..usual })
            }
            _ => predictor,
        }
    }

    fn fields(&self, wishes: Wishes) -> Map<String, Value> {
        line([("objects", json!(self.above(wishes.score)))])
    }

    fn rows(&self, wishes: Wishes) -> Vec<[String; 2]> {
        let row = |found: &Found| {
            let [left, top, right, bottom] = found.bounds;
            let place = format!("{} from {left:.0}, {top:.0} to {right:.0}, {bottom:.0}", found.label);
            [percent(found.score.into()), place]
        };
        self.above(wishes.score).iter().map(row).collect()
    }

    fn drawn(&self, mut picture: RgbImage, wishes: Wishes) -> Result<RgbImage, Error> {
        let outline = |found: &Found| Outline {
            bounds: found.bounds,
            text: format!("{} {:.2}", found.label, found.score),
            colour: overlay::box_colour(found.class),
        };
        let outlines: Vec<Outline> = self.above(wishes.score).iter().map(outline).collect();
        overlay::boxes(&mut picture, &outlines)?;
        Ok(picture)
    }
}

impl Shown for Segmentation {
    fn fields(&self, _wishes: Wishes) -> Map<String, Value> {
        line([("classes", json!(self.shares()))])
    }

    fn rows(&self, _wishes: Wishes) -> Vec<[String; 2]> {
        let row = |class: ClassShare| [percent(class.share), class.label];
        self.shares().into_iter().map(row).collect()
    }

    fn drawn(&self, picture: RgbImage, _wishes: Wishes) -> Result<RgbImage, Error> {
        // Colours repeat where there are more classes than a mask can have; unseen pixels stay as they are.
        let repeated = || {
            GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
                image::Luma([(self.classes.get_pixel(x, y)[0] % 255) as u8])
            })
        };
        Ok(overlay::mask(&picture, &self.mask().unwrap_or_else(repeated)))
    }

    fn numbers(&self) -> Option<(&'static str, Numbers)> {
        let deep = || Numbers::Deep(self.classes.width(), self.classes.height(), self.classes.to_vec());
        Some(("mask", self.mask().map_or_else(deep, Numbers::Mask)))
    }
}

/// The greatest depth that 16 bits tell in millimetres.
const MOST_METRES: f32 = 65.535;

impl Shown for Depths {
    fn fields(&self, _wishes: Wishes) -> Map<String, Value> {
        let range = self.range();
        line([("min_m", json!(range.map(|range| range[0]))), ("max_m", json!(range.map(|range| range[1])))])
    }

    fn rows(&self, _wishes: Wishes) -> Vec<[String; 2]> {
        let row = |metres: f32, what: &str| [format!("{metres:7.2} m"), what.to_owned()];
        self.range().map_or_else(Vec::new, |[near, far]| vec![row(near, "nearest"), row(far, "farthest")])
    }

    fn drawn(&self, _picture: RgbImage, _wishes: Wishes) -> Result<RgbImage, Error> {
        Ok(overlay::depth(&self.metres, self.range().unwrap_or_default()))
    }

    fn numbers(&self) -> Option<(&'static str, Numbers)> {
        let beyond = self.metres.iter().filter(|metres| **metres > MOST_METRES).count();
        if beyond > 0 {
            log::warn!(
                "{beyond} pixels are more than {MOST_METRES} m away, more than the PNG can tell: they are 0 there"
            );
        }
        let told = |metres: &f32| if *metres > MOST_METRES { 0 } else { (1e3 * metres).round() as u16 };
        let millimetres = self.metres.iter().map(told).collect();
        Some(("depth", Numbers::Deep(self.metres.width(), self.metres.height(), millimetres)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DepthMap;

    #[test]
    fn depths_that_16_bits_cannot_tell_are_unknown() {
        let far = [0.0, 1.2504, 65.535, 65.6, 80.0];
        let depths = Depths { metres: DepthMap::from_fn(5, 1, |x, _| image::Luma([far[x as usize]])) };
        let Some(("depth", Numbers::Deep(5, 1, millimetres))) = depths.numbers() else { panic!("a depth") };
        assert_eq!(millimetres, [0, 1250, 65535, 0, 0]);
    }
}
