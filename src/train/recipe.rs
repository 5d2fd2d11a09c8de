//! The settings of a training run: built-in recipes, TOML files and flags, all with the same keys.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{Error, LearningRate, RecipeFlags, Schedule};
use crate::files;

/// Recipes for ImageNet that come with the program.
const BUILT_IN: [(&str, &str); 3] = [
    ("paper", include_str!("../../recipes/paper.toml")),
    ("tpu", include_str!("../../recipes/tpu.toml")),
    ("timm", include_str!("../../recipes/timm.toml")),
];

/// Which parameters the weight decay pulls towards 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Every parameter, BatchNorm's and biases included.
    All,
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
}

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Name of the model: `small`, `resnet-rs-50`.
    pub model: String,
    /// Blocks of the four stages, instead of the model's.
    pub depths: Option<[usize; 4]>,
    /// Multiplier of the channel counts, instead of the model's.
    pub width: Option<f32>,
    /// Side of the training pictures, px, instead of the data's or the model's.
    pub res: Option<u32>,
    /// Passes over the training data.
    pub epochs: u32,
    /// Pictures in a step.
    pub batch: u32,
    /// Peak learning rate.
    pub lr: f64,
    /// Length of the warm-up, epochs. Excludes `warmup_steps`.
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
    /// Probability spread over all classes in the target.
    pub label_smoothing: f64,
    /// Rate of dropout before the classifier.
    pub dropout: f64,
    /// Rate of stochastic depth at the last block.
    pub drop_path: f64,
    /// Weight of the new batch in BatchNorm's running statistics, PyTorch's convention.
    pub bn_momentum: f64,
    /// How pictures are varied.
    pub augment: Augment,
    /// Whether most activations are computed twice instead of kept: less memory, more time, the same result.
    #[serde(default)]
    pub recompute: bool,
    /// Seed of everything random; at most 2^63 - 1, TOML's largest integer.
    pub seed: u64,
    /// Whether each epoch takes the pictures in a new order.
    pub shuffle: bool,
    /// Steps after which to stop early. The schedule still spans all epochs.
    pub max_steps: Option<u64>,
}

impl Default for Recipe {
    /// For small data: pictures of about 32 px in about ten classes.
    fn default() -> Self {
        Self {
            model: "small".into(),
            depths: None,
            width: None,
            res: None,
            epochs: 10,
            batch: 64,
            lr: 0.05,
            warmup_epochs: Some(0.5),
            warmup_steps: None,
            schedule: Schedule::Cosine,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay: Decay::Kernels,
            label_smoothing: 0.1,
            dropout: 0.0,
            drop_path: 0.0,
            bn_momentum: 0.1,
            augment: Augment::Standard,
            recompute: false,
            seed: 0,
            shuffle: true,
            max_steps: None,
        }
    }
}

impl Recipe {
    /// The settings of a run: those of `named_or_file` over the defaults, and `flags` over both. `named_or_file` is
    /// `paper`, `tpu`, `timm` or the path of a TOML file, such as an earlier run's `run.toml`.
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
        range("epochs", self.epochs.to_string(), "at least 1", self.epochs > 0)?;
        range("batch", self.batch.to_string(), "at least 1", self.batch > 0)?;
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
        let timm = Recipe::resolve(Some("timm"), &none).unwrap();
        assert_eq!((timm.epochs, timm.lr, timm.dropout), (300, 0.05, 0.0));
        for recipe in [paper, tpu, timm] {
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
            ("", "--batch 0", "--batch is 0; it must be at least 1"),
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
