//! A run's folder: started once, resumed as often as needed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Augment, Checkpoint, Error, Metrics, Recipe, RecipeFlags, checkpoint};
use crate::files;
use crate::models::Purpose;

/// Settings that only say when to stop, what to keep, and how much memory to use.
const HARMLESS: &[&str] =
    &["max-steps", "max-minutes", "checkpoint-minutes", "patience", "keep", "recompute", "broken-at-most"];

/// Settings that determine which parameters and states there are.
const TENSORS: &[&str] = &[
    "task",
    "model",
    "depths",
    "width",
    "se-ratio",
    "stem",
    "stem-downsampling",
    "shortcut",
    "head",
    "head-channels",
    "decoder-widths",
    "optimizer",
    "freeze",
    "frozen-norm",
];

/// A training run: folder, data and settings, at any stage.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// The data, as given to `--data`.
    pub data: String,
    /// The working folder to which its path is relative, if that is known.
    pub data_from: Option<PathBuf>,
    /// Its settings.
    pub recipe: Recipe,
}

impl Run {
    /// A new run in a folder that holds no run. Writes nothing yet.
    ///
    /// # Errors
    /// If the folder holds a run already.
    pub fn new(folder: &Path, data: &str, recipe: Recipe) -> Result<Self, Error> {
        // A run that was killed before its first checkpoint leaves an empty metrics file and nothing else.
        let holds = |name: &str| folder.join(name).metadata().is_ok_and(|about| about.len() > 0);
        let products = ["checkpoint/state.safetensors", "metrics.jsonl", "last.safetensors", "best.safetensors"];
        if let Some(found) = products.into_iter().find(|name| holds(name)) {
            return Err(Error::RunExists { found: folder.join(found), folder: folder.to_owned() });
        }
        let data_from = std::env::current_dir().ok();
        // Each data set of objects has the measure of its challenge. VOC's leaves difficult objects out.
        let usual = match data.split_once(':') {
            Some(("coco", _)) if recipe.task == Purpose::Detect => Some("ap".to_owned()),
            Some(("voc", _)) if recipe.task == Purpose::Detect => Some("voc_ap50".to_owned()),
            _ => None,
        };
        let goal = recipe.goal.or(usual);
        let recipe = Recipe { goal, ..recipe };
        Ok(Self { folder: folder.to_owned(), data: data.to_owned(), data_from, recipe })
    }

    /// Resumes the run of a folder, with `flags` over its settings; `data` is the new location of its data. Settings
    /// that only say when to stop, what to keep, or how much memory to use may always change. After other changes the
    /// run no longer ends in the bits of an undisturbed one, so they need `force`. A new learning rate is used as
    /// given, even if the run has halved the old one.
    ///
    /// # Errors
    /// If there is no checkpoint, or `flags` change settings without `force`, or need tensors that the checkpoint
    /// lacks.
    pub fn resume(
        folder: &Path,
        data: Option<&str>,
        flags: &RecipeFlags,
        force: bool,
    ) -> Result<(Self, Checkpoint), Error> {
        let mut checkpoint = Checkpoint::read(folder)?;
        let stored: Recipe = toml::from_str(&checkpoint.recipe).map_err(|e| Error::toml("checkpoint", e))?;
        // A limit that has ended the run is removed; one that has not still holds.
        let stored = Recipe {
            max_steps: stored.max_steps.filter(|&steps| checkpoint.step < steps),
            max_minutes: stored.max_minutes.filter(|_| !checkpoint.out_of_time),
            // Before this was a setting, runs mirrored half of the pictures.
            hflip: stored.hflip.or(Some(if stored.augment == Augment::None { 0.0 } else { 0.5 })),
            ..stored
        };
        let recipe = stored.with(flags)?;
        let (data, data_from) = match data {
            Some(data) => (data.to_owned(), std::env::current_dir().ok()),
            None => (checkpoint.data.clone(), checkpoint.data_from.clone()),
        };
        let changes = stored.differences(&recipe);
        let among = |names: &[&str]| -> Vec<String> {
            let named = changes.iter().filter(|(name, ..)| names.contains(&name.as_str()));
            named.map(|(name, then, now)| format!("--{name} was {then} and is {now} now")).collect()
        };
        let mut of_another = among(TENSORS);
        // The weights that were the best by another number are not kept.
        if stored.goal(&*stored.task()) != recipe.goal(&*recipe.task()) {
            of_another.extend(among(&["goal"]));
        }
        if (stored.ema > 0.0) != (recipe.ema > 0.0) {
            of_another.extend(among(&["ema"]));
        }
        if !of_another.is_empty() {
            return Err(Error::ResumeOther { folder: folder.to_owned(), changes: of_another.join(", ") });
        }
        let names: Vec<&str> = changes.iter().map(|(name, ..)| name.as_str()).collect();
        let of_bits: Vec<&str> = names.iter().copied().filter(|name| !HARMLESS.contains(name)).collect();
        if !of_bits.is_empty() {
            let changes = among(&of_bits).join(", ");
            if !force {
                return Err(Error::ResumeSettings { folder: folder.to_owned(), changes });
            }
            log::warn!("the run goes on with other settings: {changes}");
        }
        if names.contains(&"lr") {
            checkpoint.setbacks = 0;
        }
        Ok((Self { folder: folder.to_owned(), data, data_from, recipe }, checkpoint))
    }

    /// Creates the folder and locks it against other training processes, until the returned file is dropped.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let folder = checkpoint::folder(&self.folder);
        files::create_folder(&folder)?;
        files::lock(&folder.join("lock"))?.ok_or_else(|| Error::Busy { folder: self.folder.clone() })
    }

    /// Opens the folder for writing: creates it, or removes what was written after the checkpoint.
    pub(super) fn open(&self, checkpoint: Option<&Checkpoint>) -> Result<Metrics, Error> {
        files::create_folder(&self.folder)?;
        let text = format!("# resnet-rs train --data {:?}\n{}", self.data, self.recipe.to_toml()?);
        files::write_atomic(&self.folder.join("run.toml"), |file| file.write_all(text.as_bytes()))?;
        match checkpoint {
            Some(c) => Metrics::resume(&self.folder, c.step, c.epoch),
            None => Metrics::create(&self.folder),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_has_the_goal_of_its_challenge_unless_told_otherwise() {
        let goal = |data, task, goal: Option<&str>| {
            let recipe = Recipe { task, goal: goal.map(str::to_owned), ..Recipe::default() };
            let run = Run::new(Path::new("no such run"), data, recipe).unwrap();
            run.recipe.goal(&*run.recipe.task()).name
        };
        assert_eq!(goal("coco:photos", Purpose::Detect, None), "ap");
        assert_eq!(goal("coco:photos", Purpose::Detect, Some("ap75")), "ap75");
        assert_eq!(goal("voc:VOCdevkit", Purpose::Detect, None), "voc_ap50");
        assert_eq!(goal("shapes", Purpose::Detect, None), "ap50");
        assert_eq!(goal("voc:VOCdevkit", Purpose::Segment, None), "miou");
        assert_eq!(goal("masks:scans", Purpose::Segment, None), "miou");
    }
}
