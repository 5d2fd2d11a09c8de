//! The settings of a training run: built-in recipes, TOML files and flags, all with the same keys.

mod derived;
mod validate;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Error, RecipeFlags, Schedule};
use crate::data::Convention;
use crate::files;
use crate::models::{ActivationChoice, DropPathSchedule, Purpose, Shortcut, Stem, StemDownsampling};

/// Recipes that come with the program: for little data, for ImageNet, and for each task other than classification.
const BUILT_IN: [(&str, &str); 9] = [
    ("small", include_str!("../../../recipes/small.toml")),
    ("paper", include_str!("../../../recipes/paper.toml")),
    ("tpu", include_str!("../../../recipes/tpu.toml")),
    ("tfm", include_str!("../../../recipes/tfm.toml")),
    ("timm", include_str!("../../../recipes/timm.toml")),
    ("efficientnet-rs", include_str!("../../../recipes/efficientnet-rs.toml")),
    ("detect", include_str!("../../../recipes/detect.toml")),
    ("segment", include_str!("../../../recipes/segment.toml")),
    ("depth", include_str!("../../../recipes/depth.toml")),
];

/// The built-in recipe of a run that names none; `None` for the defaults.
fn of_task(task: Purpose) -> Option<&'static str> {
    (task != Purpose::Classify).then_some(task.name())
}

/// A head for dense predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HeadName {
    /// RetinaNet, for detection.
    #[value(name = "retinanet")]
    #[serde(rename = "retinanet")]
    RetinaNet,
    /// DeepLabV3, for segmentation.
    #[value(name = "deeplabv3")]
    #[serde(rename = "deeplabv3")]
    DeepLabV3,
    /// DeepLabV3+, for segmentation.
    #[value(name = "deeplabv3-plus")]
    #[serde(rename = "deeplabv3-plus")]
    DeepLabV3Plus,
    /// FCN, for segmentation.
    Fcn,
    /// U-Net, for segmentation.
    #[value(name = "unet")]
    #[serde(rename = "unet")]
    UNet,
    /// DenseDepth's decoder, for depth.
    #[value(name = "densedepth")]
    #[serde(rename = "densedepth")]
    DenseDepth,
}

impl fmt::Display for HeadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Which parts of the backbone's batch norms stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenNorm {
    /// None.
    #[default]
    None,
    /// The statistics; scale and shift learn.
    Statistics,
    /// Statistics, scale and shift.
    All,
}

/// The loss of boxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BoxLossName {
    /// The absolute differences of the four numbers that are predicted (torchvision's `retinanet_resnet50_fpn`).
    #[default]
    L1,
    /// Their squares up to 0.1, the absolute differences beyond (TF Model Garden, with its factor).
    Huber,
    /// What boxes share and enclose (Rezatofighi et al. 2019; torchvision's `retinanet_resnet50_fpn_v2`).
    Giou,
}

/// The loss of depths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DepthLossName {
    /// Eigen et al. 2014: squared differences of logarithms, half without their mean.
    ScaleInvariant,
    /// BTS: the root of it, 15 % with their mean, times 10.
    #[default]
    Silog,
    /// AdaBins: the root of the unbiased variance and 15 % of the squared mean.
    Sigloss,
}

/// An optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019): small networks from scratch learn in fewer steps.
    AdamW,
}

/// Which parameters the weight decay pulls towards 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Every parameter, BatchNorm's and biases included.
    All,
    /// Kernels and biases, but not BatchNorm's scale and shift: the authors' TensorFlow 1 code.
    NotNorm,
    /// The kernels of convolutions and linear layers only.
    Kernels,
}

/// How a training step stores maps and their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TrainingPrecision {
    /// In 32 bits.
    F32,
    /// In 16 bits; weights, statistics and losses stay in 32.
    Mixed,
}

/// How training pictures are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// No augmentation.
    None,
    /// Random crops and horizontal flips.
    Standard,
    /// Random crops and horizontal flips, then RandAugment.
    Randaug,
}

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// What the network learns.
    pub task: Purpose,
    /// Name of the model: `small`, `resnet-rs-50`.
    pub model: String,
    /// Blocks of the four stages, instead of the model's.
    pub depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts, instead of the model's.
    pub width: Option<f32>,
    /// Squeeze-and-excitation's inner width as a share of the block's channels, 0 for none, instead of the model's.
    pub se_ratio: Option<f64>,
    /// First layers, instead of the model's.
    pub stem: Option<Stem>,
    /// How the map is halved after the stem, instead of the model's way.
    pub stem_downsampling: Option<StemDownsampling>,
    /// Shortcut where a block changes the shape, instead of the model's.
    pub shortcut: Option<Shortcut>,
    /// Activation, instead of the model's.
    pub activation: Option<ActivationChoice>,
    /// Whether the last BatchNorm of each branch of a ResNet starts at zero, which it does by default.
    pub zero_init_last: Option<bool>,
    /// The head of a task other than classification, instead of its usual one.
    pub head: Option<HeadName>,
    /// Channels of a head's maps, instead of its authors' number.
    pub head_channels: Option<usize>,
    /// Channels of the five maps of U-Net's or the depth decoder, coarsest first, instead of 512, 256, 128, 64, 32.
    pub decoder_widths: Option<[usize; 5]>,
    /// The largest depth, metres.
    pub max_depth: f64,
    /// The loss of boxes.
    pub box_loss: BoxLossName,
    /// The loss of depths.
    pub depth_loss: DepthLossName,
    /// Stride of the backbone's last map, px: 32, or 16 or 8 by dilation; 16 for DeepLab and FCN unless it is set.
    pub output_stride: Option<usize>,
    /// Side of the training pictures, px, instead of the data's or the model's.
    pub res: Option<u32>,
    /// Side of the first epoch's training pictures, px; it grows evenly to `res` in the last.
    pub res_start: Option<u32>,
    /// Passes over the training data.
    pub epochs: u32,
    /// Pictures in a step; 0 (`"auto"` in TOML) for as many as fit the device.
    #[serde(with = "super::flags::batch")]
    pub batch: u32,
    /// Number of parts in which a step's pictures are computed, one after the other: less memory, and batch statistics
    /// per part.
    pub accumulate: u32,
    /// Peak learning rate.
    pub lr: f64,
    /// Length of the warm-up, epochs. Excludes `warmup_steps`.
    #[serde(default)]
    pub warmup_epochs: Option<f64>,
    /// Length of the warm-up, steps. Excludes `warmup_epochs`.
    pub warmup_steps: Option<u64>,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// The optimiser.
    pub optimizer: OptimizerName,
    /// Momentum of SGD, or share of AdamW's mean of gradients that is kept.
    pub momentum: f64,
    /// Whether SGD's momentum is Nesterov's.
    pub nesterov: bool,
    /// Share of AdamW's mean of squared gradients that is kept.
    pub beta2: f64,
    /// Weight decay, as PyTorch does it: added to the gradient by SGD, a share of the learning rate by AdamW.
    pub weight_decay: f64,
    /// Parameters that decay.
    pub decay: Decay,
    /// Global norm of the gradients above which they are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Decay of the exponential moving averages of weights and statistics, smaller at the start ([`super::ema_decay`]);
    /// 0 for none.
    pub ema: f64,
    /// The last frozen part of the network: one of [`crate::models::Config::parts`], except the last.
    pub freeze: Option<String>,
    /// Which parts of the backbone's batch norms stay as they are.
    pub frozen_norm: FrozenNorm,
    /// Factor of the backbone's learning rate, before those by part.
    pub backbone_lr: f64,
    /// Factors of the learning rate by part, such as `stem=0.1,layer1=0.1`; 1 for the others.
    pub lr_scale: Option<String>,
    /// Probability spread over all labels in the target.
    pub label_smoothing: f64,
    /// Rate of dropout before the last layer of a head that classifies.
    pub dropout: f64,
    /// Rate of stochastic depth at the last block.
    pub drop_path: f64,
    /// How that rate grows with the depth of a ResNet, by default stage by stage.
    pub drop_path_schedule: Option<DropPathSchedule>,
    /// Weight of the new batch in BatchNorm's running statistics, PyTorch's convention.
    pub bn_momentum: f64,
    /// How pictures are augmented.
    pub augment: Augment,
    /// Farthest that crops of small pictures move, as a share of the side.
    pub crop_shift: f64,
    /// Least and greatest factor by which pictures are scaled in tasks with places in the picture. Depths are divided
    /// by it.
    pub scale: [f32; 2],
    /// Strength of random changes of brightness, contrast and saturation; 0 for none, 1 for up to 40 %.
    pub jitter: f64,
    /// Probability that a picture is mirrored left to right; by default it depends on the data.
    pub hflip: Option<f64>,
    /// Operations that RandAugment applies to a picture.
    pub randaug_layers: u32,
    /// Magnitude of RandAugment's operations; 10 is the nominal maximum.
    pub randaug_magnitude: f64,
    /// Whose RandAugment it is.
    pub randaug_convention: Convention,
    /// Probability of erasing a random rectangle of a picture.
    pub erasing: f64,
    /// Alpha of mixup, 0 for none.
    pub mixup: f64,
    /// Alpha of CutMix, 0 for none.
    pub cutmix: f64,
    /// Whether most activations are computed twice instead of kept: less memory, more time, the same result.
    pub recompute: bool,
    /// How maps and their gradients are stored: mixed precision halves their memory.
    pub precision: TrainingPrecision,
    /// Seed of everything random; at most 2^63 - 1, TOML's largest integer.
    pub seed: u64,
    /// Whether each epoch has a new order of pictures.
    pub shuffle: bool,
    /// Steps after which to stop early. The schedule still spans all epochs.
    pub max_steps: Option<u64>,
    /// Minutes after which to stop early, counted anew when the run is resumed.
    pub max_minutes: Option<f64>,
    /// Minutes between checkpoints within an epoch; there is always one at its end.
    pub checkpoint_minutes: f64,
    /// Epochs without a better validation after which the run is over.
    pub patience: Option<u32>,
    /// The measure that decides which epoch is the best, by its name in `metrics.jsonl` without `val_`; `None` is the
    /// task's first one. [`Run::new`](crate::train::Run::new) sets `ap` for objects in COCO's format and `voc_ap50` in
    /// VOC's, as those challenges rank.
    pub goal: Option<String>,
    /// Number of best epochs whose weights are kept, besides the best one's.
    pub keep: u32,
    /// Share of a split's pictures that may be broken, 0 to 1; with 1 the run starts without reading them all first.
    pub broken_at_most: f64,
}

impl Default for Recipe {
    /// For small data: pictures of about 32 px in about ten classes.
    fn default() -> Self {
        Self {
            task: Purpose::Classify,
            model: "small".into(),
            depths: None,
            width: None,
            se_ratio: None,
            stem: None,
            stem_downsampling: None,
            shortcut: None,
            activation: None,
            zero_init_last: None,
            head: None,
            head_channels: None,
            decoder_widths: None,
            max_depth: 10.0,
            box_loss: BoxLossName::L1,
            depth_loss: DepthLossName::Silog,
            output_stride: None,
            res: None,
            res_start: None,
            epochs: 10,
            batch: 64,
            accumulate: 1,
            lr: 0.05,
            warmup_epochs: Some(0.5),
            warmup_steps: None,
            schedule: Schedule::Cosine,
            optimizer: OptimizerName::Sgd,
            momentum: 0.9,
            nesterov: true,
            beta2: 0.999,
            weight_decay: 5e-4,
            decay: Decay::Kernels,
            clip_norm: None,
            ema: 0.0,
            freeze: None,
            frozen_norm: FrozenNorm::None,
            backbone_lr: 1.0,
            lr_scale: None,
            label_smoothing: 0.1,
            dropout: 0.0,
            drop_path: 0.0,
            drop_path_schedule: None,
            bn_momentum: 0.1,
            augment: Augment::Standard,
            crop_shift: 0.125,
            scale: [0.5, 2.0],
            jitter: 0.0,
            hflip: None,
            randaug_layers: 2,
            randaug_magnitude: 10.0,
            // TensorFlow's conventions translate by a number of pixels that suits photographs; it would push a picture
            // of 32 px out of view.
            randaug_convention: Convention::Timm,
            erasing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            recompute: false,
            precision: TrainingPrecision::F32,
            seed: 0,
            shuffle: true,
            max_steps: None,
            max_minutes: None,
            checkpoint_minutes: 1.0,
            patience: None,
            goal: None,
            keep: 0,
            broken_at_most: 0.01,
        }
    }
}

impl Recipe {
    /// The settings of a run: those of `named_or_file` over the defaults, and `flags` over both. `named_or_file` is
    /// `small`, `paper`, `tpu`, `tfm`, `timm`, `efficientnet-rs`, `detect`, `segment`, `depth` or the path of a TOML
    /// file, such as an earlier run's `run.toml`. A file's `[models.NAME]` holds settings for one model. If none is
    /// named, a task other than classification has its own.
    ///
    /// # Errors
    /// An unknown recipe, a file that does not parse, an unknown key, a value out of its range.
    pub fn resolve(named_or_file: Option<&str>, flags: &RecipeFlags) -> Result<Self, Error> {
        let mut settings = table("defaults", &Self::default())?;
        if let Some(name) = named_or_file.or_else(|| flags.task.and_then(of_task)) {
            let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
                Some((_, text)) => (*text).to_owned(),
                None if Path::new(name).exists() => files::read_text(Path::new(name))?,
                None => return Err(Error::UnknownRecipe { name: name.to_owned() }),
            };
            let mut file = RecipeFlags::parse(name, &text)?;
            let model = flags.model.as_ref().or(file.model.as_ref()).cloned();
            let of_model = model.and_then(|model| file.take_for(&model));
            for layer in std::iter::once(file).chain(of_model) {
                overlay(&mut settings, table(name, &layer)?);
            }
        }
        Self::settle(settings, flags)
    }

    /// This recipe with `flags` over it.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn with(&self, flags: &RecipeFlags) -> Result<Self, Error> {
        Self::settle(table("settings", self)?, flags)
    }

    /// Settings with `flags` over them. Only the result must be valid: flags may correct an invalid file.
    fn settle(mut settings: Table, flags: &RecipeFlags) -> Result<Self, Error> {
        overlay(&mut settings, table("flags", flags)?);
        let recipe: Self = settings.try_into().map_err(|e| Error::toml("settings", e))?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The settings in which another recipe differs: name, here, there.
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let tables = [self, other].map(|recipe| table("settings", recipe).unwrap_or_default());
        let names: BTreeSet<&String> = tables.iter().flat_map(Table::keys).collect();
        let value = |table: &Table, name: &str| table.get(name).map_or("unset".to_owned(), ToString::to_string);
        let pair = |name: &String| (name.clone(), value(&tables[0], name), value(&tables[1], name));
        names.into_iter().map(pair).filter(|(_, here, there)| here != there).collect()
    }

    /// As [`Self::differences`], without the network's settings if both recipes build the same network: older runs
    /// stated all of them.
    pub(in crate::train) fn differences_but_for_layers(&self, other: &Self) -> Vec<(String, String, String)> {
        let layers = |recipe: &Self| recipe.config().ok().map(|config| config.layers);
        if layers(self).is_none() || layers(self) != layers(other) {
            return self.differences(other);
        }
        let alike = Self {
            depths: other.depths,
            width: other.width,
            se_ratio: other.se_ratio,
            stem: other.stem,
            stem_downsampling: other.stem_downsampling,
            shortcut: other.shortcut,
            activation: other.activation,
            zero_init_last: other.zero_init_last,
            drop_path_schedule: other.drop_path_schedule,
            ..self.clone()
        };
        alike.differences(other)
    }

    /// The recipe as TOML text, from which [`Recipe::resolve`] returns the same recipe.
    ///
    /// # Errors
    /// An integer beyond TOML's range.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::toml("settings", e))
    }
}

fn table(name: &str, settings: &impl Serialize) -> Result<Table, Error> {
    Table::try_from(settings).map_err(|e| Error::toml(name, e))
}

/// Puts settings over others. A warm-up in one unit replaces one in the other.
fn overlay(base: &mut Table, over: Table) {
    const WARMUP: [&str; 2] = ["warmup-epochs", "warmup-steps"];
    if WARMUP.iter().any(|&key| over.contains_key(key)) {
        base.retain(|key, _| !WARMUP.contains(&key));
    }
    base.extend(over);
}

#[cfg(test)]
mod tests;
