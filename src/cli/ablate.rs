//! `ablate`: the paper's studies of training methods on one's own data.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::train::{Display, stop_on_interrupt};
use super::{Error, Global, output};
use crate::files;
use crate::gpu::Gpu;
use crate::train::ablate::{Row, additive, begin, weight_decay};
use crate::train::{Ended, Line, Recipe, RecipeFlags, Trainer, metrics};

/// Repeat the paper's ablations on your own data: which training methods pay there
///
/// The additive study begins with a plain ResNet trained for a quarter of --epochs and adds one method a row: cosine decay, longer
/// training, averaged weights, label smoothing, stochastic depth, RandAugment, dropout, less weight decay,
/// squeeze-and-excitation, ResNet-D. The study of weight decay crosses it with regularisation. Flags and --recipe set the full
/// recipe; what it leaves at zero is taken at its usual rate. Each row is a run of its own in --out, which goes on where it
/// was if the command is given again.
#[derive(Args)]
pub(super) struct Ablate {
    /// Pictures, as for train
    #[arg(long, value_name = "DATA")]
    data: String,
    /// Folder for the runs and the tables
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which studies
    #[arg(long, value_enum, value_delimiter = ',', default_value = "additive,decay")]
    study: Vec<Study>,
    /// The full recipe: small, paper, tpu, tfm, timm or a TOML file; flags win over it
    #[arg(long, value_name = "NAME|FILE")]
    recipe: Option<String>,
    #[command(flatten)]
    flags: RecipeFlags,
}

/// A table of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Study {
    /// Table 1: one method after the other.
    Additive,
    /// Table 2: weight decay against regularisation.
    Decay,
}

/// What a row has come to.
#[derive(Serialize)]
struct Outcome {
    study: Study,
    label: String,
    weight_decay: f64,
    run: PathBuf,
    /// Percent, of the averaged weights where there are any, after the last epoch.
    top1: f64,
    paper_top1: f64,
}

pub(super) fn run(args: Ablate, global: &Global) -> Result<(), Error> {
    let full = Recipe::resolve(args.recipe.as_deref(), &args.flags)?;
    if full.batch == 0 {
        return Err(Error::usage(
            "rows are compared at one batch, however much memory each takes: give --batch a number".into(),
        ));
    }
    let studies = args.study.iter().map(|&study| (study, rows(study, &full)));
    let rows: Vec<(Study, usize, Row)> =
        studies.flat_map(|(study, rows)| rows.into_iter().enumerate().map(move |(i, row)| (study, i, row))).collect();
    let gpu = global.gpu()?;
    let stop = stop_on_interrupt(global.quiet)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (n, (study, i, row)) in rows.iter().enumerate() {
        if !global.quiet {
            eprintln!("{} of {}: {}", n + 1, rows.len(), row.label);
        }
        let folder = args.out.join(folder_name(*study, *i, &row.label));
        let Some(top1) = train(&gpu, global, &folder, &args.data, &row.recipe, &stop)? else {
            return Err(Error::failed(format!(
                "stopped in {}: give the same command again to go on",
                folder.display()
            )));
        };
        let (label, weight_decay) = (row.label.clone(), row.recipe.weight_decay);
        let paper_top1 = row.paper_top1;
        outcomes.push(Outcome { study: *study, label, weight_decay, run: folder, top1: 100.0 * top1, paper_top1 });
        let text: String = args.study.iter().map(|&study| markdown(study, &outcomes)).collect();
        files::write_atomic(&args.out.join("ablation.md"), |file| file.write_all(text.as_bytes()))?;
    }
    if global.json {
        return Ok(output::json(&outcomes)?);
    }
    let mut out = std::io::stdout().lock();
    args.study.iter().try_for_each(|&study| write!(out, "{}", markdown(study, &outcomes)))?;
    Ok(())
}

fn rows(study: Study, full: &Recipe) -> Vec<Row> {
    match study {
        Study::Additive => additive(full),
        Study::Decay => weight_decay(full),
    }
}

fn folder_name(study: Study, i: usize, label: &str) -> String {
    let words: Vec<&str> = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{study:?}-{:02}-{}", i + 1, words.join("-")).to_lowercase()
}

/// Trains a row, or goes on with it; a finished one is only read. `None` if it was stopped.
fn train(
    gpu: &Gpu,
    global: &Global,
    folder: &Path,
    data: &str,
    recipe: &Recipe,
    stop: &AtomicBool,
) -> Result<Option<f64>, Error> {
    let (run, checkpoint) = begin(folder, data, recipe)?;
    let display = Display::new(global, checkpoint.as_ref());
    let trainer = Trainer::new(gpu, run, checkpoint, None, &display, stop)?;
    let summary = trainer.train();
    display.finish();
    if summary?.ended == Ended::Interrupted {
        return Ok(None);
    }
    let mut epochs = metrics::read(folder)?.into_iter().filter_map(|line| match line {
        Line::Epoch(epoch) => Some(epoch.ema_top1.unwrap_or(epoch.val_top1)),
        Line::Step(_) => None,
    });
    epochs.next_back().map(Some).ok_or_else(|| {
        Error::failed(format!("{} has validated no epoch: raise --max-steps or --max-minutes", folder.display()))
    })
}

/// A study's rows so far, laid out as in the paper, its figures beside.
fn markdown(study: Study, outcomes: &[Outcome]) -> String {
    let rows: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.study == study).collect();
    match study {
        Study::Additive => {
            let mut text =
                "| Improvements | Top-1 | Change | Paper, ResNet-200 | Change |\n|---|---|---|---|---|\n".to_owned();
            for (i, row) in rows.iter().enumerate() {
                let change = |of: fn(&Outcome) -> f64| {
                    if i == 0 { "-".to_owned() } else { format!("{:+.1}", of(row) - of(rows[i - 1])) }
                };
                let (ours, paper) = (change(|o| o.top1), change(|o| o.paper_top1));
                let Outcome { label, top1, paper_top1, .. } = row;
                text += &format!("| {label} | {top1:.1} | {ours} | {paper_top1:.1} | {paper} |\n");
            }
            text + "\n"
        }
        Study::Decay => {
            let mut text = String::new();
            for (i, pair) in rows.chunks(2).filter(|pair| pair.len() == 2).enumerate() {
                let [strong, weak] = [pair[0], pair[1]];
                if i == 0 {
                    text += &format!(
                        "| Regularization | WD {:.0e} | WD {:.0e} | Change | Paper, ResNet-200: 1e-4 | 4e-5 | Change |\n|---|---|---|---|---|---|---|\n",
                        strong.weight_decay, weak.weight_decay
                    );
                }
                text += &format!(
                    "| {} | {:.1} | {:.1} | {:+.1} | {:.1} | {:.1} | {:+.1} |\n",
                    strong.label,
                    strong.top1,
                    weak.top1,
                    weak.top1 - strong.top1,
                    strong.paper_top1,
                    weak.paper_top1,
                    weak.paper_top1 - strong.paper_top1
                );
            }
            text + "\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(study: Study, label: &str, weight_decay: f64, top1: f64, paper_top1: f64) -> Outcome {
        Outcome { study, label: label.into(), weight_decay, run: PathBuf::new(), top1, paper_top1 }
    }

    #[test]
    fn tables_are_the_papers() {
        let rows = [
            outcome(Study::Additive, "baseline", 1e-3, 70.0, 79.0),
            outcome(Study::Additive, "+ cosine LR decay", 1e-3, 71.25, 79.3),
            outcome(Study::Decay, "none", 1e-3, 70.0, 82.5),
            outcome(Study::Decay, "none", 4e-4, 69.0, 81.7),
        ];
        assert!(markdown(Study::Additive, &rows).ends_with("| + cosine LR decay | 71.2 | +1.2 | 79.3 | +0.3 |\n\n"));
        let decay = markdown(Study::Decay, &rows);
        assert!(
            decay.contains("WD 1e-3 | WD 4e-4") && decay.contains("| none | 70.0 | 69.0 | -1.0 | 82.5 | 81.7 | -0.8 |")
        );
        assert_eq!(folder_name(Study::Additive, 3, "+ EMA of weights"), "additive-04-ema-of-weights");
    }
}
