//! RetinaNet (Lin et al. 2017, arXiv 1708.02002) as torchvision's `retinanet_resnet50_fpn` builds it.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::super::builder::{Builder, Layer};
use super::super::config::check;
use crate::boxes::PER_CELL;
use crate::graph::op::{Filter, Resize, ScaleAdd};
use crate::graph::{Activation, Init, Port, TensorId};

/// A feature pyramid of strides 8 to 128, and two small networks that all its levels share: one tells the classes of
/// each anchor, one the changes that turn the anchor into a box.
///
/// Outputs, one of each a level, finest first: `logits` `[N, H, W, 9 * classes]`, `boxes` `[N, H, W, 9 * 4]`. The
/// channels of an anchor are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetinaNet {
    /// Channels of the pyramid, a multiple of 4; 256 as released.
    pub channels: usize,
}

/// Convolutions in front of each output.
const DEPTH: usize = 4;

/// The probability of each class that a new network gives every anchor. It is low, since most anchors have no object
/// and their losses would outweigh those of the others (paper, section 4.1). The biases of the last layer set it.
const PRIOR: f32 = 0.01;

impl Default for RetinaNet {
    fn default() -> Self {
        Self { channels: 256 }
    }
}

impl RetinaNet {
    pub(super) fn validate(self) -> Result<(), Error> {
        let fits = (4..=2048).contains(&self.channels) && self.channels.is_multiple_of(4);
        check("pyramid channels", fits, "a multiple of 4 up to 2048", self.channels)
    }

    pub(super) fn build(self, b: &mut Builder<'_>) -> Result<Vec<Port>, Error> {
        let pyramid = self.pyramid(b)?;
        b.end_part(&pyramid)?;

        let classes = PER_CELL * b.config.classes;
        let prior = Init::Constant(-((1.0 - PRIOR) / PRIOR).ln());
        let logits = self.subnet(b, "head.classification_head", "cls_logits", classes, prior, &pyramid)?;
        let boxes = 4 * PER_CELL;
        let boxes = self.subnet(b, "head.regression_head", "bbox_reg", boxes, Init::Constant(0.0), &pyramid)?;
        b.end_part(&boxes)?;
        let ports = |name, ids: Vec<TensorId>| ids.into_iter().map(move |id| Port { name, id });
        Ok(ports("logits", logits).chain(ports("boxes", boxes)).collect())
    }

    /// The maps of strides 8, 16, 32, 64 and 128, all of the same number of channels.
    fn pyramid(self, b: &mut Builder<'_>) -> Result<Vec<TensorId>, Error> {
        let levels = b.last_levels::<3>()?;
        let mut merged: Vec<TensorId> = Vec::new();
        for (i, &level) in levels.iter().enumerate().rev() {
            let lateral = self.conv(b, &format!("inner_blocks.{i}.0"), level, (1, 1))?;
            merged.push(match merged.last() {
                None => lateral,
                Some(&coarser) => {
                    let at = format!("backbone.fpn.merge.{i}");
                    let [_, h, w, _] = b.graph.spec(lateral).as_map();
                    let nearest = Resize { size: [h, w], filter: Filter::Nearest };
                    let finer = b.graph.apply1(&at, nearest, &[coarser])?;
                    b.graph.apply1(&at, ScaleAdd::ADD, &[lateral, finer])?
                }
            });
        }
        let mut pyramid = Vec::new();
        for (i, &map) in merged.iter().rev().enumerate() {
            pyramid.push(self.conv(b, &format!("layer_blocks.{i}.0"), map, (3, 1))?);
        }
        let p6 = self.conv(b, "extra_blocks.p6", pyramid[2], (3, 2))?;
        let relu = ScaleAdd { gate: false, shortcut: false, activation: Activation::Relu };
        let positive = b.graph.apply1("backbone.fpn.extra_blocks.relu", relu, &[p6])?;
        let p7 = self.conv(b, "extra_blocks.p7", positive, (3, 2))?;
        pyramid.extend([p6, p7]);
        Ok(pyramid)
    }

    /// A convolution of the pyramid, given its kernel's side and its stride. Weights start as PyTorch's
    /// `kaiming_uniform_` with `a = 1` draws them.
    fn conv(
        self,
        b: &mut Builder<'_>,
        name: &str,
        x: TensorId,
        (kernel, stride): (usize, usize),
    ) -> Result<TensorId, Error> {
        let (name, inputs) = (format!("backbone.fpn.{name}"), b.channels(x));
        let bound = (3.0 / (kernel * kernel * inputs) as f32).sqrt();
        let inits = [Init::Uniform { bound }, Init::Constant(0.0)];
        let layer = b.layer(&name, [kernel, inputs, self.channels], inits)?;
        b.conv_layer(&name, x, &layer, stride, Activation::Identity)
    }

    /// One of the two small networks on every level. Its inner layers start with Kaiming's distribution, so that narrow
    /// ones learn from scratch too: torchvision's deviation of 0.01 is made for 256 channels, and halves a signal in
    /// each of them.
    fn subnet(
        self,
        b: &mut Builder<'_>,
        name: &str,
        last: &str,
        outputs: usize,
        bias: Init,
        pyramid: &[TensorId],
    ) -> Result<Vec<TensorId>, Error> {
        let mut layers: Vec<(String, Layer, Activation)> = Vec::new();
        for i in 0..DEPTH {
            let name = format!("{name}.conv.{i}.0");
            let layer =
                b.layer(&name, [3, self.channels, self.channels], [Init::KaimingFanOut, Init::Constant(0.0)])?;
            layers.push((name, layer, Activation::Relu));
        }
        let name = format!("{name}.{last}");
        let layer = b.layer(&name, [3, self.channels, outputs], [Init::Normal { deviation: 0.01 }, bias])?;
        layers.push((name, layer, Activation::Identity));

        let mut of_levels = Vec::new();
        for (level, &map) in pyramid.iter().enumerate() {
            let mut x = map;
            for (name, layer, activation) in &layers {
                x = b.conv_layer(&format!("{name}.p{}", level + 3), x, layer, 1, *activation)?;
            }
            of_levels.push(x);
        }
        Ok(of_levels)
    }
}
