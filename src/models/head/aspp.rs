//! Atrous spatial pyramid pooling (Chen et al. 2017, arXiv 1706.05587): a map seen at several scales at once.

use super::super::Error;
use super::super::builder::Builder;
use crate::graph::op::{Concat, Filter, GlobalAvgPool, Resize};
use crate::graph::{Activation, TensorId};

/// Dilations of the 3x3 convolutions, torchvision's and segmentation-models-pytorch's.
const DILATIONS: [usize; 3] = [12, 24, 36];

/// Appends the pyramid under this name: a 1x1 convolution, three dilated 3x3 ones and the mean of the whole map, joined
/// by a 1x1 convolution, all of `channels` channels; then dropout. The 3x3 convolutions may be separable ones.
pub(super) fn build(
    b: &mut Builder<'_>,
    name: &str,
    x: TensorId,
    channels: usize,
    separable: bool,
) -> Result<TensorId, Error> {
    let at = |part: &str| format!("{name}.{part}");
    let pointwise = |b: &mut Builder<'_>, part: &str, [conv, norm]: [usize; 2], x| {
        let names = [conv, norm].map(|i| at(&format!("{part}.{i}")));
        b.conv_bn([&names[0], &names[1]], x, (1, channels, 1), Activation::Relu)
    };
    let mut branches = vec![pointwise(b, "convs.0", [0, 1], x)?];
    for (i, dilation) in DILATIONS.into_iter().enumerate() {
        let [conv, norm] = [0, 1].map(|part| at(&format!("convs.{}.{part}", i + 1)));
        let y = match separable {
            true => b.separable(&conv, x, (3, channels), dilation)?,
            false => b.conv_dilated(&conv, x, (3, channels), [1, dilation])?,
        };
        branches.push(b.batch_norm(&norm, y, 1.0, Activation::Relu)?);
    }
    let [n, h, w, _] = b.graph.spec(x).as_map();
    if n == 1 && b.learns() {
        return Err(Error::Config {
            field: "pictures a step (or a part of it)",
            range: "at least 2: the head normalises one mean a picture and channel",
            got: "1".into(),
        });
    }
    let mean = b.graph.apply1(&at("convs.4.0"), GlobalAvgPool::TO_MAP, &[x])?;
    let mean = pointwise(b, "convs.4", [1, 2], mean)?;
    let everywhere = Resize { size: [h, w], filter: Filter::Bilinear };
    branches.push(b.graph.apply1(&at("convs.4"), everywhere, &[mean])?);

    let joined = b.graph.apply1(&at("convs"), Concat, &branches)?;
    let projected = pointwise(b, "project", [0, 1], joined)?;
    b.map_dropout(&at("project.3"), projected, b.config.dropout)
}
