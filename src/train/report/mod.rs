//! `RUN/report.html`: a run on one page that needs nothing beside it, for people to look at and pass on. Several runs in
//! comparison.

mod compare;
mod overview;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use toml::Table;

pub use compare::compare;
pub use overview::{Overview, differing, find};

use super::broken::BrokenPictures;
use super::plot::{PALETTE, Panel, Picture, Shade, matrix, png, sheet};
use super::{Error, Findings, Line, Mistake, Run, curves, metrics};
use crate::data::{Broken, Source, evaluation_crop};
use crate::drawing::is_drawable;
use crate::files;
use crate::weights::ModelCard;

/// Mistakes that are kept of a validation.
pub(super) const WORST: usize = 24;
/// Side of the pictures on the page, px, where the network sees larger ones.
const THUMBNAIL: u32 = 96;
/// Beyond that many classes the confusion matrix is no table but a list.
const TABLE_CLASSES: usize = 25;
/// Pairs of classes on that list.
const PAIRS: usize = 12;
/// Broken pictures on the page.
const BROKEN: usize = 50;

/// `RUN/validation.json`: what the last validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Validation {
    /// The epoch, counted from 0.
    pub(super) epoch: u64,
    /// What was taken for what.
    #[serde(flatten)]
    pub(super) findings: Findings,
}

impl Validation {
    pub(super) fn write(&self, run: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(Error::draw)?;
        Ok(files::write_atomic(&path(run), |file| file.write_all(&text))?)
    }

    /// What the folder of a run holds, if anything.
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

/// Writes the page and the curves of a run from its settings, the metrics and findings in its folder, and pictures of its
/// validation data. Replaces older ones atomically.
///
/// # Errors
/// A file in the folder that cannot be read, or a page that cannot be written.
pub(super) fn write(
    run: &Run,
    card: &ModelCard,
    pictures: &dyn Source,
    broken: &BrokenPictures,
) -> Result<(), crate::Error> {
    let (folder, lines) = (&run.folder, metrics::read(&run.folder)?);
    let settings = Table::try_from(&run.recipe).map_err(|e| Error::toml("settings", e))?;
    let overview = Overview::new(folder, run.data.clone(), settings, &lines);
    let title = format!("{} on {}", overview.model, overview.data);
    curves::draw(folder, &title, &lines)?;
    let mut validation = Validation::read(folder)?;
    let mut thumbnails: Vec<RgbImage> = Vec::new();
    if let Some(validation) = &mut validation {
        // Pictures may have gone since.
        validation.findings.mistakes.retain(|mistake| {
            let thumbnail = thumbnail(card, pictures, mistake.index);
            thumbnails.extend(thumbnail.clone());
            thumbnail.is_some()
        });
    }
    let page =
        Page::new(title, &overview, &lines, validation.as_ref(), &card.classes, &thumbnails)?.with_broken(broken);
    page.draw(folder, thumbnails)?;
    let html = page.render().map_err(Error::draw)?;
    Ok(files::write_atomic(&folder.join("report.html"), |file| file.write_all(html.as_bytes()))?)
}

/// A picture as the network sees it, but for its size; `None` if it cannot be read.
fn thumbnail(card: &ModelCard, pictures: &dyn Source, index: usize) -> Option<RgbImage> {
    let sample = (index < pictures.len()).then(|| pictures.sample(index))?.ok()?;
    Some(evaluation_crop(&sample.image, [card.res.min(THUMBNAIL) as usize; 2], card.view()))
}

/// What the template shows. Every text is escaped there, but for the drawings.
#[derive(Serialize)]
struct Page {
    title: String,
    figures: Vec<Figure>,
    curves: Vec<Chart>,
    /// What one must know to read them.
    notes: Vec<String>,
    /// After how many epochs the following was found.
    validated: u64,
    /// Rows of the confusion matrix, headed by the classes; none where there are many.
    table: Vec<(String, Vec<Cell>)>,
    classes: Vec<String>,
    confused: Vec<Pair>,
    mistakes: Vec<Card>,
    /// Pictures that cannot be read: how many, and the first of them.
    broken_count: usize,
    broken: Vec<(String, String)>,
    /// Classes that stand by number in the PNG drawings, since no font has the letters of their names.
    numbered: BTreeMap<usize, String>,
    settings: Vec<(String, String)>,
    commands: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
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

/// Pictures of one class that are taken for one class, how strongly that is coloured, percent, and what it says in words.
#[derive(Serialize)]
struct Cell {
    count: u32,
    heat: u32,
    right: bool,
    words: String,
}

#[derive(Serialize)]
struct Pair {
    label: String,
    predicted: String,
    count: u32,
    share: String,
}

#[derive(Serialize)]
struct Card {
    picture: String,
    #[serde(skip)]
    classes: [usize; 2],
    index: usize,
    label: String,
    predicted: String,
    probability: String,
}

impl Page {
    /// `thumbnails` are the mistakes' pictures.
    fn new(
        title: String,
        overview: &Overview,
        lines: &[Line],
        validation: Option<&Validation>,
        classes: &[String],
        thumbnails: &[RgbImage],
    ) -> Result<Self, Error> {
        let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        let findings = validation.map(|v| &v.findings);
        let confusion = findings.map_or(&[][..], |f| &f.confusion);
        let of_class = |label: usize| confusion[label].iter().sum::<u32>().max(1);
        let pair = |(label, predicted, count)| Pair {
            label: name(label),
            predicted: name(predicted),
            count,
            share: percent(f64::from(count) / f64::from(of_class(label)), 1),
        };
        let row = |label: usize| {
            let cell = |(predicted, &count): (usize, &u32)| {
                let share = f64::from(count) / f64::from(of_class(label));
                let right = label == predicted;
                // The root lets a few mistakes among a thousand pictures be seen.
                let heat = (100.0 * if right { share } else { share.sqrt() }).round() as u32;
                let words = format!("{} taken for {}: {count}, {}", name(label), name(predicted), percent(share, 1));
                Cell { count, heat, right, words }
            };
            (name(label), confusion[label].iter().enumerate().map(cell).collect())
        };
        let mistakes = findings.map_or(&[][..], |f| &f.mistakes);
        let rows = if confusion.len() <= TABLE_CLASSES { confusion.len() } else { 0 };
        let card = |(mistake, thumbnail): (&Mistake, &RgbImage)| {
            Ok(Card {
                picture: data_uri(&png(thumbnail).map_err(Error::draw)?),
                classes: [mistake.label, mistake.predicted],
                index: mistake.index,
                label: name(mistake.label),
                predicted: name(mistake.predicted),
                probability: percent(mistake.probability.into(), 0),
            })
        };
        let drawn = (0..rows).chain(mistakes.iter().flat_map(|mistake| [mistake.label, mistake.predicted]));
        Ok(Self {
            title,
            figures: figures(overview, lines),
            curves: charts(lines)?,
            notes: notes(overview, classes.len()),
            validated: validation.map_or(0, |v| v.epoch + 1),
            table: (0..rows).map(row).collect(),
            classes: (0..rows).map(name).collect(),
            confused: findings.map(Findings::confused).into_iter().flatten().take(PAIRS).map(pair).collect(),
            mistakes: mistakes.iter().zip(thumbnails).map(card).collect::<Result<_, Error>>()?,
            broken_count: 0,
            broken: Vec::new(),
            numbered: drawn.map(|class| (class, name(class))).filter(|(_, name)| !is_drawable(name)).collect(),
            settings: overview.settings.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
            commands: commands(overview),
        })
    }

    /// The page with the pictures that cannot be read.
    fn with_broken(self, broken: &BrokenPictures) -> Self {
        let named = [("train", &broken.train), ("val", &broken.val)];
        let all = named.into_iter().flat_map(|(split, broken)| broken.values().map(move |b| (split, b)));
        let row = |(split, broken): (&str, &Broken)| (format!("{split}/{}", broken.picture), broken.problem.clone());
        Self { broken_count: broken.len(), broken: all.take(BROKEN).map(row).collect(), ..self }
    }

    /// The confusion matrix and the mistakes as pictures of their own, where there are any.
    fn draw(&self, folder: &Path, thumbnails: Vec<RgbImage>) -> Result<(), Error> {
        let write = |name, png: Vec<u8>| files::write_atomic(&folder.join(name), |file| file.write_all(&png));
        let drawable = |class: usize, name: &String| match self.numbered.contains_key(&class) {
            true => format!("class {class}"),
            false => name.clone(),
        };
        if !self.table.is_empty() {
            let shade = |cell: &Cell| Shade {
                text: if cell.count > 0 { cell.count.to_string() } else { String::new() },
                color: PALETTE[usize::from(!cell.right)],
                strength: f64::from(cell.heat) / 100.0,
            };
            let rows: Vec<Vec<Shade>> = self.table.iter().map(|(_, row)| row.iter().map(shade).collect()).collect();
            let names: Vec<String> = self.classes.iter().enumerate().map(|(i, name)| drawable(i, name)).collect();
            write("confusion.png", matrix(&names, &rows)?)?;
        }
        if !self.mistakes.is_empty() {
            let words = |card: &Card| {
                let Card { index, classes, label, predicted, probability, .. } = card;
                let [label, predicted] = [drawable(classes[0], label), drawable(classes[1], predicted)];
                [format!("{predicted} {probability}"), format!("is {label}"), format!("#{index}")]
            };
            let pictures: Vec<_> = thumbnails.into_iter().zip(self.mistakes.iter().map(words)).collect();
            write("mistakes.png", sheet(&pictures)?)?;
        }
        Ok(())
    }

    fn render(&self) -> Result<String, minijinja::Error> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        // Named as HTML, so that all text is escaped.
        env.render_named_str("report.html", include_str!("report.html"), Serde(self))
    }
}

fn figures(overview: &Overview, lines: &[Line]) -> Vec<Figure> {
    let validation = lines.iter().rev().find_map(|l| if let Line::Epoch(line) = l { Some(line) } else { None });
    let figure = |name, value, note: String| Figure { name, value, note };
    let mut figures = vec![];
    if let Some(top1) = overview.best_top1 {
        let note = match overview.epochs {
            1 => "after one epoch".to_owned(),
            epochs => format!("best of {epochs} epochs"),
        };
        figures.push(figure("top-1", percent(top1, 2), note));
    }
    if let Some(top1) = overview.best_ema_top1 {
        figures.push(figure("top-1, moving average", percent(top1, 2), "of the weights, at its best".into()));
    }
    if let Some(loss) = overview.last_loss {
        let note = validation.map_or(String::new(), |line| format!("validation {:.3}", line.val_loss));
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

/// Each chart as a drawing of its own, so that they stand beside each other or below, as wide as the screen allows.
fn charts(lines: &[Line]) -> Result<Vec<Chart>, Error> {
    let chart = |mut panel: Panel| {
        let (name, note) = (panel.name.clone(), panel.note.clone());
        let plotters::style::RGBColor(r, g, b) = panel.color;
        panel.height = 240;
        let svg = Picture { width: 400, title: None, legend: vec![], panels: vec![panel] }.svg()?;
        Ok(Chart { name, note, color: format!("#{r:02x}{g:02x}{b:02x}"), svg })
    };
    curves::panels(lines).into_iter().map(chart).collect()
}

/// What a newcomer would wonder about in the curves of a run with these settings.
fn notes(overview: &Overview, classes: usize) -> Vec<String> {
    let number = |key: &str| overview.settings.get(key).and_then(toml::Value::as_float).unwrap_or(0.0);
    let mut notes = vec![
        "A step trains on one batch of pictures. Top-1 is the share of pictures whose likeliest class is right. Validation pictures \
         are never trained on."
            .to_owned(),
    ];
    if overview.settings.get("schedule").and_then(toml::Value::as_str) != Some("constant") {
        notes.push(
            "The learning rate is how far a step moves the weights: little while they are still at random, little again at the end, \
             so that they settle."
                .to_owned(),
        );
    }
    let augmented = overview.settings.get("augment").and_then(toml::Value::as_str) != Some("none");
    let any = |keys: &[&str]| keys.iter().any(|key| number(key) > 0.0);
    if augmented || any(&["erasing", "mixup", "cutmix", "dropout", "drop-path"]) {
        notes.push(
            "Training is made harder on purpose, by pictures that are cropped, mirrored or changed otherwise and by parts of the network \
             that are left out: a training top-1 below that of validation is no mistake, one far above it means that the network has \
             learnt its pictures by heart."
                .to_owned(),
        );
    }
    if any(&["mixup", "cutmix"]) {
        notes.push("Where two pictures are mixed, naming one of them counts by its share.".to_owned());
    }
    let smoothing = number("label-smoothing");
    if smoothing > 0.0 && classes > 1 {
        notes.push(format!(
            "With label smoothing the network is to leave {} for the wrong classes: its training loss cannot fall below {:.2}; \
             that of validation is without it.",
            percent(smoothing * (classes - 1) as f64 / classes as f64, 0),
            least_loss(smoothing, classes)
        ));
    }
    if number("ema") > 0.0 {
        notes.push(
            "The moving average is that of the weights over the last steps, validated as a network of its own; best.safetensors holds \
             whichever of the two was the best of all epochs."
                .to_owned(),
        );
    }
    notes
}

/// Cross-entropy of a smoothed target with itself.
fn least_loss(smoothing: f64, classes: usize) -> f64 {
    let wrong = smoothing / classes as f64;
    let right = 1.0 - smoothing + wrong;
    -right * right.ln() - (classes - 1) as f64 * wrong * wrong.ln()
}

/// What to do with a run, as lines for a shell.
fn commands(overview: &Overview) -> Vec<(&'static str, String)> {
    let quoted = |path: &Path| quoted(&path.display().to_string());
    let run = quoted(&overview.run);
    let best = quoted(&overview.run.join("best.safetensors"));
    let events = quoted(&overview.run.join("tensorboard"));
    let data = self::quoted(&overview.data);
    vec![
        ("Go on where it stands", format!("resnet-rs train --resume {run}")),
        ("Classify a picture", format!("resnet-rs predict PICTURE --weights {best}")),
        ("Evaluate again", format!("resnet-rs eval --data {data} --weights {best} --mistakes 20")),
        ("Look at it in TensorBoard", format!("tensorboard --logdir {events}")),
    ]
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-:=+@%,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Number and sign stay on one line.
fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}\u{a0}%", 100.0 * share)
}

/// A setting without the quotes of TOML.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A PNG inside the page (RFC 2397), in base64 (RFC 4648).
fn data_uri(png: &[u8]) -> String {
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
mod tests;
