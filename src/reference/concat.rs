//! Maps joined by their channels, and taken apart again.

use super::View;
use crate::graph::op::SliceChannels;

/// The channels of several maps, one map's after another's.
pub(super) fn concat(inputs: &[View<'_>]) -> Vec<f64> {
    let pixels = inputs[0].data.len() / inputs[0].channels();
    let channels = |pixel: usize| {
        inputs.iter().flat_map(move |x| &x.data[pixel * x.channels()..(pixel + 1) * x.channels()]).copied()
    };
    (0..pixels).flat_map(channels).collect()
}

/// A run of a map's channels.
pub(super) fn slice_channels(op: &SliceChannels, x: View<'_>) -> Vec<f64> {
    x.data.chunks_exact(x.channels()).flat_map(|pixel| &pixel[op.first..op.first + op.count]).copied().collect()
}
