//! Shared by the commands that train several runs and compare them.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::train::Display;
use super::{Error, Global};
use crate::gpu::Gpu;
use crate::train::ablate::begin;
use crate::train::{Ended, Line, Measure, Recipe, Summary, Trainer, metrics};

/// What a run has reached.
pub(super) struct Trained {
    /// The measure that it is judged by.
    pub(super) goal: Measure,
    /// That number after the last epoch, of the averaged weights if there are any.
    pub(super) number: f64,
    /// How far it came, if time ran out.
    pub(super) stopped: Option<String>,
}

/// Trains a run of a study in its folder, or resumes it: its data, its settings, and the weights that it starts from if
/// there are any. Returns `None` if the user stopped it.
pub(super) fn train(
    gpu: &Gpu,
    global: &Global,
    folder: &Path,
    (data, recipe, init): (&str, &Recipe, Option<&Path>),
    stop: &AtomicBool,
) -> Result<Option<Trained>, Error> {
    let (run, checkpoint) = begin(folder, data, recipe)?;
    let resumed = checkpoint.is_some();
    let display = Display::new(global, &run.recipe, resumed);
    let goal = display.goal;
    let trainer = Trainer::new(gpu, run, checkpoint, init.filter(|_| !resumed), &display, stop)?;
    let summary = trainer.train();
    display.finish();
    let Summary { steps, total_steps, ended, .. } = summary?;
    if ended == Ended::Interrupted {
        return Ok(None);
    }
    let stopped = (ended == Ended::Time).then(|| format!("after {steps} of {total_steps} steps"));
    let mut epochs = metrics::read(folder)?.into_iter().filter_map(|line| match line {
        Line::Epoch(epoch) => epoch.ema(goal.name).or(epoch.val(goal.name)),
        Line::Step(_) => None,
    });
    let number = epochs.next_back().ok_or_else(|| {
        Error::failed(format!("{} has validated no epoch: raise --max-steps or --max-minutes", folder.display()))
    })?;
    Ok(Some(Trained { goal, number, stopped }))
}

/// A table in Markdown.
pub(super) struct Table {
    pub(super) text: String,
}

impl Table {
    pub(super) fn new(heads: &[impl AsRef<str>]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(heads);
        table.text += &format!("|{}\n", "---|".repeat(heads.len()));
        table
    }

    pub(super) fn row(&mut self, cells: &[impl AsRef<str>]) {
        let cells: String = cells.iter().map(|cell| format!(" {} |", cell.as_ref())).collect();
        self.text += &format!("|{cells}\n");
    }
}

/// A number of percent, or a dash.
pub(super) fn plain(percent: Option<f64>) -> String {
    percent.map_or("-".into(), |percent| format!("{percent:.1}"))
}

/// A change in percentage points, or a dash.
pub(super) fn signed(points: Option<f64>) -> String {
    points.map_or("-".into(), |points| format!("{points:+.1}"))
}
