//! `check`: reports what a person should know about a data set before training on it. Needs no GPU.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::{Error, Global, output};
use crate::data::{ClassCounts, Dataset, Inspection, Named, Split, TruthKind, inspect};

/// Read every picture of a data set once, and report what must be mended before training on it
#[derive(Args)]
pub(super) struct Check {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or shards:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Pictures to name for each kind of fault; JSON names all
    #[arg(long, value_name = "N", default_value_t = 10)]
    list: usize,
}

/// The most classes that are drawn; if there are more, the largest and the smallest are.
const MOST_CLASSES: usize = 40;
/// Width of the longest bar and of the longest class name, in characters.
const BAR: usize = 40;
const MOST_LETTERS: usize = 24;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    found: &'a Inspection,
    train: usize,
    val: usize,
    faults: Vec<String>,
    remarks: Vec<String>,
}

pub(super) fn run(args: Check, global: &Global) -> Result<(), Error> {
    let dataset = Dataset::open_for_inspection(&args.data, TruthKind::Class)?;
    let progress = global.progress("reading pictures");
    let found = inspect(&dataset, &progress);
    drop(progress);
    let (faults, remarks) = (found.faults(), found.remarks());
    let number = faults.len();
    if global.json {
        let (train, val) = (found.pictures(Split::Train), found.pictures(Split::Val));
        output::json(&Answer { found: &found, train, val, faults, remarks })?;
    } else {
        print(&found, &faults, &remarks, args.list)?;
    }
    match number {
        0 => Ok(()),
        1 => Err(Error::failed(format!("--data {}: one thing must be mended", args.data))),
        _ => Err(Error::failed(format!("--data {}: {number} things must be mended", args.data))),
    }
}

fn print(found: &Inspection, faults: &[String], remarks: &[String], most: usize) -> io::Result<()> {
    draw(&found.classes)?;
    let mut out = io::stdout().lock();
    let [train, val] = [Split::Train, Split::Val].map(|split| found.pictures(split));
    writeln!(out, "\n{train} training and {val} validation pictures in {} classes", found.classes.len())?;
    if !found.formats.is_empty() {
        let formats: Vec<String> = found.formats.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(out, "files: {}", formats.join(", "))?;
    }
    if let Some(sizes) = &found.sizes {
        let [(smallest, least), (largest, greatest)] = [&sizes.smallest, &sizes.largest];
        let size = |[width, height]: [u32; 2]| format!("{width} x {height}");
        match least == greatest {
            true => writeln!(out, "sizes: {} px, all of them", size(*least))?,
            false => writeln!(
                out,
                "sizes: {} px ({smallest}) to {} px ({largest}), half of them up to {} px",
                size(*least),
                size(*greatest),
                size(sizes.median)
            )?,
        }
    }
    list(&mut out, "must be mended", faults)?;
    let named = |named: &Named| format!("{}: {}", named.picture, named.note);
    list(&mut out, "broken", &first(found.broken.iter().map(named), most))?;
    for (heading, of) in [
        ("in both splits", found.duplicates.iter().filter(|d| d.across_splits).collect::<Vec<_>>()),
        ("in several classes", found.duplicates.iter().filter(|d| d.across_classes && !d.across_splits).collect()),
        ("repeated", found.duplicates.iter().filter(|d| !d.across_classes && !d.across_splits).collect()),
    ] {
        list(
            &mut out,
            heading,
            &first(of.into_iter().map(|group| first(group.pictures.iter().cloned(), most).join(" = ")), most),
        )?;
    }
    list(&mut out, "of odd shape", &first(found.odd_shapes.iter().map(named), most))?;
    list(&mut out, "worth knowing", remarks)
}

fn list(out: &mut impl Write, heading: &str, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{heading}:")?;
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

/// The first few lines, and how many more there are.
fn first(lines: impl ExactSizeIterator<Item = String>, most: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    let mut first: Vec<String> = lines.take(most).collect();
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    first
}

/// Draws a bar for each class: training pictures, then validation pictures.
fn draw(classes: &[ClassCounts]) -> io::Result<()> {
    let mut shown: Vec<&ClassCounts> = classes.iter().collect();
    let largest = classes.iter().map(|class| class.train + class.val).max().unwrap_or(0).max(1);
    let hidden = shown.len().saturating_sub(MOST_CLASSES);
    if hidden > 0 {
        shown.sort_by_key(|class| std::cmp::Reverse(class.train + class.val));
        shown.drain(MOST_CLASSES / 2..MOST_CLASSES / 2 + hidden);
    }
    let row = |class: &&ClassCounts| {
        let ClassCounts { name, train, val } = class;
        // At least one character for a count above 0.
        let length = |count: usize| (count * BAR).div_ceil(largest);
        let bar = "█".repeat(length(*train)) + &"▒".repeat(length(*val));
        [shortened(name), train.to_string(), val.to_string(), bar]
    };
    let mut rows: Vec<[String; 4]> = shown.iter().map(row).collect();
    if hidden > 0 {
        rows.insert(MOST_CLASSES / 2, [format!(".. {hidden} more"), String::new(), String::new(), String::new()]);
    }
    output::table(["class", "train", "val", "█ train ▒ val"], &rows)
}

fn shortened(name: &str) -> String {
    match name.chars().count() <= MOST_LETTERS {
        true => name.to_owned(),
        false => name.chars().take(MOST_LETTERS - 2).chain("..".chars()).collect(),
    }
}
