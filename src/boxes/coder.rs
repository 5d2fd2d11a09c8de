//! Boxes as a network predicts them: by their difference from an anchor.

use super::Bounds;

/// The most that a prediction may enlarge an anchor, as a logarithm: the factor 1000 / 16, as in torchvision.
pub(crate) const LARGEST: f32 = 4.135_166_6;

/// The centre, width and height of a box in px.
fn centred([left, top, right, bottom]: Bounds) -> [f32; 4] {
    let (width, height) = (right - left, bottom - top);
    [left + 0.5 * width, top + 0.5 * height, width, height]
}

/// The difference of a box from an anchor: the way from centre to centre, x and y, in sides of the anchor; then the
/// logarithms of width and height, over the anchor's. Both must have an area.
pub fn encode(bounds: Bounds, anchor: Bounds) -> [f32; 4] {
    let ([x, y, width, height], [ax, ay, across, down]) = (centred(bounds), centred(anchor));
    [(x - ax) / across, (y - ay) / down, (width / across).ln(), (height / down).ln()]
}

/// The box with a difference from an anchor as of [`encode`]. Sides are at most 62.5 times the anchor's.
pub fn decode([x, y, width, height]: [f32; 4], anchor: Bounds) -> Bounds {
    let [ax, ay, across, down] = centred(anchor);
    let (x, y) = (x * across + ax, y * down + ay);
    // Unlike min, this keeps what is not a number.
    let log = |log: f32| if log > LARGEST { LARGEST } else { log };
    let side = |side: f32, of_anchor: f32| 0.5 * (log(side).exp() * of_anchor);
    let (width, height) = (side(width, across), side(height, down));
    [x - width, y - height, x + width, y + height]
}
