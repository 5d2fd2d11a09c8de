//! What networks learn to do.
//!
//! A task knows what the rest of training does not: which truth a picture must have, how truths become targets, the
//! loss, the metric and which of its numbers is the goal, and what is worth showing. Trainer, evaluation, checkpoints,
//! report and command line know this trait alone.

pub mod classify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

pub use classify::Classify;

use super::report::Section;
use super::{Error, Measure, Numbers, Recipe};
use crate::data::{Batch, Dataset, Encode, Source};
use crate::graph::{Graph, Port, TensorId};
use crate::models;
use crate::weights::{ModelCard, StateDict};

/// Something that networks learn.
///
/// What a task need not have has a default: most say that nothing is to be done.
pub trait Task: Encode + fmt::Debug {
    /// The numbers of an evaluation, in order, but for `loss`. The first is the goal: it says which epoch is the best.
    fn measures(&self) -> &'static [Measure];

    /// The card of the network that a recipe names, for this data.
    ///
    /// # Errors
    /// An unknown model, or one that does not have a setting given.
    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error>;

    /// Appends the loss of a network's outputs, and an input for each target.
    ///
    /// # Errors
    /// If the outputs are not those of a network for this task.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error>;

    /// Counts how well a network does. `keep` is how many of its worst mistakes are kept for [`Metric::findings`];
    /// without it none are looked for.
    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric>;

    /// What there is to learn from, in a line.
    fn summary(&self, dataset: &Dataset) -> String {
        format!("{} training and {} validation pictures", dataset.train.len(), dataset.val.len())
    }

    /// How people ask for an answer of the network: `Classify a picture`.
    fn request(&self) -> &'static str {
        "Ask about a picture"
    }

    /// Has weights fit a network of this task with this card: values that do not belong to it are left out, others
    /// rearranged. `theirs` is the card of the weights, if they have one. Returns how the names of the tensors begin that
    /// start anew.
    fn adapt_weights(
        &self,
        _path: &Path,
        _weights: &mut StateDict,
        _theirs: Option<&ModelCard>,
        _card: &ModelCard,
    ) -> Vec<String> {
        Vec::new()
    }

    /// What a checkpoint notes of the data, to know it again.
    fn notes(&self, _card: &ModelCard) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The data as a run had it that noted this; `data` is what it is called.
    ///
    /// # Errors
    /// Other data.
    fn as_noted(&self, _notes: &BTreeMap<String, String>, _data: &str, dataset: Dataset) -> Result<Dataset, Error> {
        Ok(dataset)
    }

    /// The data as the network with this card has it, for an evaluation; `data` is what it is called.
    ///
    /// # Errors
    /// Why the network is for other data.
    fn as_learnt(&self, _card: &ModelCard, _data: &str, dataset: Dataset) -> Result<Dataset, String> {
        Ok(dataset)
    }

    /// What a newcomer would wonder about in the curves of a run with these settings.
    fn remarks(&self, _settings: &toml::Table, _card: &ModelCard) -> Remarks {
        Remarks::default()
    }

    /// What a validation found, as a section of the report. `pictures` are those that were validated with.
    ///
    /// # Errors
    /// Findings of another task, or a section that cannot be drawn.
    fn section(&self, _findings: Findings, _card: &ModelCard, _pictures: &dyn Source) -> Result<Section, Error> {
        Ok(Section::default())
    }

    /// What an evaluation found, as tables for a terminal. `dataset` has the names that the card lacks.
    ///
    /// # Errors
    /// Findings of another task.
    fn tables(&self, _findings: &Value, _card: &ModelCard, _dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        Ok(Vec::new())
    }
}

/// The task of a run, by the settings in its `run.toml`.
pub fn of_settings(settings: &toml::Table) -> Arc<dyn Task> {
    let recipe: Recipe = settings.clone().try_into().unwrap_or_default();
    recipe.task()
}

/// The task of a trained network. All cards so far are of classifiers.
pub fn of_network(_card: &ModelCard) -> Arc<dyn Task> {
    Arc::new(Classify::default())
}

/// The loss of a batch as tensors of a graph, each `[1]`: a mean over the batch's pictures.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is added up, each with its weight in the sum.
    pub terms: Vec<Term>,
    /// What else is read after each step.
    pub reported: Vec<Port>,
}

/// A term of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// The term.
    pub port: Port,
    /// What it is multiplied by.
    pub weight: f32,
}

/// How well a network does on pictures, counted batch by batch.
pub trait Metric {
    /// Adds a batch: `outputs` are the network's, for the batch's pictures and whatever fills it up.
    fn add(&mut self, batch: &Batch, outputs: &[Vec<f32>]);

    /// The task's measures so far, then `loss`.
    fn numbers(&self) -> Numbers;

    /// What was found besides, as JSON: an object.
    fn findings(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// What a validation found.
pub struct Findings {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// [`Metric::findings`].
    pub found: Value,
}

/// Sentences beside a run's curves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// What the numbers are.
    pub numbers: Vec<String>,
    /// What the settings do to them.
    pub settings: Vec<String>,
}

/// A table for a terminal.
pub struct Table {
    /// The heads of its columns.
    pub header: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// The output of a name.
fn output(outputs: &[Port], name: &'static str) -> Result<TensorId, models::Error> {
    let port = outputs.iter().find(|port| port.name == name);
    port.map(|port| port.id)
        .ok_or_else(|| models::Error::NoOutput { name, outputs: outputs.iter().map(|p| p.name).collect() })
}
