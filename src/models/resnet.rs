//! ResNets: the original, ResNet-D, with squeeze-and-excitation, and ResNet-RS. Tensor names are timm's.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Error;
use super::builder::{Builder, Style};
use super::config::{Reach, check};
use super::network::Backbone;
use crate::graph::op::{AvgPool, MaxPool, Padding, ScaleAdd, Window};
use crate::graph::{Activation, TensorId};

/// The first layers of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// ResNet-D: three 3x3 convolutions, the first with stride 2.
    Deep,
    /// The original ResNet's 7x7 convolution with stride 2.
    Plain,
}

/// How the map is halved again after the stem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum StemDownsampling {
    /// A 3x3 convolution with stride 2, batch norm and activation: all released ResNet-RS.
    Conv,
    /// The stride sits on the 3x3 convolution of the first block, as the paper's section 4.1 describes it.
    FirstBlock,
    /// The original ResNet's 3x3 max-pool with stride 2.
    MaxPool,
}

/// Shortcut of a block that changes shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// ResNet-D: 2x2 average pool, then a 1x1 convolution with stride 1.
    Pooled,
    /// The original ResNet's 1x1 convolution with the block's stride.
    Strided,
}

/// How the drop rate of stochastic depth grows with depth: TensorFlow's sources and timm differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum DropPathSchedule {
    /// Constant within a stage: rate x 2/5, 3/5, 4/5, 5/5 (TPU and TF).
    Stage,
    /// Linear over the blocks, from 0 to the rate (timm).
    Block,
}

/// Activations a ResNet can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ActivationChoice {
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
}

impl From<ActivationChoice> for Activation {
    fn from(choice: ActivationChoice) -> Self {
        match choice {
            ActivationChoice::Relu => Activation::Relu,
            ActivationChoice::Silu => Activation::Silu,
        }
    }
}

/// Allowed width multipliers.
pub const WIDTHS: RangeInclusive<f64> = 0.125..=8.0;

/// The layers of a ResNet with bottleneck blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNet {
    /// Blocks in each of the four stages.
    pub depths: [usize; 4],
    /// Multiplies every channel count, the stem's too, 0.125 to 8 ([`WIDTHS`]). Results are rounded to multiples of 8.
    pub width: f64,
    /// Squeeze-and-excitation's inner width as a share of the block's output channels; 0 for none.
    pub se_ratio: f64,
    /// First layers.
    pub stem: Stem,
    /// Halving after the stem.
    pub stem_downsampling: StemDownsampling,
    /// Shortcut where the shape changes.
    pub shortcut: Shortcut,
    /// Activation: ReLU as released, SiLU in TensorFlow's re-training.
    pub activation: ActivationChoice,
    /// How the drop rate grows with depth.
    pub drop_path_schedule: DropPathSchedule,
    /// Whether the last batch norm of each branch starts at zero, so that blocks start as identities.
    pub zero_init_last: bool,
}

impl ResNet {
    /// A ResNet-RS as released: ReLU, ResNet-D, SE 0.25, a convolution instead of the max-pool.
    pub const fn rs(depths: [usize; 4], width: f64) -> Self {
        Self {
            depths,
            width,
            se_ratio: 0.25,
            stem: Stem::Deep,
            stem_downsampling: StemDownsampling::Conv,
            shortcut: Shortcut::Pooled,
            activation: ActivationChoice::Relu,
            drop_path_schedule: DropPathSchedule::Stage,
            zero_init_last: true,
        }
    }

    /// The original (He et al. 2015), but with the stride on the 3x3 convolution, as is usual now: timm's `resnet50`.
    pub const fn plain(depths: [usize; 4]) -> Self {
        let (stem, stem_downsampling) = (Stem::Plain, StemDownsampling::MaxPool);
        Self { se_ratio: 0.0, stem, stem_downsampling, shortcut: Shortcut::Strided, ..Self::rs(depths, 1.0) }
    }

    /// ResNet-D (He et al. 2018): a deep stem and pooled shortcuts; timm's `resnet50d`.
    pub const fn d(depths: [usize; 4]) -> Self {
        Self { stem: Stem::Deep, shortcut: Shortcut::Pooled, ..Self::plain(depths) }
    }

    /// SE-ResNet (Hu et al. 2017): gates of a sixteenth of the channels; timm's `seresnet50`.
    pub const fn se(depths: [usize; 4]) -> Self {
        Self { se_ratio: 0.0625, ..Self::plain(depths) }
    }

    /// Output channels of the bottleneck's first two convolutions in stage 0 to 3.
    pub fn planes(&self, stage: usize) -> usize {
        round_to_8(64.0 * self.width) << stage
    }

    /// Output channels of the stem.
    pub fn stem_channels(&self) -> usize {
        self.planes(0)
    }

    /// Inner width of a gate over `channels`: timm's `make_divisible(channels * ratio, 8)` without a lower limit on
    /// rounding.
    pub fn se_channels(&self, channels: usize) -> usize {
        round_to_8(channels as f64 * self.se_ratio)
    }

    /// Drop rate of stochastic depth in one block, given that of the deepest.
    pub fn drop_path_rate(&self, deepest: f32, stage: usize, block: usize) -> f32 {
        match self.drop_path_schedule {
            DropPathSchedule::Stage => deepest * (stage as f32 + 2.0) / 5.0,
            DropPathSchedule::Block => {
                let before: usize = self.depths[..stage].iter().sum();
                let last = self.depths.iter().sum::<usize>() - 1;
                deepest * (before + block) as f32 / last.max(1) as f32
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        let depths = self.depths.iter().all(|&d| (1..=1000).contains(&d));
        check("depths", depths, "four numbers from 1 to 1000", format!("{:?}", self.depths))?;
        check("width", WIDTHS.contains(&self.width), "from 0.125 to 8", self.width)?;
        check("SE ratio", (0.0..=1.0).contains(&self.se_ratio), "from 0 to 1", self.se_ratio)
    }
}

/// Nearest multiple of 8, at least 8.
fn round_to_8(channels: f64) -> usize {
    (((channels + 4.0) / 8.0) as usize * 8).max(8)
}

impl Backbone for ResNet {
    fn style(&self) -> Style {
        Style::PYTORCH
    }

    fn stages(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        let halved = self.stem(b, x)?;
        b.level(2, halved);
        let mut x = self.quarter(b, halved)?;
        b.end_part(&[x])?;
        let halved_already = self.stem_downsampling != StemDownsampling::FirstBlock;
        let mut reach = Reach::new(b.config.output_stride, if halved_already { 4 } else { 2 });
        for (stage, &blocks) in self.depths.iter().enumerate() {
            reach = reach.stage(if stage == 0 && halved_already { 1 } else { 2 });
            for block in 0..blocks {
                x = self.bottleneck(b, x, [stage, block], reach)?;
            }
            b.level(reach.total, x);
            b.end_part(&[x])?;
        }
        Ok(x)
    }
}

impl ResNet {
    /// The stem's convolutions, to half of the picture's size.
    fn stem(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        let out = self.stem_channels();
        let act = self.activation.into();
        match self.stem {
            Stem::Deep => {
                let x = b.conv_bn(["conv1.0", "conv1.1"], x, (3, out / 2, 2), act)?;
                let x = b.conv_bn(["conv1.3", "conv1.4"], x, (3, out / 2, 1), act)?;
                b.conv_bn(["conv1.6", "bn1"], x, (3, out, 1), act)
            }
            Stem::Plain => b.conv_bn(["conv1", "bn1"], x, (7, out, 2), act),
        }
    }

    /// The second halving, unless the first block does it.
    fn quarter(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        let shape = (3, self.stem_channels(), 2);
        match self.stem_downsampling {
            StemDownsampling::Conv => b.conv_bn(["maxpool.0", "maxpool.1"], x, shape, self.activation.into()),
            StemDownsampling::FirstBlock => Ok(x),
            StemDownsampling::MaxPool => {
                let window = Window::square(3, 2, 1);
                Ok(b.graph.apply1("maxpool", MaxPool { window }, &[x])?)
            }
        }
    }

    fn bottleneck(
        &self,
        b: &mut Builder<'_>,
        x: TensorId,
        [stage, block]: [usize; 2],
        reach: Reach,
    ) -> Result<TensorId, Error> {
        let planes = self.planes(stage);
        let act = self.activation.into();
        let at = format!("layer{}.{block}", stage + 1);
        let name = |part: &str| format!("{at}.{part}");

        let y = b.conv_bn([&name("conv1"), &name("bn1")], x, (1, planes, 1), act)?;
        let y = b.conv_dilated(&name("conv2"), y, (3, planes), reach.block(block))?;
        let y = b.batch_norm(&name("bn2"), y, 1.0, act)?;
        let y = b.conv(&name("conv3"), y, (1, 4 * planes, 1))?;
        let gamma = if self.zero_init_last { 0.0 } else { 1.0 };
        let y = b.batch_norm(&name("bn3"), y, gamma, Activation::Identity)?;
        let gate = match self.se_ratio > 0.0 {
            true => {
                let inner = self.se_channels(4 * planes);
                let layers = [name("se.fc1"), name("se.fc2")];
                Some(b.squeeze_excite(&name("se"), layers, y, inner, Activation::Relu)?)
            }
            false => None,
        };
        let gate = b.drop_path(&at, y, gate, self.drop_path_rate(b.config.drop_path, stage, block))?;

        let first = block == 0;
        let shortcut = if first { self.downsample(b, &name("downsample"), x, 4 * planes, reach)? } else { x };
        let join = ScaleAdd { gate: gate.is_some(), shortcut: true, activation: act };
        let inputs: Vec<TensorId> = [Some(y), gate, Some(shortcut)].into_iter().flatten().collect();
        Ok(b.graph.apply1(&at, join, &inputs)?)
    }

    fn downsample(
        &self,
        b: &mut Builder<'_>,
        name: &str,
        x: TensorId,
        out: usize,
        reach: Reach,
    ) -> Result<TensorId, Error> {
        let part = |i: usize| format!("{name}.{i}");
        match self.shortcut {
            Shortcut::Pooled => {
                // At odd sizes the last window is cut short and averages what it covers. A dilated stage keeps its
                // size, and there zeros count: timm's `AvgPool2dSame`.
                let zeros_count = reach.dilation > 1;
                let pool = AvgPool { window: Window::square(2, reach.stride, Padding::Same), zeros_count };
                let pools = reach.stride > 1 || zeros_count;
                let x = if pools { b.graph.apply1(&part(0), pool, &[x])? } else { x };
                b.conv_bn([&part(1), &part(2)], x, (1, out, 1), Activation::Identity)
            }
            Shortcut::Strided => b.conv_bn([&part(0), &part(1)], x, (1, out, reach.stride), Activation::Identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_rates_follow_both_schedules() {
        let mut layers = ResNet::rs([3, 4, 6, 3], 1.0);
        let check = |layers: &ResNet, [stage, block]: [usize; 2], want: f32| {
            let got = layers.drop_path_rate(0.1, stage, block);
            assert!((got - want).abs() < 1e-7, "stage {stage}, block {block}: {got} instead of {want}");
        };
        // The same in all blocks of a stage: the rate times the stage's number over 5, where the stem is number 1.
        for (at, want) in [([0, 0], 0.04), ([0, 2], 0.04), ([1, 0], 0.06), ([1, 3], 0.06), ([2, 0], 0.08)] {
            check(&layers, at, want);
        }
        for (at, want) in [([2, 3], 0.08), ([2, 5], 0.08), ([3, 0], 0.1), ([3, 1], 0.1), ([3, 2], 0.1)] {
            check(&layers, at, want);
        }
        // Rises evenly from the first of 16 blocks to the last.
        layers.drop_path_schedule = DropPathSchedule::Block;
        for (at, before) in [([0, 0], 0.0), ([0, 1], 1.0), ([0, 2], 2.0), ([1, 0], 3.0), ([1, 3], 6.0)] {
            check(&layers, at, 0.1 * before / 15.0);
        }
        for (at, before) in [([2, 0], 7.0), ([2, 5], 12.0), ([3, 0], 13.0), ([3, 1], 14.0), ([3, 2], 15.0)] {
            check(&layers, at, 0.1 * before / 15.0);
        }
    }
}
