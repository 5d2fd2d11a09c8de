//! `check`: reports what a person should know about a data set before training on it. Needs no GPU.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::{Error, Global, output};
use crate::data::{ClassCounts, Dataset, Inspection, Named, TruthFacts, TruthKind, inspect};
use crate::models::Purpose;
use tables::percent;

mod tables;

/// Read every picture of a data set once, and report what must be mended before training on it
#[derive(Args)]
pub(super) struct Check {
    /// Pictures: shapes, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, shards:DIR, voc:DIR, coco:DIR, masks:DIR,
    /// ade20k:DIR, depth:DIR or nyu:DIR
    #[arg(long, value_name = "DATA")]
    data: String,
    /// What is to be learnt from it [default: what the data is made for: detect for voc and coco, segment for masks and
    /// ade20k, depth for depth and nyu, else classify]
    #[arg(long, value_enum)]
    task: Option<Purpose>,
    /// Pictures to name for each kind of fault; JSON names all
    #[arg(long, value_name = "N", default_value_t = 10)]
    list: usize,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    found: &'a Inspection,
    faults: Vec<String>,
    remarks: Vec<String>,
}

pub(super) fn run(args: Check, global: &Global) -> Result<(), Error> {
    let truth = args.task.map_or_else(|| Dataset::usual_truth(&args.data), TruthKind::from);
    let dataset = Dataset::open_for_inspection(&args.data, truth)?;
    let progress = global.progress("reading pictures");
    let found = inspect(&dataset, truth, &progress);
    drop(progress);
    let (faults, remarks) = (found.faults(), found.remarks());
    let number = faults.len();
    if global.json {
        output::json(&Answer { found: &found, faults, remarks })?;
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
    let masks = if let Some(TruthFacts::Masks(masks)) = &found.truths { Some(masks) } else { None };
    if !found.classes.is_empty() {
        tables::classes(&found.classes, masks)?;
    }
    if let Some(TruthFacts::Objects(objects)) = &found.truths {
        tables::sides(objects)?;
    }
    let mut out = io::stdout().lock();
    write!(out, "\n{} training and {} validation pictures", found.train, found.val)?;
    let count = |of: fn(&ClassCounts) -> usize| found.classes.iter().map(of).sum::<usize>();
    match &found.truths {
        None | Some(TruthFacts::Masks(_)) => writeln!(out, " in {} classes", found.classes.len())?,
        Some(TruthFacts::Objects(_)) => {
            let (train, val) = (count(|class| class.train), count(|class| class.val));
            writeln!(out, " with {train} and {val} objects in {} classes", found.classes.len())?;
        }
        Some(TruthFacts::Depths(_)) => writeln!(out)?,
    }
    match &found.truths {
        Some(TruthFacts::Masks(masks)) => {
            writeln!(out, "masks: {} of the pixels do not count", percent(masks.ignored))?
        }
        Some(TruthFacts::Depths(depths)) => {
            let range = depths.metres.map_or("none known".to_owned(), |[least, most]| format!("{least} to {most} m"));
            writeln!(out, "depths: {range}; {} of the pixels are unknown", percent(depths.unknown))?;
        }
        _ => {}
    }
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
    list(&mut out, "unusable", &first(found.without_truth.iter().map(named), most))?;
    let named_for_truth: &[(&str, &[Named])] = match &found.truths {
        None => &[],
        Some(TruthFacts::Objects(objects)) => {
            &[("without area", &objects.empty), ("reaching over edges", &objects.beyond)]
        }
        Some(TruthFacts::Masks(masks)) => &[("without a pixel that counts", &masks.empty)],
        Some(TruthFacts::Depths(depths)) => &[("without a depth", &depths.empty)],
    };
    for (heading, pictures) in named_for_truth {
        list(&mut out, heading, &first(pictures.iter().map(named), most))?;
    }
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
