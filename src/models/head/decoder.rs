//! DenseDepth's decoder (Alhashim and Wonka 2018, arXiv 1812.11941): from the coarsest map to half of the input's size,
//! one level after the other, as in U-Net (Ronneberger et al. 2015, arXiv 1505.04597).

use super::super::Error;
use super::super::builder::Builder;
use super::super::config::check;
use crate::graph::op::{Concat, Filter, Resize};
use crate::graph::{Activation, TensorId};

/// Channels of the decoder's five maps, coarsest first, each a multiple of 4.
pub(super) type Widths = [usize; 5];

/// DenseDepth has 2048 channels and their halves (54 million parameters with RS-50); these have an eighth of the
/// parameters.
pub(super) const USUAL: Widths = [512, 256, 128, 64, 32];

pub(super) fn validate(widths: &Widths) -> Result<(), Error> {
    let fits = widths.iter().all(|width| (4..=4096).contains(width) && width.is_multiple_of(4));
    check("decoder widths", fits, "multiples of 4 up to 4096", format!("{widths:?}"))
}

/// Appends a 1x1 convolution on the last level; four times a resizing to the size of the next finer level, which is
/// joined, and two 3x3 convolutions; and a 3x3 convolution to `outputs` channels: `[N, H / 2, W / 2, outputs]`.
pub(super) fn build(b: &mut Builder<'_>, widths: &Widths, outputs: usize) -> Result<TensorId, Error> {
    let [skips @ .., last] = b.last_levels::<5>()?;
    let mut x = b.conv_bias("decoder.first", last, (1, widths[0]), Activation::Identity)?;
    for (i, &skip) in skips.iter().rev().enumerate() {
        let name = |part: &str| format!("decoder.ups.{i}.{part}");
        let [_, h, w, _] = b.graph.spec(skip).as_map();
        x = b.graph.apply1(&name("resize"), Resize { size: [h, w], filter: Filter::Bilinear }, &[x])?;
        x = b.graph.apply1(&name("concat"), Concat, &[x, skip])?;
        for conv in ["a", "b"] {
            let names = [name(conv), name(&format!("n{conv}"))];
            x = b.conv_bn([&names[0], &names[1]], x, (3, widths[i + 1], 1), Activation::Relu)?;
        }
    }
    b.conv_bias("decoder.last", x, (3, outputs), Activation::Identity)
}
