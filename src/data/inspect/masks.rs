//! What an inspection finds in masks.

use image::GrayImage;
use serde::Serialize;

use super::{Known, Named, Seen};
use crate::data::IGNORED;

/// What an inspection finds in masks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MaskFacts {
    /// Each class's share of the pixels that count, of both splits, from 0 to 1.
    pub shares: Vec<f64>,
    /// The share of all pixels that do not count.
    pub ignored: f64,
    /// Masks in which no pixel counts.
    pub empty: Vec<Named>,
}

/// The labels in a mask, and the number of pixels of each.
pub(super) struct Pixels(Vec<(u8, u64)>);

impl Pixels {
    pub(super) fn of(mask: &GrayImage) -> Self {
        let mut counts = [0; 256];
        mask.iter().for_each(|label| counts[usize::from(*label)] += 1);
        Self((0..=u8::MAX).zip(counts).filter(|(_, count)| *count > 0).collect())
    }

    pub(super) fn classes(&self) -> Vec<u32> {
        self.0.iter().filter(|(label, _)| *label != IGNORED).map(|(label, _)| u32::from(*label)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|(label, _)| *label == IGNORED)
    }
}

impl MaskFacts {
    pub(super) fn of(seen: &[Seen], classes: usize, name: &dyn Fn(&Seen) -> String) -> Self {
        let mut counts = [0; 256];
        let mut empty = vec![];
        for picture in seen {
            let Known::Mask(pixels) = &picture.known else { continue };
            pixels.0.iter().for_each(|(label, count)| counts[usize::from(*label)] += count);
            if pixels.is_empty() {
                empty.push(Named { picture: name(picture), note: format!("every label is {IGNORED}") });
            }
        }
        let ignored: u64 = counts[usize::from(IGNORED)];
        let all: u64 = counts.iter().sum();
        let share = |count: u64, all: u64| count as f64 / all.max(1) as f64;
        let shares = counts.iter().take(classes).map(|&count| share(count, all - ignored)).collect();
        Self { shares, ignored: share(ignored, all), empty }
    }
}
