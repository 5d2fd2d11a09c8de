//! Maps resized to another height and width.

use super::{Half, Rule, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// How a resized map's pixels follow from those of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Pixel `o` of `out` is pixel `floor(o * in / out)` of `in`: PyTorch's `nearest`.
    Nearest,
    /// Pixel `o` lies at `(o + 0.5) * in / out - 0.5`, at least 0, between two pixels: PyTorch's `bilinear` without
    /// `align_corners`.
    Bilinear,
}

/// A pixel of a resized axis as a weighted sum of at most two pixels of the axis before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taps {
    /// Indices of the pixels; the second is the first at the end of the axis.
    pub pixels: [usize; 2],
    /// Weight of the second pixel; that of the first is the rest to 1.
    pub share: f64,
}

impl Filter {
    /// What pixel `o` of an axis of `out` pixels is made from, if the axis had `length` pixels before.
    pub fn taps(self, o: usize, length: usize, out: usize) -> Taps {
        match self {
            Self::Nearest => Taps { pixels: [o * length / out; 2], share: 0.0 },
            Self::Bilinear => {
                // In units of half a new pixel, so that the numbers are integers.
                let at = ((2 * o + 1) * length).saturating_sub(out);
                let first = at / (2 * out);
                Taps { pixels: [first, (first + 1).min(length - 1)], share: (at % (2 * out)) as f64 / (2 * out) as f64 }
            }
        }
    }
}

/// The largest side of a resized map, so that positions in units of half a pixel fit 31 bits.
const MOST_PIXELS: usize = 16_384;

/// Checks the sides of maps before and after.
fn check_sides(sides: impl IntoIterator<Item = usize>) -> Result<(), String> {
    match sides.into_iter().find(|side| !(1..=MOST_PIXELS).contains(side)) {
        Some(side) => Err(format!("resizes maps of 1 to {MOST_PIXELS} pixels a side, got {side}")),
        None => Ok(()),
    }
}

/// A map resized to a height and a width, each axis by itself.
///
/// Input: x `[N, H, W, C]`. Output `[N, size[0], size[1], C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resize {
    /// Height and width of the result.
    pub size: [usize; 2],
    /// How its pixels are made.
    pub filter: Filter,
}

impl Rule for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, h, w, c] = map(inputs[0])?;
        let [oh, ow] = self.size;
        check_sides([h, w, oh, ow])?;
        Ok(vec![Spec::channels([n, oh, ow, c])])
    }

    /// One axis after the other, so that no pixel adds up a whole rectangle.
    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        if !back.needs(x) {
            return Ok(());
        }
        let [_, h, w, _] = map(back.graph.spec(x)).unwrap_or_default();
        let across = ResizeGrad { axis: Axis::Width, pixels: w, filter: self.filter, addend: false };
        let narrowed = back.emit(node, across, &[dy])?[0];
        back.accumulate_with(node, x, |addend| {
            let down = ResizeGrad { axis: Axis::Height, pixels: h, filter: self.filter, addend: addend.is_some() };
            (down.into(), vec![narrowed])
        })
    }
}

/// An axis of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Down.
    Height,
    /// Across.
    Width,
}

/// Gradient of [`Resize`] along one axis: each pixel receives the gradients of the pixels that were made from it, times
/// its weight in them; plus the addend.
///
/// Inputs: dy `[N, H, W, C]` and, with `addend`, a gradient of the output's shape to add. Output: dy's shape, with
/// `pixels` along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResizeGrad {
    /// The axis.
    pub axis: Axis,
    /// Pixels along the axis before it was resized.
    pub pixels: usize,
    /// As in the forward node.
    pub filter: Filter,
    /// Whether another path's gradient of the same map is added.
    pub addend: bool,
}

impl Rule for ResizeGrad {
    fn name(&self) -> &'static str {
        "resize_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.addend))?;
        let [n, h, w, c] = map(inputs[0])?;
        check_sides([h, w, self.pixels])?;
        let shape = match self.axis {
            Axis::Height => [n, self.pixels, w, c],
            Axis::Width => [n, h, self.pixels, c],
        };
        if self.addend {
            same("addend", &inputs[1].shape, &shape)?;
        }
        Ok(vec![Spec::channels(shape)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch's results for 0, 1, 2, 3 twice as large.
    #[test]
    fn positions_are_those_of_half_pixels() {
        let value = |o: usize| {
            let Taps { pixels: [a, b], share } = Filter::Bilinear.taps(o, 4, 8);
            a as f64 + share * (b as f64 - a as f64)
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(value), [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]);
        let nearest = [0, 1, 2, 3, 4].map(|o| Filter::Nearest.taps(o, 3, 5).pixels[0]);
        assert_eq!(nearest, [0, 0, 1, 1, 2]);
    }
}
