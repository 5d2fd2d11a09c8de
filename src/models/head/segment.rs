//! Heads that tell the class of each pixel.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::super::builder::Builder;
use super::super::config::check;
use super::{aspp, decoder};
use crate::graph::op::{Concat, Filter, Resize};
use crate::graph::{Activation, Port, TensorId};

/// DeepLabV3 (Chen et al. 2017, arXiv 1706.05587) as torchvision builds it.
///
/// Outputs: `logits` `[N, H, W, classes]` of the input's size; in training also `aux`, the same from the level before
/// the last, if there is an auxiliary head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepLabV3 {
    /// Channels of its maps, a multiple of 4; 256 as released.
    pub channels: usize,
    /// Whether an FCN on the level before the last helps in training.
    pub auxiliary: bool,
}

/// FCN (Long et al. 2014, arXiv 1411.4038) as torchvision builds it. Outputs as [`DeepLabV3`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fcn {
    /// Whether another FCN on the level before the last helps in training.
    pub auxiliary: bool,
}

/// DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) with the layers of segmentation-models-pytorch, but bilinear
/// resizing by pixel centres instead of corners. Output: `logits` `[N, H, W, classes]` of the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepLabV3Plus {
    /// Channels of its maps, a multiple of 4; 256 as released.
    pub channels: usize,
}

/// U-Net (Ronneberger et al. 2015, arXiv 1505.04597) on a backbone: the decoder of [`DenseDepth`](super::DenseDepth) to
/// the classes. Its borders are finer than those of the other heads, since it decides at stride 2. Output: `logits`
/// `[N, H, W, classes]` of the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNet {
    /// Channels of its five maps, coarsest first, each a multiple of 4.
    pub widths: [usize; 5],
}

/// Channels of the map of stride 4 in DeepLabV3+ (paper, table 1).
const FINE_CHANNELS: usize = 48;

/// Dropout in an FCN, as a share of that behind a pyramid: torchvision has 0.1 and 0.5.
const FCN_DROPOUT: f32 = 0.2;

impl Default for DeepLabV3 {
    fn default() -> Self {
        Self { channels: 256, auxiliary: true }
    }
}

impl Default for Fcn {
    fn default() -> Self {
        Self { auxiliary: true }
    }
}

impl Default for UNet {
    fn default() -> Self {
        Self { widths: decoder::USUAL }
    }
}

impl Default for DeepLabV3Plus {
    fn default() -> Self {
        Self { channels: 256 }
    }
}

fn check_channels(channels: usize) -> Result<(), Error> {
    let fits = (4..=2048).contains(&channels) && channels.is_multiple_of(4);
    check("head channels", fits, "a multiple of 4 up to 2048", channels)
}

impl DeepLabV3 {
    pub(super) fn validate(self) -> Result<(), Error> {
        check_channels(self.channels)
    }

    pub(super) fn build(self, b: &mut Builder<'_>, last: TensorId, size: [usize; 2]) -> Result<Vec<Port>, Error> {
        let aux = auxiliary(b, self.auxiliary, size)?;
        let x = aspp::build(b, "classifier.0", last, self.channels, false)?;
        let x = b.conv_bn(["classifier.1", "classifier.2"], x, (3, self.channels, 1), Activation::Relu)?;
        let logits = logits(b, "classifier.4", x, size)?;
        b.end_part(&[logits])?;
        Ok(ports(b, logits, aux))
    }
}

impl Fcn {
    pub(super) fn build(self, b: &mut Builder<'_>, last: TensorId, size: [usize; 2]) -> Result<Vec<Port>, Error> {
        let aux = auxiliary(b, self.auxiliary, size)?;
        let logits = fcn(b, "classifier", last, size)?;
        b.end_part(&[logits])?;
        Ok(ports(b, logits, aux))
    }
}

impl DeepLabV3Plus {
    pub(super) fn validate(self) -> Result<(), Error> {
        check_channels(self.channels)
    }

    pub(super) fn build(self, b: &mut Builder<'_>, last: TensorId, size: [usize; 2]) -> Result<Vec<Port>, Error> {
        let relu = Activation::Relu;
        let x = aspp::build(b, "decoder.aspp.0", last, self.channels, true)?;
        let x = b.separable("decoder.aspp.1", x, (3, self.channels), 1)?;
        let x = b.batch_norm("decoder.aspp.2", x, 1.0, relu)?;

        // The levels have strides of 2, 4 and so on.
        let [_, fine, ..] = b.last_levels::<5>()?;
        let fine = b.conv_bn(["decoder.block1.0", "decoder.block1.1"], fine, (1, FINE_CHANNELS, 1), relu)?;
        let [_, h, w, _] = b.graph.spec(fine).as_map();
        let x = resized(b, "decoder.up", x, [h, w])?;
        let x = b.graph.apply1("decoder.concat", Concat, &[x, fine])?;
        let x = b.separable("decoder.block2.0", x, (3, self.channels), 1)?;
        let x = b.batch_norm("decoder.block2.1", x, 1.0, relu)?;
        let logits = logits(b, "segmentation_head.0", x, size)?;
        b.end_part(&[logits])?;
        Ok(ports(b, logits, None))
    }
}

impl UNet {
    pub(super) fn validate(self) -> Result<(), Error> {
        decoder::validate(&self.widths)
    }

    pub(super) fn build(self, b: &mut Builder<'_>, size: [usize; 2]) -> Result<Vec<Port>, Error> {
        let x = decoder::build(b, &self.widths, b.config.classes)?;
        let logits = resized(b, "decoder.up", x, size)?;
        b.end_part(&[logits])?;
        Ok(ports(b, logits, None))
    }
}

/// The FCN on the level before the last. It is a part of its own.
fn auxiliary(b: &mut Builder<'_>, wanted: bool, size: [usize; 2]) -> Result<Option<TensorId>, Error> {
    if !wanted {
        return Ok(None);
    }
    let [before, _] = b.last_levels::<2>()?;
    let aux = fcn(b, "aux_classifier", before, size)?;
    b.end_part(&[aux])?;
    Ok(Some(aux))
}

fn ports(b: &Builder<'_>, logits: TensorId, aux: Option<TensorId>) -> Vec<Port> {
    let mut ports = vec![Port { name: "logits", id: logits }];
    ports.extend(aux.filter(|_| b.learns_at_all()).map(|id| Port { name: "aux", id }));
    ports
}

fn fcn(b: &mut Builder<'_>, name: &str, x: TensorId, size: [usize; 2]) -> Result<TensorId, Error> {
    let [conv, norm, drop, last] = [0, 1, 3, 4].map(|i| format!("{name}.{i}"));
    let inner = b.channels(x) / 4;
    let x = b.conv_bn([&conv, &norm], x, (3, inner, 1), Activation::Relu)?;
    let x = b.map_dropout(&drop, x, FCN_DROPOUT * b.config.dropout)?;
    logits(b, &last, x, size)
}

/// A 1x1 convolution to the classes, resized to the input's size.
fn logits(b: &mut Builder<'_>, name: &str, x: TensorId, size: [usize; 2]) -> Result<TensorId, Error> {
    let classes = b.config.classes;
    let x = b.conv_bias(name, x, (1, classes), Activation::Identity)?;
    resized(b, &format!("{name}.up"), x, size)
}

fn resized(b: &mut Builder<'_>, name: &str, x: TensorId, size: [usize; 2]) -> Result<TensorId, Error> {
    Ok(b.graph.apply1(name, Resize { size, filter: Filter::Bilinear }, &[x])?)
}
