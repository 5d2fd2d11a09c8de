//! `RUN/report.html`: a run on one self-contained page, to look at and to share. Also compares several runs.

mod compare;
mod overview;
pub(super) mod parts;

use std::io::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Table;

pub use compare::compare;
pub use overview::{Overview, differing, find};

use super::broken::BrokenPictures;
use super::plot::{Panel, Picture};
use super::task::{Findings, Remarks, Task};
use super::{Error, Line, Measure, Run, curves, metrics};
use crate::data::{Broken, Source, evaluation_crop};
use crate::files;
use crate::weights::ModelCard;

/// Number of mistakes that are kept of a validation.
pub(super) const WORST: usize = 24;
/// Largest side of the pictures on the page, px.
pub(super) const THUMBNAIL: u32 = 96;
/// The most broken pictures on the page.
const BROKEN: usize = 50;

/// `RUN/validation.json`: the findings of the last validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Validation {
    /// The epoch, counted from 0.
    pub(super) epoch: u64,
    /// The findings of the task's metric: an object.
    #[serde(flatten)]
    pub(super) findings: Value,
}

impl Validation {
    pub(super) fn write(&self, run: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(Error::draw)?;
        Ok(files::write_atomic(&path(run), |file| file.write_all(&text))?)
    }

    /// Reads the file in the folder of a run; `None` if there is none.
    fn read(run: &Path) -> Result<Option<Self>, Error> {
        let path = path(run);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text(&path)?;
        serde_json::from_str(&text).map(Some).map_err(|e| Error::Findings { path, problem: e.to_string() })
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("validation.json")
}

/// What a task adds to the page.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    /// HTML below the curves, with all text escaped.
    pub html: String,
    /// HTML before the last section, with all text escaped.
    pub footnote: String,
    /// PNG files for the run's folder, by name.
    #[serde(skip)]
    pub drawings: Vec<(&'static str, Vec<u8>)>,
}

/// Writes the page and the curves of a run from its settings, the metrics and findings in its folder, and pictures of
/// its validation data. Replaces older ones atomically.
///
/// # Errors
/// A file in the folder cannot be read, or the page cannot be written.
pub(super) fn write(
    run: &Run,
    task: &dyn Task,
    card: &ModelCard,
    pictures: &dyn Source,
    broken: &BrokenPictures,
) -> Result<(), crate::Error> {
    let (folder, lines, goal) = (&run.folder, metrics::read(&run.folder)?, run.recipe.goal(task));
    let settings = Table::try_from(&run.recipe).map_err(|e| Error::toml("settings", e))?;
    let overview = Overview::new(folder, run.data.clone(), settings, goal, &lines);
    let title = format!("{} on {}", overview.model, overview.data);
    curves::draw(folder, &title, goal, &lines)?;
    let section = match Validation::read(folder)? {
        None => Section::default(),
        Some(Validation { epoch, findings: found }) => {
            task.section(Findings { epoch: epoch + 1, found, path: self::path(folder) }, card, pictures)?
        }
    };
    for (name, png) in &section.drawings {
        files::write_atomic(&folder.join(name), |file| file.write_all(png))?;
    }
    let page = Page {
        title,
        figures: figures(&overview, &lines),
        curves: charts(goal, &lines)?,
        notes: notes(&overview, &lines, &task.remarks(&overview.settings, card)),
        section,
        broken_count: broken.len(),
        broken: broken_pictures(broken),
        settings: overview.settings.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        commands: commands(task, &overview),
    };
    let html = render("report.html", include_str!("report.html"), &page).map_err(Error::draw)?;
    Ok(files::write_atomic(&folder.join("report.html"), |file| file.write_all(html.as_bytes()))?)
}

/// A picture cropped as the network sees it, at most [`THUMBNAIL`] px; `None` if it cannot be read.
pub(super) fn thumbnail(card: &ModelCard, pictures: &dyn Source, index: usize) -> Option<RgbImage> {
    let sample = (index < pictures.len()).then(|| pictures.sample(index))?.ok()?;
    Some(evaluation_crop(&sample.image, [THUMBNAIL.min(card.res) as usize; 2], card.view()))
}

/// The data of the template, which escapes every text except the drawings and the task's section.
#[derive(Serialize)]
struct Page {
    title: String,
    figures: Vec<Figure>,
    curves: Vec<Chart>,
    /// Notes that explain the curves.
    notes: Vec<String>,
    section: Section,
    /// Unreadable pictures: their number, and the first of them.
    broken_count: usize,
    broken: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    commands: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    value: String,
    note: String,
}

#[derive(Serialize)]
struct Chart {
    name: String,
    note: String,
    color: String,
    svg: String,
}

/// Renders a template. Its name must end in `.html`, so that all text is escaped.
pub(super) fn render(name: &str, template: &str, shown: &impl Serialize) -> Result<String, minijinja::Error> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    env.render_named_str(name, template, Serde(shown))
}

/// The first unreadable pictures and their problems.
fn broken_pictures(broken: &BrokenPictures) -> Vec<(String, String)> {
    let named = [("train", &broken.train), ("val", &broken.val)];
    let all = named.into_iter().flat_map(|(split, broken)| broken.values().map(move |b| (split, b)));
    let row = |(split, broken): (&str, &Broken)| (format!("{split}/{}", broken.picture), broken.problem.clone());
    all.take(BROKEN).map(row).collect()
}

fn figures(overview: &Overview, lines: &[Line]) -> Vec<Figure> {
    let validation = lines.iter().rev().find_map(|l| if let Line::Epoch(line) = l { Some(line) } else { None });
    let figure = |name: &str, value, note: String| Figure { name: name.to_owned(), value, note };
    let mut figures = vec![];
    let goal = overview.goal;
    // Keeps number and sign on one line.
    let text = |number| goal.text(number).replace(' ', "\u{a0}");
    if let Some(best) = overview.best() {
        let note = match overview.epochs {
            1 => "after one epoch".to_owned(),
            epochs => format!("best of {epochs} epochs"),
        };
        figures.push(figure(goal.label, text(best), note));
    }
    if let Some(best) = overview.best_ema() {
        let name = format!("{}, moving average", goal.label);
        figures.push(figure(&name, text(best), "of the weights, at its best".into()));
    }
    if let Some(loss) = overview.last_loss {
        let of_validation = validation.and_then(|line| line.val("loss"));
        let note = of_validation.map_or(String::new(), |loss| format!("validation {loss:.3}"));
        figures.push(figure("training loss", format!("{loss:.3}"), note));
    }
    let total = overview.total_steps.map_or(String::new(), |total| format!("of {total}"));
    figures.push(figure("steps", overview.steps.to_string(), total));
    if let Some(rate) = overview.images_per_s {
        let note =
            overview.loader_share.map_or(String::new(), |share| format!("{} waiting for data", percent(share, 0)));
        figures.push(figure("pictures/s", format!("{rate:.0}"), note));
    }
    if overview.skipped_steps > 0 {
        figures.push(figure("steps skipped", overview.skipped_steps.to_string(), "gradients not finite".into()));
    }
    figures
}

/// Each chart is a separate drawing, so that the page can arrange them by the width of the screen.
fn charts(goal: Measure, lines: &[Line]) -> Result<Vec<Chart>, Error> {
    let chart = |mut panel: Panel| {
        let (name, note) = (panel.name.clone(), panel.note.clone());
        let plotters::style::RGBColor(r, g, b) = panel.color;
        panel.height = 240;
        let svg = Picture { width: 400, title: None, legend: vec![], panels: vec![panel] }.svg()?;
        Ok(Chart { name, note, color: format!("#{r:02x}{g:02x}{b:02x}"), svg })
    };
    curves::panels(goal, lines).into_iter().map(chart).collect()
}

/// Explains what a newcomer would wonder about in the curves of a run with these settings.
fn notes(overview: &Overview, lines: &[Line], remarks: &Remarks) -> Vec<String> {
    let (goal, label) = (overview.goal, overview.goal.label);
    let number = |key: &str| overview.settings.get(key).and_then(toml::Value::as_float).unwrap_or(0.0);
    let mut sentences = vec!["A step trains on one batch of pictures.".to_owned()];
    sentences.extend(remarks.numbers.iter().cloned());
    sentences.push("Validation pictures are never trained on.".to_owned());
    let mut notes = vec![sentences.join(" ")];
    if overview.settings.get("schedule").and_then(toml::Value::as_str) != Some("constant") {
        notes.push(
            "The learning rate is how far a step moves the weights: little while they are still at random, little \
             again at the end, so that they settle."
                .to_owned(),
        );
    }
    let augmented = overview.settings.get("augment").and_then(toml::Value::as_str) != Some("none");
    let any = |keys: &[&str]| keys.iter().any(|key| number(key) > 0.0);
    let is_harder = augmented || any(&["erasing", "mixup", "cutmix", "dropout", "drop-path"]);
    let has_goal = |line: &Line| matches!(line, Line::Step(step) if step.numbers.get(goal.name).is_some());
    if is_harder && lines.iter().any(has_goal) {
        let [worse, better] = if goal.higher_is_better { ["below", "above"] } else { ["above", "below"] };
        notes.push(format!(
            "Training is made harder on purpose, by pictures that are cropped, mirrored or changed otherwise and by \
             parts of the network that are left out: a training {label} {worse} that of validation is no mistake, one \
             far {better} it means that the network has learnt its pictures by heart.",
        ));
    }
    notes.extend(remarks.settings.iter().cloned());
    if number("ema") > 0.0 {
        notes.push(
            "The moving average is that of the weights over the last steps, validated as a network of its own; \
             best.safetensors holds whichever of the two was the best of all epochs."
                .to_owned(),
        );
    }
    notes
}

/// Commands for a run, as lines for a shell.
fn commands(task: &dyn Task, overview: &Overview) -> Vec<(&'static str, String)> {
    let quoted = |path: &Path| quoted(&path.display().to_string());
    let run = quoted(&overview.run);
    let best = quoted(&overview.run.join("best.safetensors"));
    let events = quoted(&overview.run.join("tensorboard"));
    let data = self::quoted(&overview.data);
    vec![
        ("Go on where it stands", format!("resnet-rs train --resume {run}")),
        (task.request(), format!("resnet-rs predict PICTURE --weights {best}")),
        ("Evaluate again", format!("resnet-rs eval --data {data} --weights {best} --mistakes 20")),
        ("Look at it in TensorBoard", format!("tensorboard --logdir {events}")),
    ]
}

/// A word, quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-:=+@%,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Keeps number and sign on one line.
pub(super) fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}\u{a0}%", 100.0 * share)
}

/// A setting without the quotes of TOML.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A PNG inside the page (RFC 2397), in base64 (RFC 4648).
pub(super) fn data_uri(png: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut uri = "data:image/png;base64,".to_owned();
    for group in png.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | group.get(i).map_or(0, |&byte| u32::from(byte)));
        let digit = |i: usize| DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char;
        uri.extend((0..4).map(|i| if i <= group.len() { digit(i) } else { '=' }));
    }
    uri
}

#[cfg(test)]
mod section_tests;
#[cfg(test)]
mod tests;
