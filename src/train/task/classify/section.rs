//! The section of the report with the confusion matrix and the worst mistakes.

use std::collections::BTreeMap;

use image::RgbImage;
use serde::Serialize;

use super::{Findings, Mistake};
use crate::data::Source;
use crate::drawing::is_drawable;
use crate::train::Error;
use crate::train::plot::{PALETTE, Shade, matrix, png, sheet};
use crate::train::report::{Section, data_uri, percent, render, thumbnail};
use crate::weights::ModelCard;

/// The most classes for which the confusion matrix is a table; with more it is a list.
const TABLE_CLASSES: usize = 25;
/// Pairs of classes in that list.
const PAIRS: usize = 12;

/// The data of the template, which escapes every text.
#[derive(Serialize)]
struct Shown {
    /// Number of epochs after which this was found.
    validated: u64,
    /// Rows of the confusion matrix with their classes; empty if there are too many classes.
    table: Vec<(String, Vec<Cell>)>,
    classes: Vec<String>,
    confused: Vec<Pair>,
    mistakes: Vec<Card>,
    /// Classes that the PNG drawings show by number, since no font has the letters of their names.
    numbered: BTreeMap<usize, String>,
}

/// A cell: number of pictures, strength of the colour in percent, and its meaning in words.
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

/// The section, with `confusion.png` and `mistakes.png`.
pub(super) fn section(
    found: &crate::train::task::Findings,
    card: &ModelCard,
    pictures: &dyn Source,
) -> Result<Section, Error> {
    let mut findings: Findings = found.parse()?;
    let mut thumbnails: Vec<RgbImage> = Vec::new();
    // Pictures may have been removed since.
    findings.mistakes.retain(|mistake| {
        let thumbnail = thumbnail(card, pictures, mistake.index);
        thumbnails.extend(thumbnail.clone());
        thumbnail.is_some()
    });
    let shown = Shown::new(found.epoch, &findings, &card.classes, &thumbnails)?;
    Ok(Section {
        html: render("section.html", include_str!("section.html"), &shown).map_err(Error::draw)?,
        footnote: render("footnote.html", include_str!("footnote.html"), &shown).map_err(Error::draw)?,
        drawings: shown.drawings(thumbnails)?,
    })
}

impl Shown {
    /// `thumbnails` are the mistakes' pictures.
    fn new(epoch: u64, findings: &Findings, classes: &[String], thumbnails: &[RgbImage]) -> Result<Self, Error> {
        let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        let Findings { confusion, mistakes } = findings;
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
                // The root makes a few mistakes among a thousand pictures visible.
                let heat = (100.0 * if right { share } else { share.sqrt() }).round() as u32;
                let words = format!("{} taken for {}: {count}, {}", name(label), name(predicted), percent(share, 1));
                Cell { count, heat, right, words }
            };
            (name(label), confusion[label].iter().enumerate().map(cell).collect())
        };
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
            validated: epoch,
            table: (0..rows).map(row).collect(),
            classes: (0..rows).map(name).collect(),
            confused: findings.confused().into_iter().take(PAIRS).map(pair).collect(),
            mistakes: mistakes.iter().zip(thumbnails).map(card).collect::<Result<_, Error>>()?,
            numbered: drawn.map(|class| (class, name(class))).filter(|(_, name)| !is_drawable(name)).collect(),
        })
    }

    /// The confusion matrix and the mistakes as PNG files, if there are any.
    fn drawings(&self, thumbnails: Vec<RgbImage>) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
        let drawable = |class: usize, name: &String| match self.numbered.contains_key(&class) {
            true => format!("class {class}"),
            false => name.clone(),
        };
        let mut drawings = Vec::new();
        if !self.table.is_empty() {
            let shade = |cell: &Cell| Shade {
                text: if cell.count > 0 { cell.count.to_string() } else { String::new() },
                color: PALETTE[usize::from(!cell.right)],
                strength: f64::from(cell.heat) / 100.0,
            };
            let rows: Vec<Vec<Shade>> = self.table.iter().map(|(_, row)| row.iter().map(shade).collect()).collect();
            let names: Vec<String> = self.classes.iter().enumerate().map(|(i, name)| drawable(i, name)).collect();
            drawings.push(("confusion.png", matrix(&names, &rows)?));
        }
        if !self.mistakes.is_empty() {
            let words = |card: &Card| {
                let Card { index, classes, label, predicted, probability, .. } = card;
                let [label, predicted] = [drawable(classes[0], label), drawable(classes[1], predicted)];
                [format!("{predicted} {probability}"), format!("is {label}"), format!("#{index}")]
            };
            let pictures: Vec<_> = thumbnails.into_iter().zip(self.mistakes.iter().map(words)).collect();
            drawings.push(("mistakes.png", sheet(&pictures)?));
        }
        Ok(drawings)
    }
}
