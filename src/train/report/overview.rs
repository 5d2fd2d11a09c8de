//! A run in a few figures, read from its folder alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Table;

use super::super::curves::{Series, best};
use super::super::plot::smoothed;
use super::super::{Error, Line, Measure, Numbers, Recipe, metrics};
use crate::files;

/// The state of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// Its folder.
    pub run: PathBuf,
    /// Name of the model.
    pub model: String,
    /// The data, as given to `--data`.
    pub data: String,
    /// Steps done.
    pub steps: u64,
    /// Steps of the whole schedule; `None` until the first epoch is done.
    pub total_steps: Option<u64>,
    /// Number of validated epochs.
    pub epochs: usize,
    /// The goal of the run.
    #[serde(skip)]
    pub goal: Measure,
    /// The best validation numbers of the weights and of their moving average, under the goal's name: `best_top1` and
    /// `best_ema_top1`. NaN, written as `null`, if there is none.
    #[serde(flatten)]
    pub best: Numbers,
    /// Training loss at the end, mean over the last hundredth of the steps.
    pub last_loss: Option<f64>,
    /// Training pictures per second, median over the steps.
    pub images_per_s: Option<f32>,
    /// Share of the time spent waiting for data, mean over the steps.
    pub loader_share: Option<f64>,
    /// Steps that were skipped since their gradients were not finite.
    pub skipped_steps: usize,
    /// Everything in `run.toml`.
    pub settings: Table,
}

impl Overview {
    /// Reads the run of a folder, and its metrics.
    ///
    /// # Errors
    /// Settings or metrics are missing or damaged; the error names the file and line.
    pub fn read(run: &Path) -> Result<(Self, Vec<Line>), Error> {
        let path = run.join("run.toml");
        let text = files::read_text(&path)?;
        let settings: Table = text.parse().map_err(|e| Error::toml(&path.display().to_string(), e))?;
        let lines = metrics::read(run)?;
        let recipe: Recipe = settings.clone().try_into().unwrap_or_default();
        let goal = recipe.goal(&*recipe.task());
        Ok((Self::new(run, data(&text), settings, goal, &lines), lines))
    }

    pub(super) fn new(run: &Path, data: String, settings: Table, goal: Measure, lines: &[Line]) -> Self {
        let Series { loss, val, ema, steps, .. } = Series::new(goal, lines);
        let steps_of = || lines.iter().filter_map(|l| if let Line::Step(line) = l { Some(line) } else { None });
        let mut rates: Vec<f32> = steps_of().map(|line| line.images_per_s).filter(|rate| rate.is_finite()).collect();
        rates.sort_by(f32::total_cmp);
        let shares: Vec<f64> = steps_of().filter_map(|line| line.loader_share.map(f64::from)).collect();
        let epochs = settings.get("epochs").and_then(|n| n.as_integer()).and_then(|n| u64::try_from(n).ok());
        let best = |points: &[(f64, f64)]| best(goal, points).map_or(f64::NAN, |p| p.1 / goal.scaled(1.0));
        Self {
            run: run.to_owned(),
            model: settings.get("model").and_then(|m| m.as_str()).unwrap_or_default().to_owned(),
            data,
            steps: steps as u64,
            total_steps: epochs.zip(steps_per_epoch(lines)).map(|(epochs, steps)| epochs.saturating_mul(steps)),
            epochs: lines.iter().filter(|line| matches!(line, Line::Epoch(_))).count(),
            goal,
            best: Numbers::default()
                .with(format!("best_{}", goal.name), best(&val))
                .with(format!("best_ema_{}", goal.name), best(&ema)),
            last_loss: smoothed(&loss).last().map(|p| p.1),
            images_per_s: rates.get(rates.len() / 2).copied(),
            loader_share: (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64),
            skipped_steps: steps_of().filter(|line| line.skipped == Some(true)).count(),
            settings,
        }
    }
}

impl Overview {
    /// The best number of the run's validations.
    pub fn best(&self) -> Option<f64> {
        self.best.get(&format!("best_{}", self.goal.name)).filter(|best| !best.is_nan())
    }

    /// The best number of the validations of the weights' moving average.
    pub fn best_ema(&self) -> Option<f64> {
        self.best.get(&format!("best_ema_{}", self.goal.name)).filter(|best| !best.is_nan())
    }
}

/// The data, from the first line of `run.toml`, where it is a quoted word.
fn data(text: &str) -> String {
    let quoted = text.lines().next().and_then(|line| line.split_once("--data ")).map_or("", |(_, data)| data.trim());
    serde_json::from_str(quoted).unwrap_or_else(|_| quoted.trim_matches('"').to_owned())
}

/// Steps up to the first validated epoch, divided by the number of epochs up to there.
fn steps_per_epoch(lines: &[Line]) -> Option<u64> {
    let end = lines.iter().position(|line| matches!(line, Line::Epoch(_)))?;
    match (&lines[..end].last()?, &lines[end]) {
        (Line::Step(step), Line::Epoch(epoch)) => Some((step.step + 1) / (epoch.epoch + 1)),
        _ => None,
    }
}

/// The runs in these folders. A folder is a run, or it holds runs, which are sorted by name.
///
/// # Errors
/// A folder that is not a run and holds none.
pub fn find(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let is_run = |folder: &Path| ["run.toml", "metrics.jsonl"].iter().any(|name| folder.join(name).is_file());
    let mut runs = vec![];
    for folder in folders {
        if is_run(folder) {
            runs.push(folder.clone());
            continue;
        }
        let entries = fs::read_dir(folder).map_err(|e| files::Error::read(folder, e))?;
        let mut inside: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_run(path)).collect();
        if inside.is_empty() {
            return Err(Error::NoRun { path: folder.clone() });
        }
        inside.sort();
        runs.append(&mut inside);
    }
    Ok(runs)
}

/// For each run, the settings that differ between the runs.
pub fn differing(runs: &[Overview]) -> Vec<Table> {
    let common = |key: &str| runs.iter().all(|run| run.settings.get(key) == runs[0].settings.get(key));
    let own = |run: &Overview| {
        let settings = run.settings.iter().filter(|(key, _)| !common(key));
        settings.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    runs.iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::numbers::tests::GOAL;
    use super::super::super::{EpochLine, StepLine};
    use super::*;

    fn overview(settings: &str, lines: &[Line]) -> Overview {
        Overview::new(Path::new("r"), "shapes".into(), settings.parse().unwrap(), GOAL, lines)
    }

    fn step(step: u64, loss: f32, images_per_s: f32) -> Line {
        Line::Step(StepLine { step, epoch: step / 3, loss, images_per_s, ..StepLine::default() })
    }

    #[test]
    fn figures_of_a_run() {
        let empty = overview("model = 'small'\nepochs = 4", &[]);
        assert_eq!((empty.model.as_str(), empty.steps, empty.total_steps), ("small", 0, None));
        assert_eq!((empty.best(), empty.last_loss, empty.images_per_s), (None, None, None));
        let epoch = |epoch, val, ema| {
            let numbers = [val, ema].map(|number| Numbers::default().with(GOAL.name, number));
            EpochLine::new(epoch, &numbers[0], Some(&numbers[1]))
        };
        let waiting = |share| StepLine { loader_share: Some(share), skipped: Some(true), ..StepLine::default() };
        let run = overview(
            "epochs = 4",
            &[
                step(0, 3.0, 1.0),
                step(1, 2.0, 9.0),
                Line::Step(StepLine { step: 2, loss: 1.5, images_per_s: 5.0, ..waiting(0.5) }),
                Line::Epoch(epoch(0, 0.75, 0.25)),
                step(3, f32::NAN, 7.0),
                step(4, 1.0, 6.0),
                Line::Epoch(epoch(1, 0.5, 0.5)),
            ],
        );
        assert_eq!((run.steps, run.total_steps, run.epochs), (5, Some(12), 2));
        assert_eq!((run.best(), run.best_ema(), run.last_loss), (Some(0.75), Some(0.5), Some(1.0)));
        assert_eq!((run.images_per_s, run.loader_share, run.skipped_steps), (Some(6.0), Some(0.5), 1));
    }

    #[test]
    fn data_is_read_from_the_heading() {
        for spec in ["shapes", "folder:/a b/\"c\"", "idx:C:\\data"] {
            assert_eq!(data(&format!("# resnet-rs train --data {spec:?}\nlr = 1\n")), spec);
        }
        assert_eq!(data("lr = 1\n"), "");
    }

    #[test]
    fn only_what_differs_is_told() {
        let runs = ["lr = 0.1\nbatch = 64", "lr = 0.2\nbatch = 64\nema = true", "lr = 0.1\nbatch = 64"];
        let differing = differing(&runs.map(|settings| overview(settings, &[])));
        assert_eq!(
            differing.iter().map(Table::to_string).collect::<Vec<_>>(),
            ["lr = 0.1\n", "ema = true\nlr = 0.2\n", "lr = 0.1\n"]
        );
    }
}
