//! A head that tells the depth of each pixel.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::super::builder::Builder;
use super::super::config::check;
use super::super::network::output;
use super::decoder;
use crate::graph::op::{Filter, Resize, ScaledSigmoid};
use crate::graph::{Graph, Port, TensorId};

/// The decoder of DenseDepth (Alhashim and Wonka 2018, arXiv 1812.11941) to one channel, and a sigmoid that keeps the
/// depth within its range.
///
/// Output: `depth` `[N, H / 2, W / 2, 1]`, metres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseDepth {
    /// Channels of its five maps, coarsest first, each a multiple of 4. DenseDepth halves them from 2048; the default,
    /// from 512, has an eighth of the parameters.
    pub widths: [usize; 5],
    /// The largest depth, metres.
    pub max_m: f32,
}

/// The least depth as a share of the largest, so that its logarithm is finite.
const FLOOR: f32 = 1e-4;

/// The least depth in metres: what f16 stores as a normal number. Devices may take smaller ones for 0.
const LEAST_M: f32 = 6.2e-5;

impl Default for DenseDepth {
    fn default() -> Self {
        Self { widths: decoder::USUAL, max_m: 10.0 }
    }
}

impl DenseDepth {
    pub(super) fn validate(self) -> Result<(), Error> {
        decoder::validate(&self.widths)?;
        check("largest depth", self.max_m > 0.0 && self.max_m.is_finite(), "above 0 m", self.max_m)
    }

    pub(super) fn build(self, b: &mut Builder<'_>) -> Result<Vec<Port>, Error> {
        let x = decoder::build(b, &self.widths, 1)?;
        let floor = FLOOR.max(LEAST_M / self.max_m).min(1.0);
        let depth = b.graph.apply1("decoder.depth", ScaledSigmoid { scale: self.max_m, floor }, &[x])?;
        b.end_part(&[depth])?;
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
