//! `ablate`: the paper's studies of training methods on one's own data.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::signals::Stop;
use super::study::{Table, plain, signed, train};
use super::{Error, Global, output};
use crate::files;
use crate::models::{Layers, Purpose};
use crate::train::ablate::{PAPER_MODELS, Row, additive, weight_decay};
use crate::train::{Recipe, RecipeFlags};

/// Repeat the paper's ablations on your own data: which training methods pay there
///
/// The additive study begins with a plain ResNet trained for a quarter of --epochs and adds one method a row: cosine
/// decay, longer training, averaged weights, label smoothing, stochastic depth, RandAugment, dropout, less weight
/// decay, squeeze-and-excitation, ResNet-D. The study of weight decay crosses it with regularisation. Flags and
/// --recipe set the full recipe; methods that the recipe leaves at zero get their usual rate. Each row is a run of its
/// own in --out, which is resumed if the command is given again. Signals stop it as they stop train, with the same exit
/// status.
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
    /// The full recipe: small, paper, tpu, tfm, timm, efficientnet-rs or a TOML file; flags win over it
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

/// The result of a row.
#[derive(Serialize)]
struct Outcome {
    study: Study,
    label: String,
    weight_decay: f64,
    run: PathBuf,
    /// Top-1 in percent after the last epoch, of the averaged weights if there are any.
    top1: f64,
    paper_top1: [Option<f64>; 2],
    /// How far it came, if `max_minutes` cut it short.
    stopped: Option<String>,
}

pub(super) fn run(args: Ablate, global: &Global) -> Result<(), Error> {
    let full = Recipe::resolve(args.recipe.as_deref(), &args.flags)?;
    if full.task != Purpose::Classify || full.goal.is_some() {
        return Err(Error::usage("both studies compare top-1: leave out --task and --goal".into()));
    }
    if full.batch == 0 {
        return Err(Error::usage(
            "rows are compared at one batch, however much memory each takes: give --batch a number".into(),
        ));
    }
    if full.weight_decay == 0.0 {
        return Err(Error::usage(
            "both studies compare the weight decay with 2.5 times as much: give --weight-decay above 0".into(),
        ));
    }
    let layers = full.config()?.layers;
    if args.study.contains(&Study::Additive) && !matches!(layers, Layers::ResNet(_)) {
        return Err(Error::usage(format!(
            "the additive study ends in a ResNet-RS, which {} is not: give a ResNet as --model, or --study decay",
            full.model
        )));
    }
    let studies = args.study.iter().map(|&study| (study, rows(study, &full)));
    let rows: Vec<(Study, usize, Row)> =
        studies.flat_map(|(study, rows)| rows.into_iter().enumerate().map(move |(i, row)| (study, i, row))).collect();
    let gpu = global.gpu()?;
    let stop = Stop::on_signal(global.quiet)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (n, (study, i, row)) in rows.iter().enumerate() {
        if !global.quiet {
            eprintln!("{} of {}: {}", n + 1, rows.len(), row.label);
        }
        let folder = args.out.join(folder_name(*study, *i, &row.label));
        let settings = (&*args.data, &row.recipe, None);
        let Some(trained) = train(&gpu, global, &folder, settings, stop.requested())? else {
            if !global.quiet {
                eprintln!("stopped in {}: give the same command again to go on", folder.display());
            }
            return Err(stop.error());
        };
        let (label, weight_decay) = (row.label.clone(), row.recipe.weight_decay);
        let paper_top1 = row.paper;
        let (study, top1, stopped) = (*study, 100.0 * trained.number, trained.stopped);
        outcomes.push(Outcome { study, label, weight_decay, run: folder, top1, paper_top1, stopped });
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

/// A study's rows so far, laid out as in the paper, with the paper's figures beside them.
fn markdown(study: Study, outcomes: &[Outcome]) -> String {
    let rows: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.study == study).collect();
    let text = match study {
        Study::Additive => additive_table(&rows),
        Study::Decay => decay_table(&rows),
    };
    let cut = |row: &&Outcome| Some(format!("{} was stopped by --max-minutes, {}.", row.label, row.stopped.as_ref()?));
    let notes: String = rows.iter().filter_map(cut).map(|note| note + "\n").collect();
    text + "\n" + &notes
}

/// One method per row, as in the paper's table 1.
fn additive_table(rows: &[&Outcome]) -> String {
    let mut table = Table::new(&["Improvements", "Top-1", "Change", "Paper, ResNet-200", "Change"]);
    for (i, row) in rows.iter().enumerate() {
        let change = |of: fn(&Outcome) -> Option<f64>| Some(of(row)? - of(rows.get(i.checked_sub(1)?)?)?);
        let [_, paper] = row.paper_top1;
        let [ours, theirs] = [change(|o| Some(o.top1)), change(|o| o.paper_top1[1])].map(signed);
        table.row(&[row.label.clone(), plain(Some(row.top1)), ours, plain(paper), theirs]);
    }
    table.text
}

/// The decays side by side, as in the paper's table 2.
fn decay_table(rows: &[&Outcome]) -> String {
    let pairs: Vec<[&Outcome; 2]> = rows.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
    let Some([strong, weak]) = pairs.first() else { return String::new() };
    let mut heads = vec!["Regularization".to_owned()];
    heads.extend([strong, weak].map(|row| format!("WD {:.0e}", row.weight_decay)));
    heads.push("Change".into());
    for model in PAPER_MODELS {
        heads.extend([format!("Paper, {model}: 1e-4"), "4e-5".into(), "Change".into()]);
    }
    let mut table = Table::new(&heads);
    for [strong, weak] in pairs {
        let mut cells = vec![strong.label.clone()];
        let paper = (0..PAPER_MODELS.len()).map(|model| [strong, weak].map(|row| row.paper_top1[model]));
        for [strong, weak] in std::iter::once([Some(strong.top1), Some(weak.top1)]).chain(paper) {
            cells.extend([plain(strong), plain(weak), signed(strong.zip(weak).map(|(strong, weak)| weak - strong))]);
        }
        table.row(&cells);
    }
    table.text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(study: Study, label: &str, weight_decay: f64, top1: f64, paper_top1: [Option<f64>; 2]) -> Outcome {
        Outcome { study, label: label.into(), weight_decay, run: PathBuf::new(), top1, paper_top1, stopped: None }
    }

    #[test]
    fn tables_are_the_papers() {
        let (at_200, at_50) = (|top1| [None, Some(top1)], |top1| [Some(top1), None]);
        let mut rows = vec![
            outcome(Study::Additive, "baseline", 1e-3, 70.0, at_200(79.0)),
            outcome(Study::Additive, "+ cosine LR decay", 1e-3, 71.25, at_200(79.3)),
            outcome(Study::Decay, "RA+LS+DO", 1e-3, 70.0, at_50(82.2)),
            outcome(Study::Decay, "RA+LS+DO", 4e-4, 69.0, at_50(82.7)),
        ];
        let additive = markdown(Study::Additive, &rows);
        assert!(additive.contains("| baseline | 70.0 | - | 79.0 | - |\n"), "{additive}");
        assert!(additive.ends_with("| + cosine LR decay | 71.2 | +1.2 | 79.3 | +0.3 |\n\n"), "{additive}");
        let decay = markdown(Study::Decay, &rows);
        assert!(decay.contains("| WD 1e-3 | WD 4e-4 | Change | Paper, ResNet-50: 1e-4 | 4e-5 |"), "{decay}");
        assert!(decay.contains("| RA+LS+DO | 70.0 | 69.0 | -1.0 | 82.2 | 82.7 | +0.5 | - | - | - |\n"), "{decay}");
        rows[1].stopped = Some("after 3 of 9 steps".into());
        let additive = markdown(Study::Additive, &rows);
        assert!(
            additive.ends_with("\n\n+ cosine LR decay was stopped by --max-minutes, after 3 of 9 steps.\n"),
            "{additive}"
        );
        assert_eq!(folder_name(Study::Additive, 3, "+ EMA of weights"), "additive-04-ema-of-weights");
    }
}
