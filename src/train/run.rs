//! A run's folder: started once, resumed as often as needed.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Checkpoint, Error, Metrics, Recipe, RecipeFlags};
use crate::files;

/// What a training run is about, wherever it stands.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// The data, as given to `--data`.
    pub data: String,
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
        Ok(Self { folder: folder.to_owned(), data: data.to_owned(), recipe })
    }

    /// Goes on with the run of a folder. Its settings stay as they are, but for `max_steps`.
    ///
    /// # Errors
    /// If there is no checkpoint, or `flags` ask for other settings.
    pub fn resume(folder: &Path, flags: &RecipeFlags) -> Result<(Self, Checkpoint), Error> {
        let checkpoint = Checkpoint::read(folder)?;
        let stored: Recipe = toml::from_str(&checkpoint.recipe).map_err(|e| Error::toml("checkpoint", e))?;
        let asked = RecipeFlags { max_steps: None, ..flags.clone() };
        if asked != RecipeFlags::default() {
            return Err(Error::ResumeSettings { folder: folder.to_owned() });
        }
        let recipe = Recipe { max_steps: flags.max_steps, ..stored };
        recipe.validate()?;
        Ok((Self { folder: folder.to_owned(), data: checkpoint.data.clone(), recipe }, checkpoint))
    }

    /// Opens the folder for writing at the point where the run stands: creates it, or forgets what came after the checkpoint.
    pub(super) fn open(&self, checkpoint: Option<&Checkpoint>) -> Result<Metrics, Error> {
        if let Some(c) = checkpoint {
            return Metrics::resume(&self.folder, c.step, c.epoch);
        }
        files::create_folder(&self.folder)?;
        let text = format!("# resnet-rs train --data {:?}\n{}", self.data, self.recipe.to_toml()?);
        files::write_atomic(&self.folder.join("run.toml"), |file| file.write_all(text.as_bytes()))?;
        Metrics::create(&self.folder)
    }
}
