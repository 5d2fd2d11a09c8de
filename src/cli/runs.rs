//! `runs`: compares several training runs.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use toml::Table;

use super::{Error, Global, output};
use crate::files;
use crate::train::Measure;
use crate::train::report::{Overview, compare, differing, find};

/// Compare training runs: results, speed, and the settings that differ
#[derive(Args)]
pub(super) struct Runs {
    /// Folders of runs, or folders that hold such folders
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Draw the validations' goal and the loss of all runs to this SVG or PNG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    overview: &'a Overview,
    differs: Table,
}

pub(super) fn run(args: Runs, global: &Global) -> Result<(), Error> {
    let ending = args.plot.as_ref().and_then(|path| path.extension()).map(|ending| ending.to_ascii_lowercase());
    let as_png = ending.as_ref().is_some_and(|ending| ending == "png");
    if args.plot.is_some() && !as_png && ending.is_none_or(|ending| ending != "svg") {
        return Err(Error::usage("--plot draws SVG or PNG: give it a file that ends in .svg or .png".into()));
    }
    let read = find(&args.folders)?.iter().map(|folder| Overview::read(folder)).collect::<Result<Vec<_>, _>>()?;
    let (overviews, lines): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    if let Some(path) = &args.plot {
        let names = overviews.iter().map(|overview| overview.run.display().to_string());
        let goal = overviews[0].goal;
        let drawing = compare(&names.zip(lines).collect::<Vec<_>>(), goal, as_png)?;
        files::write_atomic(path, |file| file.write_all(&drawing))?;
    }
    let rows: Vec<Row<'_>> =
        overviews.iter().zip(differing(&overviews)).map(|(overview, differs)| Row { overview, differs }).collect();
    if global.json {
        return Ok(output::json(&rows)?);
    }
    let goal = overviews[0].goal;
    let header = ["run", "model", "data", "steps", goal.label, "EMA", "loss", "images/s", "what differs"];
    Ok(output::table(header, &rows.iter().map(|row| cells(row, goal)).collect::<Vec<_>>())?)
}

/// The cells of a run. Another goal than the `header`'s is named.
fn cells(row: &Row<'_>, header: Measure) -> [String; 9] {
    let Overview { run, model, data, steps, total_steps, goal, last_loss, images_per_s, .. } = row.overview;
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
    let reached = |best: Option<f64>| match best {
        Some(best) if *goal != header => format!("{} ({})", goal.text(best), goal.label),
        best => or_dash(best.map(|best| goal.text(best))),
    };
    let settings = row.differs.iter().filter(|(key, _)| *key != "model").map(|(key, value)| format!("{key}={value}"));
    [
        run.display().to_string(),
        model.clone(),
        data.clone(),
        format!("{steps} of {}", total_steps.map_or("?".into(), |total| total.to_string())),
        reached(row.overview.best()),
        reached(row.overview.best_ema()),
        or_dash(last_loss.map(|loss| format!("{loss:.3}"))),
        or_dash(images_per_s.map(|rate| format!("{rate:.0}"))),
        settings.collect::<Vec<_>>().join(" "),
    ]
}
