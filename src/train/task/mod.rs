//! The tasks that networks learn.
//!
//! A task defines which truth a picture must have, how truths become targets, the loss, the metric and which of its
//! numbers is the goal, and its part of the report. Trainer, evaluation, checkpoints, report and command line only know
//! this trait.

mod classes;
pub mod classify;
pub mod depth;
pub mod detect;
pub mod segment;
mod worst;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use classes::Classes;
pub use classify::Classify;
pub use depth::Depth;
pub use detect::Detect;
pub use segment::Segment;

use super::report::Section;
use super::{Error, Measure, Numbers, Recipe};
use crate::data::{Batch, CropMode, Dataset, Encode, Interpolation, Source, TruthKind};
use crate::graph::{Elements, Graph, Port, TensorId, autodiff};
use crate::inference::Answer;
use crate::models::{self, Config, Purpose};
use crate::weights::{ModelCard, StateDict};

/// A task that a network learns.
///
/// Optional methods have defaults, most of which do nothing.
pub trait Task: Encode + fmt::Debug {
    /// The numbers of an evaluation in order, without `loss`. The first decides which epoch is the best, unless the
    /// recipe names another goal.
    fn measures(&self) -> &'static [Measure];

    /// The kind of truth that every picture must have.
    fn truth(&self) -> TruthKind;

    /// The card of the network that a recipe names, for this data.
    ///
    /// # Errors
    /// An unknown model, or a setting that the model does not have.
    fn card(&self, recipe: &Recipe, dataset: &Dataset) -> Result<ModelCard, models::Error>;

    /// Appends the loss of a network's outputs, and an input for each target.
    ///
    /// # Errors
    /// If the outputs are not those of a network for this task.
    fn loss(&self, graph: &mut Graph, outputs: &[Port]) -> Result<Loss, models::Error>;

    /// Appends what an evaluation reads of a network's outputs, and an input for each target that it needs. By default
    /// it reads the outputs as they are.
    ///
    /// # Errors
    /// If the outputs are not those of a network for this task.
    fn readings(&self, _graph: &mut Graph, outputs: &[Port]) -> Result<Vec<TensorId>, models::Error> {
        Ok(outputs.iter().map(|port| port.id).collect())
    }

    /// The metric of an evaluation. `keep` is the number of worst mistakes to keep for [`Metric::findings`]; `None`
    /// records no findings.
    fn metric(&self, card: &ModelCard, keep: Option<usize>) -> Box<dyn Metric>;

    /// Describes the training data in one line.
    fn summary(&self, dataset: &Dataset) -> String {
        let (train, val, classes) = (dataset.train.len(), dataset.val.len(), dataset.classes.len());
        let of_classes = if classes == 0 { String::new() } else { format!(" in {classes} classes") };
        format!("{train} training and {val} validation pictures{of_classes}")
    }

    /// What a user would ask the network to do: `Classify a picture`.
    fn request(&self) -> &'static str {
        "Ask about a picture"
    }

    /// What a network with this card knows of the data's classes; `None` if the task has no classes. The defaults
    /// of the methods below use it, except that of [`Self::as_noted`].
    fn classes<'c>(&self, _card: &'c ModelCard) -> Option<Classes<'c>> {
        None
    }

    /// Adapts weights to a network of this task with this card: removes values that do not belong to it, and reorders
    /// others. `theirs` is the card of the weights, if they have one. Returns the name prefixes of the tensors that
    /// start anew.
    fn adapt_weights(
        &self,
        path: &Path,
        weights: &mut StateDict,
        theirs: Option<&ModelCard>,
        card: &ModelCard,
    ) -> Vec<String> {
        match self.classes(card) {
            Some(_) => classes::adapt_weights(path, weights, theirs, card),
            None => Vec::new(),
        }
    }

    /// Notes on the data for a checkpoint, by which a resumed run recognises it.
    fn notes(&self, card: &ModelCard) -> BTreeMap<String, String> {
        self.classes(card).map_or_else(BTreeMap::new, Classes::notes)
    }

    /// The data as it was for the run that wrote these notes; `data` is its name.
    ///
    /// # Errors
    /// The data is not the same.
    fn as_noted(&self, _notes: &BTreeMap<String, String>, _data: &str, dataset: Dataset) -> Result<Dataset, Error> {
        Ok(dataset)
    }

    /// The data with the numbering of the network with this card, for an evaluation; `data` is its name.
    ///
    /// # Errors
    /// The reason why the network does not fit the data.
    fn as_learnt(&self, card: &ModelCard, data: &str, dataset: Dataset) -> Result<Dataset, String> {
        match self.classes(card) {
            Some(classes) => classes.numbering(data, dataset),
            None => Ok(dataset),
        }
    }

    /// Explains what a newcomer would wonder about in the curves of a run with these settings.
    fn remarks(&self, _settings: &toml::Table, _card: &ModelCard) -> Remarks {
        Remarks::default()
    }

    /// The findings of a validation as a section of the report. `pictures` are the validation pictures.
    ///
    /// # Errors
    /// Findings of another task, or a section that cannot be drawn.
    fn section(&self, _findings: Findings, _card: &ModelCard, _pictures: &dyn Source) -> Result<Section, Error> {
        Ok(Section::default())
    }

    /// The findings of an evaluation as tables for a terminal. `dataset` has names that the card may lack.
    ///
    /// # Errors
    /// Findings of another task.
    fn tables(&self, _findings: &Value, _card: &ModelCard, _dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
        Ok(Vec::new())
    }
}

/// The task of a trained network.
pub fn of_network(card: &ModelCard) -> Arc<dyn Task> {
    of_config(&card.config)
}

/// The task of a network with this head.
pub fn of_config(config: &Config) -> Arc<dyn Task> {
    match config.head.purpose() {
        Purpose::Classify => Arc::new(Classify::default()),
        Purpose::Detect => Arc::new(Detect::default()),
        Purpose::Segment => Arc::new(Segment),
        Purpose::Depth => Arc::new(Depth { max_m: depth::max_m(config), ..Depth::default() }),
    }
}

/// What an evaluation of a task reads.
pub fn readings(task: &Arc<dyn Task>) -> Answer {
    let task = task.clone();
    Answer::Made(Arc::new(move |graph, outputs| task.readings(graph, outputs)))
}

/// The loss of a batch as tensors of a graph, each `[1]`: a mean over the batch's pictures.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The terms of the sum, each with its weight.
    pub terms: Vec<autodiff::Loss>,
    /// Other numbers to read after each step, under names that [`StepLine`](super::StepLine) does not have itself.
    pub reported: Vec<Port>,
}

/// Measures a network's answers, batch by batch.
pub trait Metric {
    /// Adds a batch: `outputs` are what [`Task::readings`] names, for the batch's pictures and its padding.
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]);

    /// The task's measures so far, then `loss`.
    fn numbers(&self) -> Numbers;

    /// Numbers of each class, as members of an evaluation's JSON object. `classes` are the names of the data's classes,
    /// of which the network may know more.
    fn by_class(&self, _classes: &[String]) -> serde_json::Map<String, Value> {
        serde_json::Map::new()
    }

    /// Other findings, as a JSON object.
    fn findings(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }
}

/// The findings of a validation.
pub struct Findings {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// [`Metric::findings`].
    pub found: Value,
    /// The file that holds them.
    pub path: PathBuf,
}

impl Findings {
    /// The findings as a task's own type.
    ///
    /// # Errors
    /// They are of another task, or damaged.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.found).map_err(|e| Error::Findings { path: self.path.clone(), problem: e.to_string() })
    }
}

/// Sentences beside a run's curves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Explanations of the numbers.
    pub numbers: Vec<String>,
    /// Effects of the settings on them.
    pub settings: Vec<String>,
}

/// A table for a terminal.
pub struct Table {
    /// The headers of its columns.
    pub header: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// Side of the pictures that a task's networks are usually shown, px: VOC in DeepLab, NYU's height; `None` if it is
/// that of the model.
pub(crate) fn usual_side(task: Purpose) -> Option<u32> {
    match task {
        Purpose::Classify => None,
        Purpose::Detect => Some(512),
        Purpose::Segment => Some(513),
        Purpose::Depth => Some(480),
    }
}

/// The card of a network that makes dense predictions: it is shown whole pictures, with a border where they are not
/// square.
fn dense_card(recipe: &Recipe, config: Config, dataset: &Dataset) -> Result<ModelCard, models::Error> {
    let card = recipe.card(config, dataset)?;
    let res = recipe.res.or(dataset.native_res).or(usual_side(recipe.task)).unwrap_or(card.res);
    let interpolation = Interpolation::Bilinear;
    Ok(ModelCard { res, crop_pct: 1.0, crop_mode: CropMode::Border, interpolation, classes: Vec::new(), ..card })
}

/// Explains what the numbers of dense predictions are of.
fn shown_whole(card: &ModelCard) -> String {
    format!("Pictures are shown whole at {0} x {0} px, with a border where they are not square.", card.res)
}
