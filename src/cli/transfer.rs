//! `transfer`: what several pre-trainings are worth for other tasks.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Serialize, Serializer};

use super::signals::Stop;
use super::study::{Table, Trained, train};
use super::weights::Source;
use super::{Error, Global, output};
use crate::files;
use crate::models::Purpose;
use crate::train::{Measure, Recipe, RecipeFlags};
use crate::weights::hub::sha256;

/// Compare weights to start from by what they are worth for other tasks, as the paper's table 5 does
///
/// Each task is trained from each of the weights with the same head and the same recipe: only the start differs.
/// The table has a row for each start and a column for each task, with the number that the task is judged by: top-1,
/// mean IoU, AP at IoU 0.5 (for COCO's and VOC's data their own AP), delta 1, or --goal, which all tasks must measure
/// then. Each run has a folder of its own in --out and is resumed if the command is given again. Signals stop it as
/// they stop train, with the same exit status.
#[derive(Args)]
pub(super) struct Transfer {
    /// Weights to start from, with a name for the table, such as supervised=run/best.safetensors or
    /// rs=hf:timm/resnetrs50.tf_in1k; none starts from random weights. Repeat it
    #[arg(long, value_name = "NAME=FILE|NAME=hf:OWNER/NAME|none", required = true, value_parser = parse_start)]
    from: Vec<Start>,
    /// A task and its data, such as segment=voc:VOCdevkit. Repeat it
    #[arg(long, value_name = "TASK=DATA", required = true, value_parser = parse_target)]
    to: Vec<Target>,
    /// Runs of each pair, with seeds that count up from --seed; the table then has means and standard deviations
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
    /// Folder for the runs and the table
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A recipe for all tasks, a name or a TOML file; flags win over it [default: each task's own]
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    #[command(flatten)]
    flags: RecipeFlags,
}

/// Weights to start from.
#[derive(Clone, Debug, PartialEq)]
struct Start {
    name: String,
    weights: Option<Source>,
}

/// A file of weights, and its SHA-256.
struct Weights {
    file: PathBuf,
    sha256: String,
}

impl Start {
    /// The weights, downloaded if need be; `None` if the start is random.
    fn weights(&self, global: &Global) -> Result<Option<Weights>, Error> {
        let Some(source) = &self.weights else { return Ok(None) };
        let file = source.file(global)?;
        let sha256 = sha256(&file).map_err(|e| files::Error::read(&file, e))?;
        Ok(Some(Weights { file, sha256 }))
    }
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text.split_once('=') {
        None if text == "none" => Ok(Start { name: text.to_owned(), weights: None }),
        Some((name, weights)) if is_word(name) => {
            Ok(Start { name: name.to_owned(), weights: Some(OsString::from(weights).into()) })
        }
        _ => {
            Err("expected NAME=FILE or NAME=hf:OWNER/NAME with a name of letters, digits, - and _, or none".to_owned())
        }
    }
}

/// Whether a name can be part of a folder's name.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// A task with its data.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    task: Purpose,
    data: String,
}

fn parse_target(text: &str) -> Result<Target, String> {
    let wrong = || "expected TASK=DATA, such as detect=coco:DIR, with classify, segment, detect or depth".to_owned();
    let (task, data) = text.split_once('=').ok_or_else(wrong)?;
    let task = <Purpose as clap::ValueEnum>::from_str(task, false).map_err(|_| wrong())?;
    Ok(Target { task, data: data.to_owned() })
}

/// The runs of one start on one task.
#[derive(Serialize)]
struct Outcome {
    from: String,
    task: Purpose,
    data: String,
    /// The number that the task is judged by.
    #[serde(serialize_with = "label")]
    measure: Measure,
    /// That number after the last epoch of each run, of the averaged weights if there are any.
    numbers: Vec<f64>,
    runs: Vec<PathBuf>,
    /// Runs that --max-minutes ended, and how far they came.
    stopped: Vec<String>,
}

pub(super) fn run(args: Transfer, global: &Global) -> Result<(), Error> {
    let names: Vec<&String> = args.from.iter().map(|start| &start.name).collect();
    if let Some(twice) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name)) {
        return Err(Error::usage(format!("--from has the name {twice} twice: give each start a name of its own")));
    }
    let recipes = args.to.iter().map(|target| {
        let flags = RecipeFlags { task: Some(target.task), ..args.flags.clone() };
        Recipe::resolve(args.recipe.as_deref(), &flags)
    });
    let recipes = recipes.collect::<Result<Vec<Recipe>, _>>()?;
    // Missing weights are told, and those of the hub downloaded, before the first run.
    let starts = args.from.iter().map(|start| Ok((start, start.weights(global)?)));
    let starts = starts.collect::<Result<Vec<(&Start, Option<Weights>)>, Error>>()?;
    let gpu = global.gpu()?;
    let stop = Stop::on_signal(global.quiet)?;
    let pairs = args.to.iter().zip(&recipes).enumerate();
    let pairs: Vec<_> = pairs.flat_map(|(i, pair)| starts.iter().map(move |start| (i, pair, start))).collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (n, (column, (target, recipe), (start, weights))) in pairs.iter().enumerate() {
        let (mut trained, mut runs) = (Vec::new(), Vec::new());
        for run in 0..args.runs {
            let recipe = Recipe { seed: recipe.seed + run, ..(*recipe).clone() };
            let folder =
                args.out.join(format!("{}-{}-from-{}-seed-{}", column + 1, target.task, start.name, recipe.seed));
            if !global.quiet {
                eprintln!("{} of {}: {} from {}, seed {}", n + 1, pairs.len(), target.task, start.name, recipe.seed);
            }
            same_start(&folder, weights.as_ref().map_or("none", |weights| &weights.sha256))?;
            let settings = (&*target.data, &recipe, weights.as_ref().map(|weights| &*weights.file));
            let Some(one) = train(&gpu, global, &folder, settings, stop.requested())? else {
                if !global.quiet {
                    eprintln!("stopped in {}: give the same command again to go on", folder.display());
                }
                return Err(stop.error());
            };
            trained.push(one);
            runs.push(folder);
        }
        outcomes.extend(trained.first().map(|first| Outcome {
            from: start.name.clone(),
            task: target.task,
            data: target.data.clone(),
            measure: first.goal,
            numbers: trained.iter().map(|one| one.number).collect(),
            stopped: stopped(&runs, &trained),
            runs,
        }));
        let text = markdown(&args, &outcomes);
        files::write_atomic(&args.out.join("transfer.md"), |file| file.write_all(text.as_bytes()))?;
    }
    if global.json {
        return Ok(output::json(&outcomes)?);
    }
    write!(std::io::stdout().lock(), "{}", markdown(&args, &outcomes))?;
    Ok(())
}

/// The runs that time has ended, each with how far it came.
fn stopped(runs: &[PathBuf], trained: &[Trained]) -> Vec<String> {
    let told = |(run, one): (&PathBuf, &Trained)| Some(format!("{} {}", run.display(), one.stopped.as_ref()?));
    runs.iter().zip(trained).filter_map(told).collect()
}

/// Notes the weights that a new run starts from, in its folder, by their SHA-256. Refuses a run that is under way from
/// others: its result would be taken for theirs.
fn same_start(run: &Path, weights: &str) -> Result<(), Error> {
    let path = run.join("start.txt");
    if run.join("checkpoint/state.safetensors").exists() && path.exists() {
        if files::read_text(&path)?.trim() == weights {
            return Ok(());
        }
        return Err(Error::failed(format!(
            "{} holds a run from other weights of this name: give these another name, or choose another --out",
            run.display()
        )));
    }
    files::create_folder(run)?;
    Ok(files::write_atomic(&path, |file| writeln!(file, "{weights}"))?)
}

/// A row for each start and a column for each task.
fn markdown(args: &Transfer, outcomes: &[Outcome]) -> String {
    let of = |target: &Target, start: Option<&Start>| {
        let fits = |outcome: &&Outcome| {
            outcome.task == target.task && outcome.data == target.data && start.is_none_or(|s| s.name == outcome.from)
        };
        outcomes.iter().find(fits)
    };
    let mut heads = vec!["Start".to_owned()];
    heads.extend(args.to.iter().map(|target| {
        let measure = of(target, None).map_or(String::new(), |outcome| outcome.measure.label_with_unit());
        format!("{} ({}): {measure}", target.task, target.data)
    }));
    let mut table = Table::new(&heads);
    for start in &args.from {
        let mut cells = vec![start.name.clone()];
        cells.extend(
            args.to
                .iter()
                .map(|target| of(target, Some(start)).map_or("-".to_owned(), |o| cell(o.measure, &o.numbers))),
        );
        table.row(&cells);
    }
    let stopped: Vec<&str> = outcomes.iter().flat_map(|outcome| &outcome.stopped).map(String::as_str).collect();
    if !stopped.is_empty() {
        table.text += &format!("\nEnded early, since --max-minutes had passed: {}.\n", stopped.join("; "));
    }
    table.text
}

/// The mean, of shares in percent; with several numbers also their standard deviation.
fn cell(measure: Measure, numbers: &[f64]) -> String {
    if numbers.iter().any(|number| number.is_nan()) {
        return "unknown".to_owned();
    }
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let digits = if measure.is_share { 1 } else { 3 };
    if numbers.len() < 2 {
        return format!("{:.digits$}", measure.scaled(mean));
    }
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / (count - 1.0);
    format!("{:.digits$} ± {:.digits$}", measure.scaled(mean), measure.scaled(variance.sqrt()))
}

fn label<S: Serializer>(measure: &Measure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(measure.label)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn starts_and_tasks_are_read() {
        let start = |name: &str, weights| Start { name: name.into(), weights };
        assert_eq!(parse_start("none").unwrap(), start("none", None));
        assert_eq!(parse_start("rs-50=a=b").unwrap(), start("rs-50", Some(Source::File("a=b".into()))));
        let hub = Source::Hub("timm/resnetrs50.tf_in1k@main".into());
        assert_eq!(parse_start("rs=hf:timm/resnetrs50.tf_in1k@main").unwrap(), start("rs", Some(hub)));
        assert!(["run/best.safetensors", "a/b=c", "=c", ""].iter().all(|text| parse_start(text).is_err()));
        let target = Target { task: Purpose::Segment, data: "voc:D".into() };
        assert_eq!(parse_target("segment=voc:D").unwrap(), target);
        assert!(["voc:D", "segments=voc:D"].iter().all(|text| parse_target(text).is_err()));
    }

    #[test]
    fn a_run_under_way_stays_with_its_weights() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("out/1-detect-from-rs-seed-0");
        same_start(&run, "wrong").unwrap();
        same_start(&run, "right").unwrap();
        std::fs::create_dir(run.join("checkpoint")).unwrap();
        std::fs::write(run.join("checkpoint/state.safetensors"), "").unwrap();
        same_start(&run, "right").unwrap();
        let refused = format!("{:?}", same_start(&run, "other").unwrap_err());
        assert!(refused.contains("holds a run from other weights of this name"), "{refused}");
    }

    #[test]
    fn cells_are_means_with_deviations() {
        let top1 = Measure { name: "top1", label: "top-1", is_share: true, higher_is_better: true };
        assert_eq!(cell(top1, &[0.5]), "50.0");
        assert_eq!(cell(top1, &[0.5, 0.7]), "60.0 ± 14.1");
        assert_eq!(cell(top1, &[0.5, f64::NAN]), "unknown");
        let rmse = Measure { name: "rmse", label: "RMSE", is_share: false, higher_is_better: false };
        assert_eq!(cell(rmse, &[0.5, 0.7]), "0.600 ± 0.141");
    }
}
