//! What an inspection finds in objects.

use serde::Serialize;

use super::{Known, Named, Seen};
use crate::boxes::area;
use crate::data::annotated::reaches_beyond_a_pixel;
use crate::data::{Object, Split};

/// What an inspection finds in objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ObjectFacts {
    /// Pictures without objects.
    pub pictures_without: usize,
    /// Objects that are hard to see.
    pub difficult: usize,
    /// Boxes that hold a crowd.
    pub crowds: usize,
    /// The longer sides of the training boxes in pixels; `None` if there are none.
    pub train_sides: Option<Quartiles>,
    /// Those of the validation boxes.
    pub val_sides: Option<Quartiles>,
    /// Boxes without area within their picture: class and sides.
    pub empty: Vec<Named>,
    /// Whether no training box reaches beyond the first pixel: then boxes are in shares of the picture.
    pub in_shares: bool,
    /// Other boxes that reach more than a pixel beyond their picture.
    pub beyond: Vec<Named>,
}

/// How a number is spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quartiles {
    /// The smallest.
    pub smallest: f32,
    /// The number that a quarter of all do not exceed, then a half, then three quarters.
    pub quartiles: [f32; 3],
    /// The largest.
    pub largest: f32,
}

/// How far a box may reach beyond its picture, px: tools differ on whether the first pixel is 0 or 1.
const EDGE_PX: f32 = 1.0;

/// What is kept of a picture's objects.
pub(super) struct Boxes {
    objects: Vec<Object>,
    size: [f32; 2],
}

impl Boxes {
    pub(super) fn of(objects: &[Object], size: [u32; 2]) -> Self {
        Self { objects: objects.to_vec(), size: size.map(|side| side as f32) }
    }

    pub(super) fn classes(&self) -> Vec<u32> {
        self.objects.iter().map(|object| object.class).collect()
    }

    pub(super) fn is_odd(&self) -> bool {
        self.objects.iter().any(|object| self.is_empty(object) || self.is_beyond(object))
    }

    /// Whether a box has no area within the picture.
    fn is_empty(&self, Object { bounds: [left, top, right, bottom], .. }: &Object) -> bool {
        let [width, height] = self.size;
        area([left.max(0.0), top.max(0.0), right.min(width), bottom.min(height)]) <= 0.0
    }

    fn is_beyond(&self, Object { bounds: [left, top, right, bottom], .. }: &Object) -> bool {
        let [width, height] = self.size;
        left.min(*top) < -EDGE_PX || *right > width + EDGE_PX || *bottom > height + EDGE_PX
    }
}

impl ObjectFacts {
    pub(super) fn of(seen: &[Seen], classes: &[String], name: &dyn Fn(&Seen) -> String) -> Self {
        let mut facts = Self::default();
        let mut sides = [vec![], vec![]];
        for picture in seen {
            let Known::Objects(boxes) = &picture.known else { continue };
            facts.pictures_without += usize::from(boxes.objects.is_empty());
            for object in &boxes.objects {
                let [left, top, right, bottom] = object.bounds;
                facts.difficult += usize::from(object.difficult);
                facts.crowds += usize::from(object.crowd);
                let empty = boxes.is_empty(object);
                if empty || boxes.is_beyond(object) {
                    let class = &classes[object.class as usize];
                    let [width, height] = picture.size;
                    let note = format!(
                        "{class} from {left}, {top} to {right}, {bottom} in a picture of {width} x {height} px"
                    );
                    let named = Named { picture: name(picture), note };
                    (if empty { &mut facts.empty } else { &mut facts.beyond }).push(named);
                }
                if !empty {
                    sides[picture.split as usize].push((right - left).max(bottom - top));
                }
            }
        }
        let training = seen.iter().filter(|picture| picture.split == Split::Train);
        let mut boxes = training.filter_map(|picture| match &picture.known {
            Known::Objects(boxes) => Some(&boxes.objects),
            _ => None,
        });
        facts.in_shares = !sides[0].is_empty() && !boxes.any(|objects| objects.iter().any(reaches_beyond_a_pixel));
        let [train, val] = sides;
        (facts.train_sides, facts.val_sides) = (Quartiles::of(train), Quartiles::of(val));
        facts
    }

    /// The longer sides of a split's boxes in pixels; `None` if there are none.
    pub fn sides(&self, split: Split) -> Option<Quartiles> {
        if split == Split::Train { self.train_sides } else { self.val_sides }
    }
}

impl Quartiles {
    fn of(mut numbers: Vec<f32>) -> Option<Self> {
        numbers.sort_by(f32::total_cmp);
        let last = numbers.len().checked_sub(1)?;
        let quartiles = [1, 2, 3].map(|quarter| numbers[last * quarter / 4]);
        Some(Self { smallest: numbers[0], quartiles, largest: numbers[last] })
    }
}
