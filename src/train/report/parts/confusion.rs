//! The confusion matrix of classes.

use serde::Serialize;

use super::super::{percent, render};
use super::Names;
use crate::train::Error;
use crate::train::plot::{PALETTE, Shade, matrix};

/// The most classes for which the matrix is a table; with more it is a list.
const TABLE_CLASSES: usize = 25;
/// Pairs of classes in that list.
const PAIRS: usize = 12;

/// What a matrix counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::train) enum Counted {
    /// Pictures, shown by number.
    Pictures,
    /// Pixels, of which there are too many to read their number: in per cent of their class.
    Pixels,
}

/// Counts by true class (rows) and predicted class (columns).
#[derive(Clone, Copy)]
pub(in crate::train) struct Confusion<'a> {
    /// The counts.
    pub(in crate::train) counts: &'a [Vec<u64>],
    /// What they count.
    pub(in crate::train) counted: Counted,
    /// The classes.
    pub(in crate::train) names: Names<'a>,
}

/// The data of the template, which escapes every text.
#[derive(Serialize)]
struct Shown {
    /// Number of epochs after which this was found.
    validated: u64,
    pixels: bool,
    /// Rows of the matrix with their classes; empty if there are too many classes.
    table: Vec<(String, Vec<Cell>)>,
    classes: Vec<String>,
    confused: Vec<Pair>,
}

/// A cell: its text, empty if nothing is to be told; strength of the colour in percent; and its meaning in words.
#[derive(Serialize)]
struct Cell {
    text: String,
    heat: u32,
    right: bool,
    words: String,
}

#[derive(Serialize)]
struct Pair {
    label: String,
    predicted: String,
    count: String,
    share: String,
}

/// Pairs of true and predicted class with their counts, most frequent first, without right ones.
pub(in crate::train) fn confused(counts: &[Vec<u64>]) -> Vec<(usize, usize, u64)> {
    let row = |(label, row): (usize, &Vec<u64>)| -> Vec<_> {
        let entry = |(predicted, &count): (usize, &u64)| (label, predicted, count);
        row.iter().enumerate().map(entry).filter(|&(a, b, count)| a != b && count > 0).collect()
    };
    let mut pairs: Vec<_> = counts.iter().enumerate().flat_map(row).collect();
    pairs.sort_by_key(|&(.., count)| std::cmp::Reverse(count));
    pairs
}

impl Confusion<'_> {
    /// The classes that the table shows; 0 if there are too many.
    pub(in crate::train) fn shown(&self) -> usize {
        if self.counts.len() <= TABLE_CLASSES { self.counts.len() } else { 0 }
    }

    /// The matrix and the most frequent mistakes after an epoch, as HTML.
    pub(in crate::train) fn html(&self, epoch: u64) -> Result<String, Error> {
        let all = self.counts.iter().flatten().sum::<u64>().max(1) as f64;
        let pair = |(label, predicted, count): (usize, usize, u64)| Pair {
            label: self.names.of(label),
            predicted: self.names.of(predicted),
            count: match self.counted {
                Counted::Pictures => count.to_string(),
                Counted::Pixels => percent(count as f64 / all, 2),
            },
            share: percent(self.share(label, predicted), 1),
        };
        let shown = Shown {
            validated: epoch,
            pixels: self.counted == Counted::Pixels,
            table: self.cells().into_iter().enumerate().map(|(label, row)| (self.names.of(label), row)).collect(),
            classes: (0..self.shown()).map(|class| self.names.of(class)).collect(),
            confused: confused(self.counts).into_iter().take(PAIRS).map(pair).collect(),
        };
        render("confusion.html", include_str!("confusion.html"), &shown).map_err(Error::draw)
    }

    /// The matrix as PNG; `None` if there are too many classes.
    pub(in crate::train) fn png(&self) -> Result<Option<Vec<u8>>, Error> {
        let note = match self.counted {
            Counted::Pictures => "rows: what pictures are; columns: what they are taken for",
            Counted::Pixels => "rows: what pixels are; columns: what they are taken for, in % of the row",
        };
        let shade = |cell: Cell| Shade {
            text: cell.text,
            color: PALETTE[usize::from(!cell.right)],
            strength: f64::from(cell.heat) / 100.0,
        };
        let rows: Vec<Vec<Shade>> = self.cells().into_iter().map(|row| row.into_iter().map(shade).collect()).collect();
        let names: Vec<String> = (0..rows.len()).map(|class| self.names.drawn(class)).collect();
        if rows.is_empty() { Ok(None) } else { matrix(&names, &rows, note).map(Some) }
    }

    /// Share of a class that is taken for another or itself.
    fn share(&self, label: usize, predicted: usize) -> f64 {
        let row = &self.counts[label];
        row[predicted] as f64 / row.iter().sum::<u64>().max(1) as f64
    }

    fn cells(&self) -> Vec<Vec<Cell>> {
        let cell = |label: usize, predicted: usize| {
            let (count, share, right) =
                (self.counts[label][predicted], self.share(label, predicted), label == predicted);
            let text = match self.counted {
                _ if count == 0 => String::new(),
                Counted::Pictures => count.to_string(),
                Counted::Pixels => format!("{:.1}", 100.0 * share),
            };
            // The root makes a few mistakes among a thousand visible.
            let heat = (100.0 * if right { share } else { share.sqrt() }).round() as u32;
            let [of, taken] = [label, predicted].map(|class| self.names.of(class));
            let words = match self.counted {
                Counted::Pictures => format!("{of} taken for {taken}: {count}, {}", percent(share, 1)),
                Counted::Pixels => format!("{of} taken for {taken}: {}", percent(share, 2)),
            };
            Cell { text, heat, right, words }
        };
        let classes = self.shown();
        (0..classes).map(|label| (0..classes).map(|predicted| cell(label, predicted)).collect()).collect()
    }
}
