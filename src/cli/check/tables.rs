//! The tables that `check` draws.

use std::io;

use super::super::output;
use crate::data::{ClassCounts, MaskFacts, ObjectFacts, Quartiles, Split};

/// The most classes that are drawn; if there are more, the largest and the smallest are.
const MOST_CLASSES: usize = 40;
/// Width of the longest bar and of the longest class name, in characters.
const BAR: usize = 40;
const MOST_LETTERS: usize = 24;

/// How long the longer sides of boxes are.
pub(super) fn sides(objects: &ObjectFacts) -> io::Result<()> {
    let row = |split: Split| {
        let Quartiles { smallest, quartiles: [quarter, half, most], largest } = objects.sides(split)?;
        let px = [smallest, quarter, half, most, largest].map(|px| format!("{px:.0}"));
        let [smallest, quarter, half, most, largest] = px;
        Some([split.name().to_owned(), smallest, quarter, half, most, largest, String::new()])
    };
    let rows: Vec<[String; 7]> = [Split::Train, Split::Val].into_iter().filter_map(row).collect();
    println!();
    output::table(["longer side of boxes, px", "smallest", "25 %", "half", "75 %", "largest", ""], &rows)
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Draws a bar for each class: in training, then in validation. Masks tell each class's share of the pixels.
pub(super) fn classes(classes: &[ClassCounts], masks: Option<&MaskFacts>) -> io::Result<()> {
    let mut shown: Vec<(usize, &ClassCounts)> = classes.iter().enumerate().collect();
    let largest = classes.iter().map(|class| class.train + class.val).max().unwrap_or(0).max(1);
    let hidden = shown.len().saturating_sub(MOST_CLASSES);
    if hidden > 0 {
        shown.sort_by_key(|(_, class)| std::cmp::Reverse(class.train + class.val));
        shown.drain(MOST_CLASSES / 2..MOST_CLASSES / 2 + hidden);
    }
    let row = |&(number, ClassCounts { name, train, val }): &(usize, &ClassCounts)| {
        // At least one character for a count above 0.
        let length = |count: usize| (count * BAR).div_ceil(largest);
        let bar = "█".repeat(length(*train)) + &"▒".repeat(length(*val));
        let share = masks.map(|masks| percent(masks.shares[number]));
        [shortened(name), train.to_string(), val.to_string()].into_iter().chain(share).chain([bar]).collect()
    };
    let mut rows: Vec<Vec<String>> = shown.iter().map(row).collect();
    let mut header = vec!["class", "train", "val", "█ train ▒ val"];
    if masks.is_some() {
        header.insert(3, "pixels");
    }
    if hidden > 0 {
        let mut more = vec![String::new(); header.len()];
        more[0] = format!(".. {hidden} more");
        rows.insert(MOST_CLASSES / 2, more);
    }
    output::rows(&header, &rows)
}

fn shortened(name: &str) -> String {
    match name.chars().count() <= MOST_LETTERS {
        true => name.to_owned(),
        false => name.chars().take(MOST_LETTERS - 2).chain("..".chars()).collect(),
    }
}
