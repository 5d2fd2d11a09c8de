//! What distinguishes one ResNet from another, and the released models by name.

use std::ops::RangeInclusive;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::graph::Activation;

/// First layers of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// ResNet-D: three 3x3 convolutions, the first with stride 2.
    Deep,
    /// The original ResNet's 7x7 convolution with stride 2.
    Plain,
}

/// How the map after the stem is halved once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StemDownsampling {
    /// A 3x3 convolution with stride 2, batch norm and activation: all released ResNet-RS.
    Conv,
    /// The stride sits on the 3x3 convolution of the first block, as the paper's section 4.1 describes it.
    FirstBlock,
}

/// Shortcut of a block that changes shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// ResNet-D: 2x2 average pool, then a 1x1 convolution with stride 1.
    Pooled,
    /// The original ResNet's 1x1 convolution with the block's stride.
    Strided,
}

/// How the drop rate of stochastic depth grows with depth (fact sheet 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DropPathSchedule {
    /// Constant within a stage: rate x 2/5, 3/5, 4/5, 5/5 (TPU and TF).
    Stage,
    /// Linear over the blocks, from 0 to the rate (timm).
    Block,
}

/// A ResNet, from its stem to its classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Blocks in each of the four stages.
    pub depths: [usize; 4],
    /// Multiplies every channel count, the stem's too; 0.25 to 2. Results are rounded to multiples of 8.
    pub width: f64,
    /// Classes of the classifier, 2 to 20,000: the loss walks three times over them
    /// ([`crate::graph::op::MAX_LOOP_ITERATIONS`]).
    pub classes: usize,
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
    /// Probability of dropping a pooled feature before the classifier.
    pub dropout: f32,
    /// Drop rate of stochastic depth at the deepest block.
    pub drop_path: f32,
    /// How the drop rate grows with depth.
    pub drop_path_schedule: DropPathSchedule,
    /// Whether the last batch norm of each branch starts at zero, so that blocks start as identities.
    pub zero_init_last: bool,
    /// Weight of the new batch in the running statistics (PyTorch's convention; TF's momentum 0 is 1 here).
    pub bn_momentum: f32,
}

/// Activations a network can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
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

impl Config {
    /// A ResNet-RS as released: ReLU, ResNet-D, SE 0.25, a convolution instead of the max-pool. No dropout, no stochastic depth.
    pub fn resnet_rs(depths: [usize; 4], width: f64, classes: usize) -> Self {
        Self {
            depths,
            width,
            classes,
            se_ratio: 0.25,
            stem: Stem::Deep,
            stem_downsampling: StemDownsampling::Conv,
            shortcut: Shortcut::Pooled,
            activation: ActivationChoice::Relu,
            dropout: 0.0,
            drop_path: 0.0,
            drop_path_schedule: DropPathSchedule::Stage,
            zero_init_last: true,
            bn_momentum: 0.1,
        }
    }

    /// Output channels of the bottleneck's first two convolutions in stage 0 to 3.
    pub fn planes(&self, stage: usize) -> usize {
        round_to_8(64.0 * self.width) << stage
    }

    /// Output channels of the stem.
    pub fn stem_channels(&self) -> usize {
        self.planes(0)
    }

    /// Inner width of a gate over `channels`: timm's `make_divisible(channels * ratio, 8)` without a lower limit on rounding.
    pub fn se_channels(&self, channels: usize) -> usize {
        round_to_8(channels as f64 * self.se_ratio)
    }

    /// Drop rate of stochastic depth in one block.
    pub fn drop_path_rate(&self, stage: usize, block: usize) -> f32 {
        match self.drop_path_schedule {
            DropPathSchedule::Stage => self.drop_path * (stage as f32 + 2.0) / 5.0,
            DropPathSchedule::Block => {
                let before: usize = self.depths[..stage].iter().sum();
                let last = self.depths.iter().sum::<usize>() - 1;
                self.drop_path * (before + block) as f32 / last.max(1) as f32
            }
        }
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |field, ok: bool, range, got: String| {
            if ok { Ok(()) } else { Err(Error::Config { field, range, got }) }
        };
        check(
            "depths",
            self.depths.iter().all(|&d| (1..=1000).contains(&d)),
            "four numbers from 1 to 1000",
            format!("{:?}", self.depths),
        )?;
        check("width", WIDTHS.contains(&self.width), "from 0.125 to 8", self.width.to_string())?;
        check("classes", (2..=20_000).contains(&self.classes), "from 2 to 20000", self.classes.to_string())?;
        check("SE ratio", (0.0..=1.0).contains(&self.se_ratio), "from 0 to 1", self.se_ratio.to_string())?;
        check("dropout", (0.0..1.0).contains(&self.dropout), "at least 0 and below 1", self.dropout.to_string())?;
        check("drop path", (0.0..1.0).contains(&self.drop_path), "at least 0 and below 1", self.drop_path.to_string())?;
        check("BN momentum", (0.0..=1.0).contains(&self.bn_momentum), "from 0 to 1", self.bn_momentum.to_string())
    }
}

/// Nearest multiple of 8, at least 8.
fn round_to_8(channels: f64) -> usize {
    (((channels + 4.0) / 8.0) as usize * 8).max(8)
}

/// A model with a name: its layers and the pictures it was released for (fact sheet 1.1 and 1.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name on the command line.
    pub name: &'static str,
    /// Blocks in each stage.
    pub depths: [usize; 4],
    /// Width multiplier.
    pub width: f64,
    /// Side of the input in pixels, timm's default.
    pub res: u32,
    /// Share of the resized picture that the evaluation crop keeps, timm's default.
    pub crop_pct: f64,
}

const fn preset(name: &'static str, depths: [usize; 4], res: u32, crop_pct: f64) -> Preset {
    Preset { name, depths, width: 1.0, res, crop_pct }
}

/// Width multipliers that a network may have.
pub const WIDTHS: RangeInclusive<f64> = 0.125..=8.0;

/// Mean and standard deviation of ImageNet's colours, on a scale from 0 to 1: how the released models see pictures.
pub const IMAGENET_MEAN_STD: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// The released depths, and a small one to try things with.
pub const PRESETS: [Preset; 8] = [
    Preset { width: 0.25, ..preset("small", [1, 1, 1, 1], 32, 1.0) },
    preset("resnet-rs-50", [3, 4, 6, 3], 160, 0.91),
    preset("resnet-rs-101", [3, 4, 23, 3], 192, 0.94),
    preset("resnet-rs-152", [3, 8, 36, 3], 256, 1.0),
    preset("resnet-rs-200", [3, 24, 36, 3], 256, 1.0),
    preset("resnet-rs-270", [4, 29, 53, 4], 256, 1.0),
    preset("resnet-rs-350", [4, 36, 72, 4], 288, 1.0),
    preset("resnet-rs-420", [4, 44, 87, 4], 320, 1.0),
];

impl Preset {
    /// The preset of that name; timm's spelling (`resnetrs50`) is understood too.
    pub fn find(name: &str) -> Result<&'static Preset, Error> {
        let plain = |s: &str| s.to_lowercase().replace(['-', '_'], "");
        PRESETS
            .iter()
            .find(|p| plain(p.name) == plain(name))
            .ok_or_else(|| Error::UnknownModel { name: name.to_owned() })
    }

    /// The preset with these depths and width, if there is one.
    pub fn matching(config: &Config) -> Option<&'static Preset> {
        PRESETS.iter().find(|p| p.depths == config.depths && p.width == config.width)
    }

    /// The preset's layers.
    pub fn config(&self, classes: usize) -> Config {
        Config::resnet_rs(self.depths, self.width, classes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn drop_rates_follow_both_schedules() {
        let mut c = Config { drop_path: 0.1, ..Config::resnet_rs([3, 4, 6, 3], 1.0, 10) };
        let check = |c: &Config, [stage, block]: [usize; 2], want: f32| {
            let got = c.drop_path_rate(stage, block);
            assert!((got - want).abs() < 1e-7, "stage {stage}, block {block}: {got} instead of {want}");
        };
        // The rate times the stage's number over 5, the stem being the first: the same in all of its blocks.
        for (at, want) in [([0, 0], 0.04), ([0, 2], 0.04), ([1, 0], 0.06), ([1, 3], 0.06), ([2, 0], 0.08)] {
            check(&c, at, want);
        }
        for (at, want) in [([2, 3], 0.08), ([2, 5], 0.08), ([3, 0], 0.1), ([3, 1], 0.1), ([3, 2], 0.1)] {
            check(&c, at, want);
        }
        // Evenly from the first of 16 blocks to the last.
        c.drop_path_schedule = DropPathSchedule::Block;
        for (at, before) in [([0, 0], 0.0), ([0, 1], 1.0), ([0, 2], 2.0), ([1, 0], 3.0), ([1, 3], 6.0)] {
            check(&c, at, 0.1 * before / 15.0);
        }
        for (at, before) in [([2, 0], 7.0), ([2, 5], 12.0), ([3, 0], 13.0), ([3, 1], 14.0), ([3, 2], 15.0)] {
            check(&c, at, 0.1 * before / 15.0);
        }
    }

    #[test]
    fn names_are_found_in_both_spellings() {
        assert_eq!(Preset::find("resnetrs50").unwrap().depths, [3, 4, 6, 3]);
        assert_eq!(Preset::find("ResNet-RS-420").unwrap().res, 320);
        assert!(Preset::find("resnet-rs-51").unwrap_err().to_string().contains("resnet-rs-50"));
    }
}
