//! `RUN/metrics.jsonl`: a JSON line for each step and each epoch of a run. TensorBoard's event files are written along
//! with it.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize};

use super::tensorboard::Events;
use super::{Error, Numbers, checkpoint};
use crate::files;

/// A line of the metrics file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Written after each step.
    Step(StepLine),
    /// Written after each epoch's validation.
    Epoch(EpochLine),
}

/// The outcome of a training step. Fields that are `None` are not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// The step, counted from 0 over the whole run.
    pub step: u64,
    /// The epoch it belongs to, counted from 0.
    pub epoch: u64,
    /// Mean loss of the batch. NaN and infinity are written as `null`, since JSON has neither, and read as NaN.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f32,
    /// Learning rate of the step.
    pub lr: f32,
    /// Training pictures per second.
    pub images_per_s: f32,
    /// The numbers that the task reports for the batch, under the names of its [measures](super::task::Task::measures).
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Euclidean norm of all gradients, before they are clipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f32>,
    /// Whether the step changed no weights, since its gradients were not finite: in mixed precision they overflow now
    /// and then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<bool>,
    /// Share of the step's time that was spent waiting for data, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader_share: Option<f32>,
}

/// The outcome of an epoch's validation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The task's [measures](super::task::Task::measures) and `loss` with `val_` before their names, then those of the
    /// weights' moving average with `ema_`.
    #[serde(flatten)]
    pub numbers: Numbers,
}

impl EpochLine {
    /// The line of an epoch, from the numbers of its validation and of the validation of the weights' moving average.
    pub fn new(epoch: u64, raw: &Numbers, averaged: Option<&Numbers>) -> Self {
        let mut numbers = Numbers::default();
        for (prefix, of) in [("val_", Some(raw)), ("ema_", averaged)] {
            numbers.extend_with_prefix(prefix, of.unwrap_or(&Numbers::default()));
        }
        Self { epoch, numbers: numbers.with_single_losses() }
    }

    /// A number of the validation.
    pub fn val(&self, measure: &str) -> Option<f64> {
        self.numbers.get(&format!("val_{measure}"))
    }

    /// A number of the validation of the weights' moving average.
    pub fn ema(&self, measure: &str) -> Option<f64> {
        self.numbers.get(&format!("ema_{measure}"))
    }
}

/// For floats that JSON writes as `null`.
pub(super) fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f32::NAN))
}

/// Deletes the temporary files that a killed process left in a run's folder.
fn remove_leftovers(run: &Path) -> Result<(), files::Error> {
    let folders = [run.to_owned(), checkpoint::folder(run), run.join("top")];
    folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| files::remove_leftovers(folder))
}

/// Appends lines to a run's metrics file.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    events: Events,
}

impl Metrics {
    /// Starts an empty metrics file in the folder of a run, in place of any older one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(run: &Path) -> Result<Self, Error> {
        remove_leftovers(run)?;
        let path = path(run);
        files::write_atomic(&path, |_| Ok(()))?;
        Self::append(path, Events::start(run, 0)?)
    }

    /// Takes over the folder of an interrupted run that continues with `step` in `epoch`. Removes the lines of that
    /// step and later ones, those of unfinished epochs, and an incomplete last line; deletes temporary files of a
    /// killed process.
    ///
    /// # Errors
    /// The file cannot be read or written, or a line but the last is not one that training writes.
    pub fn resume(run: &Path, step: u64, epoch: u64) -> Result<Self, Error> {
        remove_leftovers(run)?;
        let path = path(run);
        let text = if path.exists() { files::read_text(&path)? } else { String::new() };
        let mut kept = String::with_capacity(text.len());
        let mut last = None;
        for line in parse(&path, &text) {
            let (line, text) = line?;
            let is_past = match &line {
                Line::Step(line) => line.step < step,
                Line::Epoch(line) => line.epoch < epoch,
            };
            if is_past {
                kept.push_str(text);
                kept.push('\n');
                last = Some(line);
            }
        }
        files::write_atomic(&path, |file| file.write_all(kept.as_bytes()))?;
        let mut events = Events::start(run, step)?;
        if let Some(line @ Line::Epoch(_)) = &last {
            // The epoch's line is written again: it has the step from which on TensorBoard discards what it read.
            events.write(line)?;
        }
        Self::append(path, events)
    }

    fn append(path: PathBuf, events: Events) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| files::Error::write(&path, e))?;
        Ok(Self { path, file, events })
    }

    /// Syncs the lines to disk, so that they survive a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(self.file.sync_data().map_err(|e| files::Error::write(&self.path, e))?)
    }

    /// Appends a line. Other programs can read it when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, line: &Line) -> Result<(), Error> {
        let fail = |e| files::Error::write(&self.path, e);
        let mut bytes = serde_json::to_vec(line).map_err(|e| fail(e.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(fail)?;
        self.events.write(line)
    }
}

/// Reads the metrics of a run. An incomplete last line is ignored.
///
/// # Errors
/// The file cannot be read, or a line but the last is not one that training writes.
pub fn read(run: &Path) -> Result<Vec<Line>, Error> {
    let path = path(run);
    let text = files::read_text(&path)?;
    parse(&path, &text).map(|line| line.map(|(line, _)| line)).collect()
}

fn path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}

/// Every complete line, parsed and as text. Text after the last line break is an incomplete line.
fn parse<'a>(path: &'a Path, text: &'a str) -> impl Iterator<Item = Result<(Line, &'a str), Error>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().enumerate().map(|(i, text)| {
        let problem = match serde_json::from_str(text) {
            // All but a step's own numbers would be taken for an epoch's.
            Ok(Line::Epoch(line)) if line.numbers.get("step").is_some() => "it is no whole step".to_owned(),
            Ok(line) => return Ok((line, text)),
            Err(e) => e.to_string(),
        };
        Err(Error::Metrics { path: path.to_owned(), line: i + 1, problem })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn step(step: u64, epoch: u64) -> Line {
        Line::Step(StepLine { step, epoch, loss: 0.1, lr: 0.3, images_per_s: 1234.5, ..StepLine::default() })
    }

    fn epoch(epoch: u64) -> Line {
        Line::Epoch(EpochLine::new(epoch, &validation(), None))
    }

    fn validation() -> Numbers {
        Numbers::default().with("top1", 0.87).with("top5", 0.99).with("loss", 0.5)
    }

    /// Two epochs of three steps; the second one is not validated.
    fn lines() -> Vec<Line> {
        vec![step(0, 0), step(1, 0), step(2, 0), epoch(0), step(3, 1), step(4, 1), step(5, 1)]
    }

    fn write(run: &Path) {
        let mut metrics = Metrics::create(run).unwrap();
        lines().iter().for_each(|line| metrics.write(line).unwrap());
    }

    #[test]
    fn lines_have_the_documented_form() {
        let run = tempfile::tempdir().unwrap();
        write(run.path());
        let text = fs::read_to_string(path(run.path())).unwrap();
        assert!(
            text.starts_with("{\"step\":0,\"epoch\":0,\"loss\":0.1,\"lr\":0.3,\"images_per_s\":1234.5}\n"),
            "{text}"
        );
        assert!(text.contains("\n{\"epoch\":0,\"val_top1\":0.87,\"val_top5\":0.99,\"val_loss\":0.5}\n"), "{text}");
        assert_eq!(read(run.path()).unwrap(), lines());
    }

    #[test]
    fn what_is_not_measured_is_not_written() {
        let full = [
            Line::Step(StepLine {
                numbers: Numbers::default().with("top1", 0.5),
                grad_norm: Some(2.0),
                skipped: Some(true),
                ..StepLine::default()
            }),
            Line::Step(StepLine { loader_share: Some(0.25), ..StepLine::default() }),
            Line::Epoch(EpochLine::new(3, &Numbers::default(), Some(&validation()))),
        ];
        for (line, keys) in full.iter().zip([
            &["top1", "grad_norm", "skipped"][..],
            &["loader_share"],
            &["ema_top1", "ema_top5", "ema_loss"],
        ]) {
            let text = serde_json::to_string(line).unwrap();
            assert!(keys.iter().all(|key| text.contains(&format!("\"{key}\":"))), "{text}");
            assert!(!text.contains("null"), "{text}");
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), *line);
        }
    }

    #[test]
    fn resuming_forgets_what_is_done_again() {
        for (next_step, next_epoch, kept) in [(0, 0, 0), (2, 0, 2), (3, 0, 3), (3, 1, 4), (4, 1, 5), (9, 1, 7)] {
            let run = tempfile::tempdir().unwrap();
            write(run.path());
            let mut expected = lines();
            expected.retain(|line| match line {
                Line::Step(line) => line.step < next_step,
                Line::Epoch(line) => line.epoch < next_epoch,
            });
            assert_eq!(expected.len(), kept);
            let mut metrics = Metrics::resume(run.path(), next_step, next_epoch).unwrap();
            metrics.write(&step(next_step, next_epoch)).unwrap();
            expected.push(step(next_step, next_epoch));
            assert_eq!(read(run.path()).unwrap(), expected);
        }
    }

    #[test]
    fn resuming_deletes_what_a_killed_writer_left() {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir(checkpoint::folder(run.path())).unwrap();
        let left = [run.path(), &checkpoint::folder(run.path())].map(|folder| folder.join(".a.x1y2z3.partial"));
        left.iter().for_each(|path| fs::write(path, "").unwrap());
        drop(Metrics::resume(run.path(), 0, 0).unwrap());
        assert!(left.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_line_cut_off_is_dropped_and_a_broken_one_named() {
        let run = tempfile::tempdir().unwrap();
        write(run.path());
        let path = path(run.path());
        let text = fs::read_to_string(&path).unwrap();
        for cut in 1..text.lines().last().unwrap().len() {
            fs::write(&path, &text[..text.len() - cut]).unwrap();
            assert_eq!(read(run.path()).unwrap(), lines()[..6]);
            drop(Metrics::resume(run.path(), 9, 9).unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 6);
        }
        // The second is JSON, but a step without its learning rate.
        for damaged in ["lr", "\"rate\""] {
            fs::write(&path, text.replacen("\"lr\"", damaged, 1)).unwrap();
            for error in [read(run.path()).unwrap_err(), Metrics::resume(run.path(), 9, 9).unwrap_err()] {
                assert!(error.to_string().contains("metrics.jsonl, line 1"), "{error}");
            }
        }
        fs::remove_file(&path).unwrap();
        drop(Metrics::resume(run.path(), 0, 0).unwrap());
        assert_eq!(read(run.path()).unwrap(), []);
    }

    #[test]
    fn a_loss_that_is_no_number_reads_as_nan() {
        let run = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::create(run.path()).unwrap();
        for loss in [f32::NAN, f32::INFINITY] {
            metrics.write(&Line::Step(StepLine { loss, lr: 0.1, ..StepLine::default() })).unwrap();
        }
        let read = read(run.path()).unwrap();
        assert_eq!(read.len(), 2);
        assert!(read.iter().all(|line| matches!(line, Line::Step(line) if line.loss.is_nan())));
    }

    proptest! {
        #[test]
        fn floats_read_back_to_the_same_bits(bits: u32) {
            let loss = f32::from_bits(bits);
            prop_assume!(loss.is_finite());
            let line = Line::Step(StepLine { loss, lr: loss, images_per_s: loss, ..StepLine::default() });
            let text = serde_json::to_string(&line).unwrap();
            let Line::Step(read) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
            prop_assert_eq!([read.loss, read.lr, read.images_per_s].map(f32::to_bits), [bits; 3]);
        }
    }
}
