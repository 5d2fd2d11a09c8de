//! DenseDepth's decoder (Alhashim and Wonka 2018, arXiv 1812.11941): from the coarsest map to half of the input's size,
//! one level after the other.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::super::builder::Builder;
use super::super::config::check;
use super::super::network::output;
use crate::graph::op::{Concat, Filter, Resize, ScaledSigmoid};
use crate::graph::{Activation, Graph, Port, TensorId};

/// A 1x1 convolution on the last level; four times a resizing to the size of the next finer level, which is joined, and
/// two 3x3 convolutions; a 3x3 convolution to one channel, and a sigmoid that keeps the depth within its range.
///
/// Output: `depth` `[N, H / 2, W / 2, 1]`, metres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseDepth {
    /// Channels of its five maps, coarsest first, each a multiple of 4. The decoder of DenseDepth halves them from 2048
    /// (RS-50: 54 million parameters); from 512 it has an eighth of the parameters.
    pub widths: [usize; 5],
    /// The largest depth, metres.
    pub max_m: f32,
}

/// The least depth as a share of the largest, so that its logarithm is finite.
const FLOOR: f32 = 1e-4;

impl Default for DenseDepth {
    fn default() -> Self {
        Self { widths: [512, 256, 128, 64, 32], max_m: 10.0 }
    }
}

impl DenseDepth {
    pub(super) fn validate(self) -> Result<(), Error> {
        let fits = self.widths.iter().all(|width| (4..=4096).contains(width) && width.is_multiple_of(4));
        check("decoder widths", fits, "multiples of 4 up to 4096", format!("{:?}", self.widths))?;
        check("largest depth", self.max_m > 0.0 && self.max_m.is_finite(), "above 0 m", self.max_m)
    }

    pub(super) fn build(self, b: &mut Builder<'_>) -> Result<Vec<Port>, Error> {
        let [skips @ .., last] = b.last_levels::<5>()?;
        let mut x = b.conv_bias("decoder.first", last, (1, self.widths[0]), Activation::Identity)?;
        for (i, &skip) in skips.iter().rev().enumerate() {
            let name = |part: &str| format!("decoder.ups.{i}.{part}");
            let [_, h, w, _] = b.graph.spec(skip).as_map();
            x = b.graph.apply1(&name("resize"), Resize { size: [h, w], filter: Filter::Bilinear }, &[x])?;
            x = b.graph.apply1(&name("concat"), Concat, &[x, skip])?;
            for conv in ["a", "b"] {
                let names = [name(conv), name(&format!("n{conv}"))];
                x = b.conv_bn([&names[0], &names[1]], x, (3, self.widths[i + 1], 1), Activation::Relu)?;
            }
        }
        x = b.conv_bias("decoder.last", x, (3, 1), Activation::Identity)?;
        let depth = b.graph.apply1("decoder.depth", ScaledSigmoid { scale: self.max_m, floor: FLOOR }, &[x])?;
        b.end_part(depth)?;
        Ok(vec![Port { name: "depth", id: depth }])
    }
}

/// Appends the depth of each pixel of the input, `[N, H, W, 1]`: the output `depth`, resized.
///
/// # Errors
/// If there is no such output.
pub fn depth_of_pixels(graph: &mut Graph, outputs: &[Port]) -> Result<TensorId, Error> {
    let depth = output(outputs, "depth")?;
    let input = ["pixels", "input"].into_iter().find_map(|name| graph.find(name));
    let input = input.unwrap_or_else(|| unreachable!("a network takes pictures"));
    let size = [1, 2].map(|d| graph.spec(input).shape[d]);
    Ok(graph.apply1("full_size", Resize { size, filter: Filter::Bilinear }, &[depth])?)
}
