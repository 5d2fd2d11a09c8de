//! Boxes around objects: their overlap, anchors, matching with true boxes, and choice among predicted ones.
//!
//! The rules are those of torchvision's RetinaNet (`models/detection/retinanet.py`, `_utils.py` and `anchor_utils.py`),
//! so that weights trained by either give the same detections. Nothing here needs a GPU.

mod anchors;
mod coder;
mod matching;
mod select;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use anchors::{Anchors, PER_CELL};
#[cfg(feature = "onnx")]
pub(crate) use coder::LARGEST;
pub use coder::{decode, encode};
pub use matching::{BACKGROUND, FOREGROUND, Match, matches};
pub use select::{Detection, Selection};

/// The edges of a box in px: left, top, right, bottom. x grows to the right, y downwards, and the corner of the first
/// pixel is `(0, 0)`. Right and bottom lie behind the last pixel, so the width is `right - left`.
pub type Bounds = [f32; 4];

/// A true object of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Its class, an index.
    pub class: u32,
    /// Its box.
    pub bounds: Bounds,
    /// Whether PASCAL VOC marks it as hard to recognise: such an object is neither asked for nor a mistake.
    pub difficult: bool,
    /// Whether the box holds a crowd of objects, which COCO does not separate.
    pub crowd: bool,
    /// Its area in px², by which COCO calls it small, medium or large: of its outline, where that is known.
    pub area: f32,
}

impl Object {
    /// An ordinary object whose area is that of its box.
    pub fn new(class: u32, bounds: Bounds) -> Self {
        Self { class, bounds, difficult: false, crowd: false, area: area(bounds) }
    }
}

/// The area of a box in px²; 0 if a side is not positive.
#[inline]
pub fn area([left, top, right, bottom]: Bounds) -> f32 {
    positive(right - left) * positive(bottom - top)
}

/// Intersection over union of two boxes, 0 to 1. It is 0 if one of them has no area.
#[inline]
pub fn overlap(a: Bounds, b: Bounds) -> f32 {
    let intersection =
        positive(lower(a[2], b[2]) - higher(a[0], b[0])) * positive(lower(a[3], b[3]) - higher(a[1], b[1]));
    let (a, b) = (area(a), area(b));
    if a > 0.0 && b > 0.0 { intersection / (a + b - intersection) } else { 0.0 }
}

/// The part of a box inside a picture of `[height, width]`. A box outside it becomes one without area on its edge.
pub fn clip([left, top, right, bottom]: Bounds, [height, width]: [usize; 2]) -> Bounds {
    let (x, y) = (|v: f32| v.clamp(0.0, width as f32), |v: f32| v.clamp(0.0, height as f32));
    [x(left), y(top), x(right), y(bottom)]
}

// Unlike `f32::max`, these are single instructions, which matters to `matches`.

#[inline]
fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline]
fn lower(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline]
fn positive(a: f32) -> f32 {
    higher(a, 0.0)
}
