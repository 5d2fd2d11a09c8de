//! The keys of a recipe, once for the command line and for TOML files.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, Command};
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{
    Augment, BoxLossName, Decay, DepthLossName, Error, FrozenNorm, HeadName, OptimizerName, Schedule, TrainingPrecision,
};
use crate::data::Convention;
use crate::models::{ActivationChoice, DropPathSchedule, Preset, Purpose, Shortcut, Stem, StemDownsampling};

/// Settings from a command line or a TOML file; settings that are not given keep their values.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[command(next_help_heading = "Recipe", allow_negative_numbers = true)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeFlags {
    /// In a TOML file, `[models.NAME]`: settings that apply only to this model.
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, RecipeFlags>,
    /// What to learn: classes of pictures, classes of pixels, boxes of objects, depths [default: classify]
    #[arg(long, hide_possible_values = true, value_name = "classify|segment|detect|depth")]
    pub task: Option<Purpose>,
    /// Model to train: small, resnet-rs-50, efficientnet-b0 ..., all of `resnet-rs models` [default: small]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Blocks of the four stages, such as 2,2,2,2 [default: the model's]
    #[arg(long, value_name = "A,B,C,D", value_parser = parse_numbers::<usize, 4>)]
    pub depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts [default: the model's]
    #[arg(long, value_name = "FACTOR")]
    pub width: Option<f32>,
    /// Squeeze-and-excitation: inner width as a share of the block's channels, 0 for none [default: the model's]
    #[arg(long, value_name = "SHARE")]
    pub se_ratio: Option<f64>,
    /// First layers: ResNet-D's three 3x3 convolutions, or the plain 7x7 [default: the model's]
    #[arg(long, hide_possible_values = true, value_name = "deep|plain")]
    pub stem: Option<Stem>,
    /// Halving after the stem: a convolution, the first block's stride, or the largest of 3x3 [default: the model's]
    #[arg(long, hide_possible_values = true, value_name = "conv|first-block|max-pool")]
    pub stem_downsampling: Option<StemDownsampling>,
    /// Shortcut where the shape changes: ResNet-D's pool, or a strided convolution [default: the model's]
    #[arg(long, hide_possible_values = true, value_name = "pooled|strided")]
    pub shortcut: Option<Shortcut>,
    /// Activation of a ResNet [default: the model's]
    #[arg(long, hide_possible_values = true, value_name = "relu|silu")]
    pub activation: Option<ActivationChoice>,
    /// The last BatchNorm of each branch starts at zero, of ResNets unless said otherwise [default: the model's]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub zero_init_last: Option<bool>,
    /// Head of another task than classify: retinanet; deeplabv3, deeplabv3-plus, fcn, unet; densedepth [default:
    /// the task's]
    #[arg(long, hide_possible_values = true, value_name = "NAME")]
    pub head: Option<HeadName>,
    /// Channels of the head's maps, a multiple of 4 [default: the head's]
    #[arg(long, value_name = "N")]
    pub head_channels: Option<usize>,
    /// Channels of the maps of U-Net's or the depth decoder, coarsest first, such as 512,256,128,64,32
    /// [default: the head's]
    #[arg(long, value_name = "A,B,C,D,E", value_parser = parse_numbers::<usize, 5>)]
    pub decoder_widths: Option<[usize; 5]>,
    /// The largest depth, metres [default: 10]
    #[arg(long, value_name = "METRES")]
    pub max_depth: Option<f64>,
    /// Loss of boxes: absolute differences, Huber's, generalised IoU [default: l1]
    #[arg(long, hide_possible_values = true, value_name = "l1|huber|giou")]
    pub box_loss: Option<BoxLossName>,
    /// Loss of depths: Eigen's, BTS's, AdaBins' [default: silog]
    #[arg(long, hide_possible_values = true, value_name = "scale-invariant|silog|sigloss")]
    pub depth_loss: Option<DepthLossName>,
    /// Stride of the backbone's last map, px: 32, or 16 or 8 by dilation [default: the task's]
    #[arg(long, value_name = "8|16|32")]
    pub output_stride: Option<usize>,
    /// Side of the training pictures, px [default: the data's; for photographs the model's]
    #[arg(long, value_name = "PX")]
    pub res: Option<u32>,
    /// Side of the first epoch's pictures, px; it grows evenly to --res
    #[arg(long, value_name = "PX")]
    pub res_start: Option<u32>,
    /// Passes over the training data [default: 10]
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Pictures in a step; auto for as many as fit the GPU, 1024 at most [default: 64]
    #[arg(long, value_name = "N|auto", value_parser = parse_batch)]
    #[serde(with = "batch")]
    pub batch: Option<u32>,
    /// Compute a step's pictures in this many parts: less memory for the same batch [default: 1]
    #[arg(long, value_name = "N")]
    pub accumulate: Option<u32>,
    /// Peak learning rate [default: 0.05]
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Epochs of linear warm-up [default: 0.5]
    #[arg(long, value_name = "N", conflicts_with = "warmup_steps")]
    pub warmup_epochs: Option<f64>,
    /// Steps of linear warm-up, instead of epochs
    #[arg(long, value_name = "N")]
    pub warmup_steps: Option<u64>,
    /// How the learning rate falls [default: cosine]
    #[arg(long)]
    pub schedule: Option<Schedule>,
    /// Optimiser [default: sgd]
    #[arg(long)]
    pub optimizer: Option<OptimizerName>,
    /// Momentum of SGD, or share of AdamW's mean of gradients that is kept [default: 0.9]
    #[arg(long, value_name = "RATE")]
    pub momentum: Option<f64>,
    /// Nesterov momentum of SGD [default: true]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub nesterov: Option<bool>,
    /// Share of AdamW's mean of squared gradients that is kept [default: 0.999]
    #[arg(long, value_name = "RATE")]
    pub beta2: Option<f64>,
    /// Weight decay [default: 5e-4]
    #[arg(long, value_name = "RATE")]
    pub weight_decay: Option<f64>,
    /// Which parameters decay: all, all but BatchNorm's, or kernels only (no biases either) [default: kernels]
    #[arg(long, hide_possible_values = true, value_name = "all|not-norm|kernels")]
    pub decay: Option<Decay>,
    /// Scale gradients down to this global norm
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,
    /// Decay of the weights' moving average, which is validated as well, such as 0.999; 0 for none [default: 0]
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
    /// Freeze the network up to this part: stem, layer1 .. layer4 of a ResNet, stem, blocks.0 .. blocks.6, head of an
    /// EfficientNet
    #[arg(long, value_name = "PART")]
    pub freeze: Option<String>,
    /// Keep the backbone's batch norms as they are: their statistics, or all of them [default: none]
    #[arg(long, hide_possible_values = true, value_name = "none|statistics|all", num_args = 0..=1,
          default_missing_value = "all")]
    pub frozen_norm: Option<FrozenNorm>,
    /// Factor of the backbone's learning rate [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub backbone_lr: Option<f64>,
    /// Factors of the learning rate by part, such as stem=0.1,layer1=0.1,fc=1; an EfficientNet's classifier is
    /// classifier
    #[arg(long, value_name = "PART=FACTOR,..")]
    pub lr_scale: Option<String>,
    /// Target probability spread over all labels [default: 0.1]
    #[arg(long, value_name = "RATE")]
    pub label_smoothing: Option<f64>,
    /// Dropout before the classifier, or in a head that classifies pixels [default: 0]
    #[arg(long, value_name = "RATE")]
    pub dropout: Option<f64>,
    /// Stochastic depth: rate at the last block [default: 0]
    #[arg(long, value_name = "RATE")]
    pub drop_path: Option<f64>,
    /// How that rate grows: stage by stage as TensorFlow's, or block by block as timm's [default: the model's]
    #[arg(long, hide_possible_values = true, value_name = "stage|block")]
    pub drop_path_schedule: Option<DropPathSchedule>,
    /// Weight of the new batch in BatchNorm's running statistics; 1 uses the last batch alone (TensorFlow's momentum 0)
    /// [default: 0.1]
    #[arg(long, value_name = "RATE")]
    pub bn_momentum: Option<f64>,
    /// Augmentation: standard is crops and flips, randaug adds RandAugment [default: standard]
    #[arg(long, hide_possible_values = true, value_name = "none|standard|randaug")]
    pub augment: Option<Augment>,
    /// Farthest that crops of small pictures move, as a share of the side [default: 0.125]
    #[arg(long, value_name = "SHARE")]
    pub crop_shift: Option<f64>,
    /// Scale pictures by a factor from A to B, in tasks with places in the picture, and divide depths by it; 1,1 shows
    /// each whole, within a border [default: 0.5,2]
    #[arg(long, value_name = "A,B", value_parser = parse_numbers::<f32, 2>)]
    pub scale: Option<[f32; 2]>,
    /// Random brightness, contrast and saturation: 1 changes each by up to 40 % [default: 0]
    #[arg(long, value_name = "STRENGTH")]
    pub jitter: Option<f64>,
    /// Probability of mirroring a picture left to right [default: the data's, 0.5, or 0 of digits]
    #[arg(long, value_name = "RATE")]
    pub hflip: Option<f64>,
    /// RandAugment: operations per picture [default: 2]
    #[arg(long, value_name = "N")]
    pub randaug_layers: Option<u32>,
    /// RandAugment: magnitude; 10 is the nominal maximum [default: 10]
    #[arg(long, value_name = "M")]
    pub randaug_magnitude: Option<f64>,
    /// RandAugment: whose definition; TensorFlow's are made for large photographs [default: timm]
    #[arg(long, hide_possible_values = true, value_name = "tpu|tfm|timm")]
    pub randaug_convention: Option<Convention>,
    /// Probability of erasing a rectangle of a picture [default: 0]
    #[arg(long, value_name = "RATE")]
    pub erasing: Option<f64>,
    /// Mixup's alpha, 0 for none [default: 0]
    #[arg(long, value_name = "ALPHA")]
    pub mixup: Option<f64>,
    /// CutMix's alpha, 0 for none [default: 0]
    #[arg(long, value_name = "ALPHA")]
    pub cutmix: Option<f64>,
    /// Compute most activations twice instead of keeping them: a third of the memory, more time, same result [default:
    /// false]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub recompute: Option<bool>,
    /// Precision of maps and gradients: mixed stores them in f16 with a loss scale, which halves their memory [default:
    /// f32]
    #[arg(long, hide_possible_values = true, value_name = "f32|mixed")]
    pub precision: Option<TrainingPrecision>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// A new order of pictures each epoch [default: true]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub shuffle: Option<bool>,
    /// Stop after this many steps; the schedule still spans all epochs
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Stop after this many minutes; --resume goes on
    #[arg(long, value_name = "N")]
    pub max_minutes: Option<f64>,
    /// Minutes between checkpoints within an epoch; there is always one at its end [default: 1]
    #[arg(long, value_name = "N")]
    pub checkpoint_minutes: Option<f64>,
    /// End after this many epochs without a better validation
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u32>,
    /// The number that decides which epoch is the best: top1, top5, ap50, ap, miou, delta1 and so on, as in
    /// metrics.jsonl [default: ap for coco: data, else the task's first]
    #[arg(long, value_name = "NAME")]
    pub goal: Option<String>,
    /// Keep the weights of this many of the best epochs in RUN/top [default: 0]
    #[arg(long, value_name = "K")]
    pub keep: Option<u32>,
    /// Share of a split's pictures that may be broken; with more, the run is refused. 1 starts without reading them all
    /// first [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    pub broken_at_most: Option<f64>,
}

fn parse_batch(text: &str) -> Result<u32, String> {
    match text {
        "auto" => Ok(0),
        _ => text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a number above 0, or auto".into()),
    }
}

/// A batch in TOML: a number, or `"auto"`, which is 0 here.
pub(super) mod batch {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use toml::Value;

    pub(crate) fn serialize<S: Serializer, B: Copy + Into<Option<u32>>>(batch: &B, to: S) -> Result<S::Ok, S::Error> {
        match (*batch).into() {
            Some(0) => "auto".serialize(to),
            batch => batch.serialize(to),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, B: From<u32>>(from: D) -> Result<B, D::Error> {
        let value = Value::deserialize(from)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        super::parse_batch(&text).map(B::from).map_err(Error::custom)
    }
}

/// N numbers with commas between them.
pub(crate) fn parse_numbers<T: FromStr, const N: usize>(text: &str) -> Result<[T; N], String> {
    let numbers: Option<Vec<T>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    numbers.and_then(|n| n.try_into().ok()).ok_or_else(|| format!("expected {N} numbers with commas between them"))
}

impl RecipeFlags {
    /// Reads the text of a recipe called `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let mut settings: Table = text.parse().map_err(|e| Error::toml(name, e))?;
        let of_models = match settings.remove("models") {
            Some(toml::Value::Table(models)) => models,
            _ => Table::new(),
        };
        let known = Self::keys();
        for settings in std::iter::once(&settings).chain(of_models.values().filter_map(toml::Value::as_table)) {
            if let Some(key) = settings.keys().find(|key| !known.contains(key)) {
                let nearest = known.iter().min_by_key(|known| edits(known, key)).cloned().unwrap_or_default();
                return Err(Error::UnknownKey { name: name.to_owned(), key: key.clone(), nearest });
            }
        }
        let flags: Self = toml::from_str(text).map_err(|e| Error::toml(name, e))?;
        match flags.models.iter().find_map(|(model, _)| Preset::find(model).err()) {
            Some(unknown) => Err(Error::toml(name, unknown)),
            None => Ok(flags),
        }
    }

    /// Removes and returns the settings for one model alone.
    pub(super) fn take_for(&mut self, model: &str) -> Option<Self> {
        let name = |model: &str| Preset::find(model).map(|preset| preset.name).ok();
        std::mem::take(&mut self.models).into_iter().find(|(of, _)| name(of) == name(model)).map(|(_, flags)| flags)
    }

    /// Every setting, by flag name.
    fn keys() -> Vec<String> {
        let command = Self::augment_args(Command::new("recipe"));
        command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
    }
}

/// Levenshtein distance: the fewest insertions, deletions and replacements that turn one word into the other.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::Recipe, *};

    #[test]
    fn help_states_the_real_defaults() {
        let defaults = Table::try_from(Recipe::default()).unwrap();
        let numbers = |text: &str| -> Vec<f64> {
            text.trim_matches(['[', ']']).split(',').map(|number| number.trim().parse().unwrap()).collect()
        };
        let command = RecipeFlags::augment_args(Command::new("train"));
        for arg in command.get_arguments() {
            let (key, help) = (arg.get_long().unwrap(), arg.get_help().unwrap().to_string());
            let stated = help.split_once("[default: ").map(|(_, rest)| rest.trim_end_matches(']'));
            let actual = defaults.get(key).map(|v| v.as_str().map_or(v.to_string(), str::to_owned));
            match (stated, actual) {
                (Some(stated), Some(actual)) if stated == actual => {}
                (Some(stated), Some(actual)) => assert_eq!(numbers(stated), numbers(&actual), "{key}"),
                (Some(stated), None) => assert!(stated.contains("'s"), "{key}: {stated}"),
                (None, actual) => assert_eq!(actual, None, "{key}"),
            }
        }
        assert_eq!(command.get_arguments().count(), RecipeFlags::keys().len());
    }

    #[test]
    fn every_key_is_a_setting() {
        // A recipe's options that are unset by default do not appear in a table.
        let options = "depths width se-ratio stem stem-downsampling shortcut activation zero-init-last head \
                       head-channels decoder-widths output-stride drop-path-schedule res res-start hflip \
                       warmup-steps clip-norm freeze lr-scale max-steps max-minutes patience goal";
        let mut known: Vec<_> = Table::try_from(Recipe::default()).unwrap().keys().cloned().collect();
        known.extend(options.split_whitespace().map(str::to_owned));
        let mut keys = RecipeFlags::keys();
        known.sort();
        keys.sort();
        assert_eq!(keys, known);
    }

    #[test]
    fn edit_distances() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("btach", "batch", 2), ("kitten", "sitting", 3), ("lr", "lr", 0)]
        {
            assert_eq!((edits(a, b), edits(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
