//! Maps joined by their channels, and taken apart again.

use super::{Half, Rule, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, LANES, Node, Spec};

/// The channels of several maps, one map's after another's.
///
/// Inputs: maps `[N, H, W, Ci]`, of which all but the last have a multiple of 4 channels, so that quads stay whole.
/// Output `[N, H, W, sum of Ci]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concat;

impl Rule for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        let Some((last, before)) = inputs.split_last() else { return Err("joins at least one map".into()) };
        let [n, h, w, mut channels] = map(last)?;
        for x in before {
            let [.., c] = map(x)?;
            same("map", &x.shape, &[n, h, w, c])?;
            if c % LANES != 0 {
                return Err(format!("all maps but the last need a multiple of {LANES} channels, got {c}"));
            }
            channels += c;
        }
        Ok(vec![Spec::channels([n, h, w, channels])])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let mut first = 0;
        for &x in &node.inputs {
            let count = back.graph.spec(x).last();
            if back.needs(x) {
                let dx = back.emit(node, SliceChannels { first, count }, &[dy])?[0];
                back.accumulate(node, x, dx)?;
            }
            first += count;
        }
        Ok(())
    }
}

/// A run of a map's channels.
///
/// Input: x `[N, H, W, C]`. Output `[N, H, W, count]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceChannels {
    /// The first channel, a multiple of 4.
    pub first: usize,
    /// Number of channels; a multiple of 4 unless the run ends with the map's last channel.
    pub count: usize,
}

impl Rule for SliceChannels {
    fn name(&self) -> &'static str {
        "slice_channels"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let ([n, h, w, c], Self { first, count }) = (map(inputs[0])?, *self);
        let end = first + count;
        if count == 0 || first % LANES != 0 || end > c || (end < c && count % LANES != 0) {
            return Err(format!("channels {first} to {end} are no whole quads of a map of {c} channels"));
        }
        Ok(vec![Spec::channels([n, h, w, count])])
    }
}
