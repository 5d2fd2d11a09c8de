//! A run's folder: started once, resumed as often as needed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Augment, Checkpoint, Error, Metrics, Recipe, RecipeFlags, checkpoint};
use crate::files;

/// Settings that only say when to stop, what to keep, and how much memory to take.
const HARMLESS: &[&str] =
    &["max-steps", "max-minutes", "checkpoint-minutes", "patience", "keep", "recompute", "broken-at-most"];

/// Settings that say which parameters and states there are.
const TENSORS: &[&str] = &["model", "depths", "width", "se-ratio", "stem", "stem-downsampling", "shortcut", "freeze"];

/// What a training run is about, wherever it stands.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// The data, as given to `--data`.
    pub data: String,
    /// The working folder that its path counts from, if that is known.
    pub data_from: Option<PathBuf>,
    /// Its settings.
    pub recipe: Recipe,
}

impl Run {
    /// A new run, in a folder that holds none. Nothing is written yet.
    ///
    /// # Errors
    /// If the folder holds a run already.
    pub fn new(folder: &Path, data: &str, recipe: Recipe) -> Result<Self, Error> {
        // A run that was killed before its first checkpoint leaves an empty metrics file, and nothing worth keeping.
        let holds = |name: &str| folder.join(name).metadata().is_ok_and(|about| about.len() > 0);
        let products = ["checkpoint/state.safetensors", "metrics.jsonl", "last.safetensors", "best.safetensors"];
        if let Some(found) = products.into_iter().find(|name| holds(name)) {
            return Err(Error::RunExists { found: folder.join(found), folder: folder.to_owned() });
        }
        let data_from = std::env::current_dir().ok();
        Ok(Self { folder: folder.to_owned(), data: data.to_owned(), data_from, recipe })
    }

    /// Goes on with the run of a folder, with `flags` over its settings, and `data` where its data is now. What only
    /// says when to stop, what to keep, or how much memory to take may change at will; with other changes the run no
    /// longer ends in the bits of one left alone, so they need `force`. A new learning rate is taken as it is, however
    /// often the run has halved the old one.
    ///
    /// # Errors
    /// If there is no checkpoint, or `flags` ask for other settings without `force`, or for what the checkpoint has not the tensors for.
    pub fn resume(
        folder: &Path,
        data: Option<&str>,
        flags: &RecipeFlags,
        force: bool,
    ) -> Result<(Self, Checkpoint), Error> {
        let mut checkpoint = Checkpoint::read(folder)?;
        let stored: Recipe = toml::from_str(&checkpoint.recipe).map_err(|e| Error::toml("checkpoint", e))?;
        // A limit that has ended the run is over; one that has not still holds.
        let stored = Recipe {
            max_steps: stored.max_steps.filter(|&steps| checkpoint.step < steps),
            max_minutes: stored.max_minutes.filter(|_| !checkpoint.out_of_time),
            // Runs from before this was a setting mirrored every other picture.
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
        let mut of_tensors = among(TENSORS);
        if (stored.ema > 0.0) != (recipe.ema > 0.0) {
            of_tensors.extend(among(&["ema"]));
        }
        if !of_tensors.is_empty() {
            return Err(Error::ResumeTensors { folder: folder.to_owned(), changes: of_tensors.join(", ") });
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

    /// Keeps other processes from training in the folder, which is created, until what is returned is dropped.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let folder = checkpoint::folder(&self.folder);
        files::create_folder(&folder)?;
        files::lock(&folder.join("lock"))?.ok_or_else(|| Error::Busy { folder: self.folder.clone() })
    }

    /// Opens the folder for writing at the point where the run stands: creates it, or forgets what came after the checkpoint.
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
