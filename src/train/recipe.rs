//! The settings of a training run: built-in recipes, TOML files and flags, all with the same keys.

use std::collections::BTreeSet;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Error, LearningRate, Optimizer, RecipeFlags, Schedule, StepOptions, When};
use crate::data::Convention;
use crate::files;
use crate::models::{
    self, ActivationChoice, Config, DropPathSchedule, PARTS, Preset, Shortcut, Stem, StemDownsampling, Training,
};

/// Recipes for ImageNet that come with the program.
const BUILT_IN: [(&str, &str); 5] = [
    ("small", include_str!("../../recipes/small.toml")),
    ("paper", include_str!("../../recipes/paper.toml")),
    ("tpu", include_str!("../../recipes/tpu.toml")),
    ("tfm", include_str!("../../recipes/tfm.toml")),
    ("timm", include_str!("../../recipes/timm.toml")),
];

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

/// How training pictures are varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Not at all.
    None,
    /// Random crops and horizontal flips.
    Standard,
    /// The same, then RandAugment.
    Randaug,
}

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Name of the model: `small`, `resnet-rs-50`.
    pub model: String,
    /// Blocks of the four stages, instead of the model's.
    pub depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts, instead of the model's.
    pub width: Option<f32>,
    /// Squeeze-and-excitation's inner width as a share of the block's channels; 0 for none.
    pub se_ratio: f64,
    /// First layers.
    pub stem: Stem,
    /// How the map after the stem is halved.
    pub stem_downsampling: StemDownsampling,
    /// Shortcut where a block changes the shape.
    pub shortcut: Shortcut,
    /// Activation.
    pub activation: ActivationChoice,
    /// Whether the last BatchNorm of each branch starts at zero.
    pub zero_init_last: bool,
    /// Side of the training pictures, px, instead of the data's or the model's.
    pub res: Option<u32>,
    /// Side of the first epoch's training pictures, px; it grows evenly to `res` in the last.
    pub res_start: Option<u32>,
    /// Passes over the training data.
    pub epochs: u32,
    /// Pictures in a step; 0 for as many as fit the device.
    pub batch: u32,
    /// Parts that a step's pictures are computed in, one after the other: less memory, and batch statistics of a part each.
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
    /// Momentum of SGD.
    pub momentum: f64,
    /// Whether the momentum is Nesterov's.
    pub nesterov: bool,
    /// Weight decay, added to the gradient as PyTorch does.
    pub weight_decay: f64,
    /// Parameters that decay.
    pub decay: Decay,
    /// Largest global norm of the gradients that is not scaled down.
    pub clip_norm: Option<f64>,
    /// Decay of the exponential moving averages of weights and statistics, smaller in the beginning ([`super::ema_decay`]); 0 for none.
    pub ema: f64,
    /// The last part of the network, in order, that is kept as it is: one of [`PARTS`] but the classifier.
    pub freeze: Option<String>,
    /// Factors of the learning rate by part, such as `stem=0.1,layer1=0.1`; 1 for the others.
    pub lr_scale: Option<String>,
    /// Probability spread over all classes in the target.
    pub label_smoothing: f64,
    /// Rate of dropout before the classifier.
    pub dropout: f64,
    /// Rate of stochastic depth at the last block.
    pub drop_path: f64,
    /// How that rate grows with depth.
    pub drop_path_schedule: DropPathSchedule,
    /// Weight of the new batch in BatchNorm's running statistics, PyTorch's convention.
    pub bn_momentum: f64,
    /// How pictures are varied.
    pub augment: Augment,
    /// Operations that RandAugment applies to a picture.
    pub randaug_layers: u32,
    /// Strength of RandAugment's operations; 10 is the scale's nominal end.
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
    /// Seed of everything random; at most 2^63 - 1, TOML's largest integer.
    pub seed: u64,
    /// Whether each epoch takes the pictures in a new order.
    pub shuffle: bool,
    /// Steps after which to stop early. The schedule still spans all epochs.
    pub max_steps: Option<u64>,
    /// Minutes after which to stop early, counted anew when the run goes on.
    pub max_minutes: Option<f64>,
    /// Epochs without a better top-1 after which the run is over.
    pub patience: Option<u32>,
    /// How many of the best epochs' weights are kept, besides the best's.
    pub keep: u32,
}

impl Default for Recipe {
    /// For small data: pictures of about 32 px in about ten classes.
    fn default() -> Self {
        Self {
            model: "small".into(),
            depths: None,
            width: None,
            se_ratio: 0.25,
            stem: Stem::Deep,
            stem_downsampling: StemDownsampling::Conv,
            shortcut: Shortcut::Pooled,
            activation: ActivationChoice::Relu,
            zero_init_last: true,
            res: None,
            res_start: None,
            epochs: 10,
            batch: 64,
            accumulate: 1,
            lr: 0.05,
            warmup_epochs: Some(0.5),
            warmup_steps: None,
            schedule: Schedule::Cosine,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay: Decay::Kernels,
            clip_norm: None,
            ema: 0.0,
            freeze: None,
            lr_scale: None,
            label_smoothing: 0.1,
            dropout: 0.0,
            drop_path: 0.0,
            drop_path_schedule: DropPathSchedule::Stage,
            bn_momentum: 0.1,
            augment: Augment::Standard,
            randaug_layers: 2,
            randaug_magnitude: 10.0,
            // TensorFlow's translate by pixels made for photographs: they push a picture of 32 px out of sight.
            randaug_convention: Convention::Timm,
            erasing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            recompute: false,
            seed: 0,
            shuffle: true,
            max_steps: None,
            max_minutes: None,
            patience: None,
            keep: 0,
        }
    }
}

impl Recipe {
    /// The settings of a run: those of `named_or_file` over the defaults, and `flags` over both. `named_or_file` is
    /// `small`, `paper`, `tpu`, `tfm`, `timm` or the path of a TOML file, such as an earlier run's `run.toml`.
    ///
    /// # Errors
    /// An unknown recipe, a file that does not parse, an unknown key, a value out of its range.
    pub fn resolve(named_or_file: Option<&str>, flags: &RecipeFlags) -> Result<Self, Error> {
        let mut settings = table("defaults", &Self::default())?;
        if let Some(name) = named_or_file {
            let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
                Some((_, text)) => (*text).to_owned(),
                None if Path::new(name).exists() => files::read_text(Path::new(name))?,
                None => return Err(Error::UnknownRecipe { name: name.to_owned() }),
            };
            overlay(&mut settings, table(name, &RecipeFlags::parse(name, &text)?)?);
        }
        overlay(&mut settings, table("flags", flags)?);
        let recipe: Self = settings.try_into().map_err(|e| Error::toml("settings", e))?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// This recipe with `flags` over it.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn with(&self, flags: &RecipeFlags) -> Result<Self, Error> {
        let mut settings = table("settings", self)?;
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

    /// As TOML text, from which [`Recipe::resolve`] gives back the same recipe.
    ///
    /// # Errors
    /// An integer beyond TOML's range.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::toml("settings", e))
    }

    /// The learning rate over the whole run.
    ///
    /// # Errors
    /// The warm-up does not end before the run does.
    pub fn learning_rate(&self, steps_per_epoch: u64) -> Result<LearningRate, Error> {
        let total = u64::from(self.epochs).saturating_mul(steps_per_epoch);
        let epochs = self.warmup_epochs.unwrap_or(0.0);
        let warmup = self.warmup_steps.unwrap_or((epochs * steps_per_epoch as f64).round() as u64);
        if warmup >= total {
            return Err(Error::Warmup { warmup, total });
        }
        Ok(LearningRate {
            schedule: self.schedule,
            peak: self.lr,
            total_steps: total,
            warmup_steps: warmup,
            steps_per_epoch,
        })
    }

    /// Pictures in a part of a step.
    pub fn part(&self) -> u32 {
        self.batch / self.accumulate
    }

    /// Side of an epoch's training pictures, px, where `res` is that of the last: multiples of 32 in between, or of 4 for small ones.
    pub fn res_of_epoch(&self, epoch: u64, res: u32) -> u32 {
        let last = u64::from(self.epochs) - 1;
        let Some(start) = self.res_start.filter(|_| epoch < last) else { return res };
        let unit = if res >= 96 { 32 } else { 4 };
        let share = epoch as f64 / last as f64;
        let exact = f64::from(start) + share * (f64::from(res) - f64::from(start));
        ((exact / f64::from(unit)).round() as u32 * unit).max(unit).min(start.max(res))
    }

    /// How many leading [`PARTS`] are frozen.
    fn frozen(&self) -> Result<usize, Error> {
        let Some(name) = &self.freeze else { return Ok(0) };
        match PARTS[..PARTS.len() - 1].iter().position(|part| part == name) {
            Some(at) => Ok(at + 1),
            None => Err(Error::Range {
                setting: "freeze",
                value: name.clone(),
                range: "stem, layer1, layer2, layer3 or layer4",
            }),
        }
    }

    /// The factor of each part's learning rate.
    fn lr_scales(&self) -> Result<[f32; PARTS.len()], Error> {
        let mut scales = [1.0; PARTS.len()];
        let entries = self.lr_scale.iter().flat_map(|text| text.split(','));
        for entry in entries.filter(|entry| !entry.trim().is_empty()) {
            let parsed = entry.split_once('=').and_then(|(part, factor)| {
                let part = PARTS.iter().position(|known| *known == part.trim())?;
                Some((part, factor.trim().parse::<f32>().ok().filter(|f| *f >= 0.0 && f.is_finite())?))
            });
            let Some((part, factor)) = parsed else {
                let range = "PART=FACTOR,.. with the parts stem, layer1, layer2, layer3, layer4 and fc";
                return Err(Error::Range { setting: "lr-scale", value: entry.to_owned(), range });
            };
            scales[part] = factor;
        }
        Ok(scales)
    }

    /// What a training step of this recipe does. The recipe is valid.
    pub(super) fn step_options(&self) -> StepOptions {
        let clipped = self.clip_norm.is_some();
        StepOptions {
            training: Training {
                label_smoothing: self.label_smoothing as f32,
                mixed_labels: self.mixup > 0.0 || self.cutmix > 0.0,
                frozen: self.frozen().unwrap_or(0),
            },
            optimizer: Optimizer {
                momentum: self.momentum as f32,
                nesterov: self.nesterov,
                weight_decay: self.weight_decay as f32,
                decay: self.decay,
                lr_scales: self.lr_scales().unwrap_or([1.0; PARTS.len()]),
                ema: self.ema > 0.0,
                max_norm: self.clip_norm.map_or(f32::INFINITY, |norm| norm as f32),
            },
            when: if clipped || self.accumulate > 1 { When::Together } else { When::AtOnce },
        }
    }

    /// The network for a number of classes.
    ///
    /// # Errors
    /// An unknown model.
    pub fn config(&self, classes: usize) -> Result<Config, models::Error> {
        let preset = Preset::find(&self.model)?;
        Ok(Config {
            depths: self.depths.unwrap_or(preset.depths),
            width: self.width.map_or(preset.width, f64::from),
            classes,
            se_ratio: self.se_ratio,
            stem: self.stem,
            stem_downsampling: self.stem_downsampling,
            shortcut: self.shortcut,
            activation: self.activation,
            dropout: self.dropout as f32,
            drop_path: self.drop_path as f32,
            drop_path_schedule: self.drop_path_schedule,
            zero_init_last: self.zero_init_last,
            bn_momentum: self.bn_momentum as f32,
        })
    }

    /// Checks every setting against its range.
    pub(super) fn validate(&self) -> Result<(), Error> {
        const MAX_INTEGER: u64 = i64::MAX as u64;
        let range = |setting, value: String, range, valid| match valid {
            true => Ok(()),
            false => Err(Error::Range { setting, value, range }),
        };
        let rate = |setting, value: f64| {
            range(setting, value.to_string(), "at least 0 and below 1", (0.0..1.0).contains(&value))
        };
        if let Some(depths) = self.depths {
            let valid = depths.iter().all(|n| (1..=1000).contains(n));
            range("depths", format!("{depths:?}"), "four numbers from 1 to 1000", valid)?;
        }
        if let Some(width) = self.width {
            range("width", width.to_string(), "above 0 and at most 8", width > 0.0 && width <= 8.0)?;
        }
        if let Some(res) = self.res {
            range("res", res.to_string(), "from 1 to 4096 px", (1..=4096).contains(&res))?;
        }
        if let Some(res) = self.res_start {
            range("res-start", res.to_string(), "from 1 to 4096 px", (1..=4096).contains(&res))?;
        }
        let se_ratio = self.se_ratio;
        range("se-ratio", se_ratio.to_string(), "from 0 to 1", (0.0..=1.0).contains(&se_ratio))?;
        range("epochs", self.epochs.to_string(), "at least 1", self.epochs > 0)?;
        if let Some(n) = self.max_minutes {
            range("max-minutes", n.to_string(), "a finite number above 0", n > 0.0 && n.is_finite())?;
        }
        if let Some(n) = self.patience {
            range("patience", n.to_string(), "at least 1", n > 0)?;
        }
        let (parts, batch) = (self.accumulate, self.batch);
        let divides = if batch == 0 { parts == 1 } else { (1..=batch).contains(&parts) && batch.is_multiple_of(parts) };
        range("accumulate", parts.to_string(), "a divisor of --batch", divides)?;
        if let Some(norm) = self.clip_norm {
            range("clip-norm", norm.to_string(), "a finite number above 0", norm > 0.0 && norm.is_finite())?;
        }
        rate("ema", self.ema)?;
        self.frozen()?;
        self.lr_scales()?;
        range(
            "randaug-layers",
            self.randaug_layers.to_string(),
            "from 1 to 16",
            (1..=16).contains(&self.randaug_layers),
        )?;
        let magnitude = self.randaug_magnitude;
        range("randaug-magnitude", magnitude.to_string(), "from 0 to 30", (0.0..=30.0).contains(&magnitude))?;
        for (setting, value) in [("erasing", self.erasing), ("mixup", self.mixup), ("cutmix", self.cutmix)] {
            let most = if setting == "erasing" { 1.0 } else { 10.0 };
            let valid = (0.0..=most).contains(&value);
            range(setting, value.to_string(), if most == 1.0 { "from 0 to 1" } else { "from 0 to 10" }, valid)?;
        }
        range("lr", self.lr.to_string(), "a finite number above 0", self.lr > 0.0 && self.lr.is_finite())?;
        if let Some(n) = self.warmup_epochs {
            range("warmup-epochs", n.to_string(), "a finite number, 0 or more", n >= 0.0 && n.is_finite())?;
        }
        let decay = self.weight_decay;
        range("weight-decay", decay.to_string(), "a finite number, 0 or more", decay >= 0.0 && decay.is_finite())?;
        rate("momentum", self.momentum)?;
        rate("label-smoothing", self.label_smoothing)?;
        rate("dropout", self.dropout)?;
        rate("drop-path", self.drop_path)?;
        let bn = self.bn_momentum;
        range("bn-momentum", bn.to_string(), "above 0 and at most 1", bn > 0.0 && bn <= 1.0)?;
        range("seed", self.seed.to_string(), "at most 2^63 - 1", self.seed <= MAX_INTEGER)?;
        if let Some(n) = self.max_steps {
            range("max-steps", n.to_string(), "from 1 to 2^63 - 1", (1..=MAX_INTEGER).contains(&n))?;
        }
        if self.warmup_epochs.is_some() && self.warmup_steps.is_some() {
            return Err(Error::Conflict { problem: "give --warmup-epochs or --warmup-steps, not both" });
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::Conflict { problem: "--nesterov needs --momentum above 0: add --nesterov false" });
        }
        Ok(())
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        recipe: RecipeFlags,
    }

    fn flags(line: &str) -> RecipeFlags {
        Cli::try_parse_from(["train"].into_iter().chain(line.split_whitespace())).unwrap().recipe
    }

    /// Resolves the text of a recipe file and a line of flags.
    fn resolve(text: &str, line: &str) -> Result<Recipe, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        fs::write(&path, text).unwrap();
        Recipe::resolve(path.to_str(), &flags(line))
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let recipe = resolve("lr = 1\nbatch = 32\nmodel = 'resnet-rs-50'", "--lr 0.25 --depths 1,2,3,4").unwrap();
        let expected = Recipe {
            lr: 0.25,
            batch: 32,
            model: "resnet-rs-50".into(),
            depths: Some([1, 2, 3, 4]),
            ..Recipe::default()
        };
        assert_eq!(recipe, expected);
        assert_eq!(Recipe::resolve(None, &RecipeFlags::default()).unwrap(), Recipe::default());
    }

    #[test]
    fn switches_take_a_value_or_none() {
        for (line, nesterov, shuffle) in [
            ("--nesterov --shuffle false", true, false),
            ("--nesterov false --shuffle", false, true),
            ("--nesterov=true --shuffle=true", true, true),
        ] {
            let recipe = Recipe::resolve(None, &flags(line)).unwrap();
            assert_eq!((recipe.nesterov, recipe.shuffle), (nesterov, shuffle), "{line}");
        }
    }

    #[test]
    fn a_warmup_in_steps_replaces_one_in_epochs() {
        let rate = |text, line| resolve(text, line).unwrap().learning_rate(100).unwrap().warmup_steps;
        assert_eq!(rate("", ""), 50);
        assert_eq!(rate("", "--warmup-steps 7"), 7);
        assert_eq!(rate("warmup-steps = 3", ""), 3);
        assert_eq!(rate("warmup-steps = 3", "--warmup-epochs 2"), 200);
        let error = resolve("epochs = 2", "--warmup-steps 200").unwrap().learning_rate(100).unwrap_err().to_string();
        assert!(error.contains("takes 200 steps, but the whole run has 200"), "{error}");
        assert!(Cli::try_parse_from(["train", "--warmup-steps", "1", "--warmup-epochs", "1"]).is_err());
    }

    #[test]
    fn built_in_recipes_hold_the_fact_sheets_figures() {
        let none = RecipeFlags::default();
        let paper = Recipe::resolve(Some("paper"), &none).unwrap();
        let rate = paper.learning_rate(312).unwrap();
        assert_eq!((rate.total_steps, rate.warmup_steps, rate.peak), (109_200, 1_560, 1.6));
        let tpu = Recipe::resolve(Some("tpu"), &none).unwrap();
        let rate = tpu.learning_rate(312).unwrap();
        let drop = |epoch: u64| rate.lr(epoch * 312) / rate.lr(epoch * 312 - 1);
        assert!([116, 233, 311].iter().all(|&epoch| (drop(epoch) - 0.1).abs() < 1e-6));
        assert_eq!((tpu.bn_momentum, tpu.weight_decay), (1.0, 4e-5));
        assert_eq!((tpu.ema, tpu.decay, tpu.randaug_convention), (0.9999, Decay::NotNorm, Convention::Tpu));
        let tfm = Recipe::resolve(Some("tfm"), &none).unwrap();
        assert_eq!(tfm.learning_rate(312).unwrap().lr(1_560), paper.learning_rate(312).unwrap().lr(1_560));
        assert_eq!((tfm.nesterov, tfm.activation), (false, ActivationChoice::Silu));
        assert_eq!(Recipe::resolve(Some("small"), &none).unwrap(), Recipe::default(), "stated once more");
        let timm = Recipe::resolve(Some("timm"), &none).unwrap();
        assert_eq!((timm.epochs, timm.lr, timm.dropout), (300, 0.05, 0.0));
        for recipe in [paper, tpu, tfm, timm] {
            assert_eq!((recipe.model.as_str(), recipe.res, recipe.label_smoothing), ("resnet-rs-50", Some(160), 0.1));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, line, expected) in [
            ("btach = 3", "", "there is no setting btach; did you mean batch?"),
            ("warmup_epochs = 3", "", "did you mean warmup-epochs?"),
            ("[optimizer]\nlr = 1", "", "there is no setting optimizer"),
            ("lr = ", "", "my.toml: TOML parse error at line 1"),
            ("batch = 'many'", "", "line 1, column 9"),
            ("batch = -1", "", "line 1"),
            ("decay = 'some'", "", "unknown variant `some`"),
            ("depths = [1, 2, 3]", "", "line 1"),
            ("warmup-epochs = 1\nwarmup-steps = 1", "", "not both"),
            ("", "--batch 30 --accumulate 4", "--accumulate is 4; it must be a divisor of --batch"),
            ("", "--batch auto --accumulate 2", "--accumulate is 2"),
            ("freeze = 'fc'", "", "--freeze is fc"),
            ("", "--lr-scale head=2", "--lr-scale is head=2"),
            ("", "--clip-norm 0", "--clip-norm is 0"),
            ("", "--ema 1", "--ema is 1"),
            ("mixup = inf", "", "--mixup is inf"),
            ("cutmix = nan", "", "--cutmix is NaN"),
            ("", "--erasing 1.5", "--erasing is 1.5; it must be from 0 to 1"),
            ("", "--randaug-magnitude 31", "--randaug-magnitude is 31"),
            ("augment = 'randaugment'", "", "unknown variant `randaugment`"),
            ("", "--patience 0", "--patience is 0"),
            ("", "--epochs 0", "--epochs is 0"),
            ("", "--lr 0", "--lr is 0; it must be a finite number above 0"),
            ("", "--lr -1", "--lr is -1"),
            ("lr = nan", "", "--lr is NaN"),
            ("lr = inf", "", "--lr is inf"),
            ("momentum = -0.1", "", "--momentum is -0.1"),
            ("", "--momentum 1", "--momentum is 1; it must be at least 0 and below 1"),
            ("", "--momentum 0", "--nesterov false"),
            ("", "--dropout 1", "--dropout is 1"),
            ("", "--drop-path 1", "--drop-path is 1"),
            ("", "--label-smoothing 1.5", "--label-smoothing is 1.5"),
            ("weight-decay = -1", "", "--weight-decay is -1"),
            ("", "--bn-momentum 0", "--bn-momentum is 0"),
            ("", "--res 0", "--res is 0"),
            ("", "--res 4097", "from 1 to 4096 px"),
            ("", "--width nan", "--width is NaN"),
            ("", "--depths 1,0,1,1", "--depths is [1, 0, 1, 1]"),
            ("warmup-epochs = inf", "", "--warmup-epochs is inf"),
            ("", "--max-steps 0", "--max-steps is 0"),
            ("seed = -1", "", "line 1"),
        ] {
            let error = resolve(text, line).unwrap_err().to_string();
            assert!(error.contains(expected), "{text} {line}: {error}");
        }
        let error = Recipe::resolve(Some("imagenet"), &RecipeFlags::default()).unwrap_err().to_string();
        assert!(error.contains("no recipe imagenet") && error.contains("timm"), "{error}");
        for line in [["train", "--depths", "1,2,3"], ["train", "--seed", "9223372036854775808"]] {
            assert!(Cli::try_parse_from(line).is_err());
        }
    }

    proptest! {
        #[test]
        fn toml_text_gives_the_same_recipe_back(
            (lr, decay, width) in (1e-12f64..1e6, 0.0f64..1.0, prop::option::of(0.01f32..8.0)),
            (seed, epochs, steps) in (0..=i64::MAX as u64, 1..u32::MAX, prop::option::of(0..1u64 << 40)),
            depths in prop::option::of(prop::array::uniform4(1usize..100)),
        ) {
            let recipe = Recipe {
                lr,
                weight_decay: decay,
                width,
                seed,
                epochs,
                warmup_steps: steps,
                warmup_epochs: if steps.is_some() { None } else { Some(decay) },
                depths,
                decay: if seed % 2 == 0 { Decay::All } else { Decay::Kernels },
                ..Recipe::default()
            };
            let text = recipe.to_toml().unwrap();
            prop_assert_eq!(resolve(&text, "").unwrap(), recipe, "{}", text);
        }
    }
}
