//! The paper's two studies of training methods as lists of recipes (Bello et al. 2021, tables 1 and 2).

use std::path::Path;

use super::{Augment, Checkpoint, Error, Recipe, RecipeFlags, Run, Schedule};
use crate::models::{Shortcut, Stem, StemDownsampling};

/// A run of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the run adds, or how it is regularised.
    pub label: String,
    /// Its settings.
    pub recipe: Recipe,
    /// Top-1 in the paper, percent, for [`PAPER_MODELS`]; `None` if the paper lacks the row.
    pub paper: [Option<f64>; 2],
}

/// The networks of the paper's studies.
pub const PAPER_MODELS: [&str; 2] = ["ResNet-50", "ResNet-200"];

/// The baseline's epochs and weight decay as multiples of the full recipe's: 90 / 350, and 1e-4 / 4e-5.
const SHORT: f64 = 90.0 / 350.0;
const STRONG_DECAY: f64 = 2.5;

/// Largest weight of the new batch in running statistics if no averages smooth them: the frameworks' default. The
/// paper's recipes use the last batch alone, which requires averaging.
const BN_MOMENTUM: f64 = 0.1;

/// Fills in the regularisation that the studies switch on and off, where the recipe sets none.
fn rates(full: &Recipe) -> Recipe {
    let or = |value: f64, usual: f64| if value > 0.0 { value } else { usual };
    Recipe {
        ema: or(full.ema, 0.999),
        label_smoothing: or(full.label_smoothing, 0.1),
        drop_path: or(full.drop_path, 0.1),
        dropout: or(full.dropout, 0.25),
        augment: Augment::Randaug,
        schedule: Schedule::Cosine,
        ..full.clone()
    }
}

/// A row's name, its top-1 in the paper, and a function that applies its change, given the full recipe.
type Step = (&'static str, f64, fn(&mut Recipe, &Recipe));

/// The additive study: a plain ResNet trained briefly, then one method after the other, up to the full recipe given.
pub fn additive(full: &Recipe) -> Vec<Row> {
    let full = rates(full);
    let mut recipe = Recipe {
        schedule: Schedule::Step,
        epochs: ((f64::from(full.epochs) * SHORT).round() as u32).max(1),
        warmup_epochs: full.warmup_epochs.map(|epochs| epochs * SHORT),
        warmup_steps: full.warmup_steps.map(|steps| (steps as f64 * SHORT) as u64),
        ema: 0.0,
        bn_momentum: full.bn_momentum.min(BN_MOMENTUM),
        label_smoothing: 0.0,
        drop_path: 0.0,
        dropout: 0.0,
        augment: Augment::Standard,
        weight_decay: STRONG_DECAY * full.weight_decay,
        se_ratio: Some(0.0),
        stem: Some(Stem::Plain),
        stem_downsampling: Some(StemDownsampling::MaxPool),
        shortcut: Some(Shortcut::Strided),
        ..full.clone()
    };
    let steps: [Step; 11] = [
        ("baseline", 79.0, |_, _| {}),
        ("+ cosine LR decay", 79.3, |r, full| r.schedule = full.schedule),
        ("+ longer training", 78.8, |r, full| {
            (r.epochs, r.warmup_epochs, r.warmup_steps) = (full.epochs, full.warmup_epochs, full.warmup_steps);
        }),
        ("+ EMA of weights", 79.1, |r, full| (r.ema, r.bn_momentum) = (full.ema, full.bn_momentum)),
        ("+ label smoothing", 80.4, |r, full| r.label_smoothing = full.label_smoothing),
        ("+ stochastic depth", 80.6, |r, full| r.drop_path = full.drop_path),
        ("+ RandAugment", 81.0, |r, full| r.augment = full.augment),
        ("+ dropout on fc", 80.7, |r, full| r.dropout = full.dropout),
        ("+ decreased weight decay", 82.2, |r, full| r.weight_decay = full.weight_decay),
        ("+ squeeze-and-excitation", 82.9, |r, full| {
            r.se_ratio = Some(full.se_ratio.filter(|&ratio| ratio > 0.0).unwrap_or(0.25));
        }),
        ("+ ResNet-D", 83.4, |r, _| {
            (r.stem, r.stem_downsampling) = (Some(Stem::Deep), Some(StemDownsampling::Conv));
            r.shortcut = Some(Shortcut::Pooled);
        }),
    ];
    let row = |(label, paper, add): Step| {
        add(&mut recipe, &full);
        Row { label: label.to_owned(), recipe: recipe.clone(), paper: [None, Some(paper)] }
    };
    steps.into_iter().map(row).collect()
}

/// The study of weight decay: without regularisation, with RandAugment and label smoothing, with dropout besides (the
/// paper's ResNet-50), and with stochastic depth besides (its ResNet-200), each at 2.5 times the given decay and at the
/// given decay, in that order.
pub fn weight_decay(full: &Recipe) -> Vec<Row> {
    let full = rates(full);
    let plain =
        Recipe { augment: Augment::Standard, label_smoothing: 0.0, dropout: 0.0, drop_path: 0.0, ..full.clone() };
    let smoothed = Recipe { augment: full.augment, label_smoothing: full.label_smoothing, ..plain.clone() };
    let dropped = Recipe { dropout: full.dropout, ..smoothed.clone() };
    let all = Recipe { drop_path: full.drop_path, ..dropped.clone() };
    let rows = [
        ("none", plain, [[Some(79.7), Some(82.5)], [Some(78.7), Some(81.7)]]),
        ("RA+LS", smoothed, [[Some(82.4), Some(85.2)], [Some(82.3), Some(84.9)]]),
        ("RA+LS+DO", dropped, [[Some(82.2), None], [Some(82.7), None]]),
        ("RA+LS+SD+DO", all, [[None, Some(85.3)], [None, Some(85.5)]]),
    ];
    let of_decays = |(label, recipe, paper): (&str, Recipe, [[Option<f64>; 2]; 2])| {
        let decays = [STRONG_DECAY * full.weight_decay, full.weight_decay];
        [0, 1].map(|i| Row {
            label: label.to_owned(),
            recipe: Recipe { weight_decay: decays[i], ..recipe.clone() },
            paper: paper[i],
        })
    };
    rows.into_iter().flat_map(of_decays).collect()
}

/// A row's run in its folder: a new one, or the one that was started there.
///
/// # Errors
/// If the folder holds a run on other data or with other settings.
pub fn begin(folder: &Path, data: &str, recipe: &Recipe) -> Result<(Run, Option<Checkpoint>), Error> {
    if !folder.join("checkpoint/state.safetensors").exists() {
        return Ok((Run::new(folder, data, recipe.clone())?, None));
    }
    // Settings that only say when to stop, what to keep, or how much memory to take may have changed.
    let until = RecipeFlags {
        checkpoint_minutes: Some(recipe.checkpoint_minutes),
        keep: Some(recipe.keep),
        recompute: Some(recipe.recompute),
        broken_at_most: Some(recipe.broken_at_most),
        ..RecipeFlags::default()
    };
    let (mut run, checkpoint) = Run::resume(folder, Some(data), &until, false)?;
    let Recipe { max_steps, max_minutes, patience, .. } = *recipe;
    run.recipe = Recipe { max_steps, max_minutes, patience, ..run.recipe };
    // The run has decided the settings that the row leaves to the data.
    let (hflip, goal) = (recipe.hflip.or(run.recipe.hflip), recipe.goal.clone().or(run.recipe.goal.clone()));
    let recipe = Recipe { hflip, goal, ..recipe.clone() };
    let settings = run.recipe.differences_but_for_layers(&recipe).into_iter();
    let all = [("data".to_owned(), checkpoint.data.clone(), data.to_owned())].into_iter().chain(settings);
    match all.into_iter().find(|(_, there, here)| there != here) {
        Some((name, there, here)) => {
            Err(Error::OtherRow { folder: folder.to_owned(), there: format!("--{name} {there}"), here })
        }
        None => Ok((run, Some(checkpoint))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_on_only_with_what_it_began_with() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe { max_steps: Some(7), ..Recipe::default() };
        let (_, none) = begin(folder.path(), "shapes", &recipe).unwrap();
        assert_eq!(none, None);
        let begun = Checkpoint { recipe: recipe.to_toml().unwrap(), data: "shapes".into(), ..Checkpoint::default() };
        begun.write(folder.path()).unwrap();
        let again = Recipe { max_steps: Some(9), ..recipe.clone() };
        let (run, checkpoint) = begin(folder.path(), "shapes", &again).unwrap();
        // The run has decided the settings that the row leaves to the data.
        assert_eq!((run.recipe, checkpoint), (Recipe { hflip: Some(0.5), ..again }, Some(begun)));
        // Older runs stated all switches of the network.
        let stated = Recipe { se_ratio: Some(0.25), stem: Some(Stem::Deep), ..recipe.clone() };
        assert!(begin(folder.path(), "shapes", &stated).is_ok());
        for (data, recipe, expected) in [
            ("idx:D", recipe.clone(), "--data shapes, now it would be idx:D"),
            ("shapes", Recipe { batch: 32, ..recipe }, "--batch 64, now it would be 32"),
        ] {
            let error = begin(folder.path(), data, &recipe).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("choose another --out"), "{error}");
        }
    }

    #[test]
    fn each_row_adds_one_method_and_the_last_is_the_full_recipe() {
        let full = Recipe {
            epochs: 35,
            warmup_epochs: Some(7.0),
            ema: 0.99,
            bn_momentum: 1.0,
            weight_decay: 1e-4,
            ..Recipe::default()
        };
        let rows = additive(&full);
        let changed: Vec<Vec<String>> = rows
            .windows(2)
            .map(|pair| pair[0].recipe.differences(&pair[1].recipe).into_iter().map(|(name, ..)| name).collect())
            .collect();
        let expected = [
            "schedule",
            "epochs warmup-epochs",
            "bn-momentum ema",
            "label-smoothing",
            "drop-path",
            "augment",
            "dropout",
            "weight-decay",
            "se-ratio",
            "shortcut stem stem-downsampling",
        ];
        for (changed, expected) in changed.iter().zip(expected) {
            assert_eq!(changed.join(" "), expected);
        }
        assert_eq!((rows[0].recipe.bn_momentum, rows[0].recipe.warmup_epochs), (0.1, Some(7.0 * SHORT)));
        assert_eq!((rows[0].recipe.epochs, rows[0].recipe.weight_decay), (9, 2.5e-4));
        let as_released = Recipe {
            se_ratio: Some(0.25),
            stem: Some(Stem::Deep),
            stem_downsampling: Some(StemDownsampling::Conv),
            shortcut: Some(Shortcut::Pooled),
            ..rates(&full)
        };
        assert_eq!(rows[10].recipe, as_released);
        let layers = |recipe: &Recipe| recipe.config().unwrap().layers;
        assert_eq!(layers(&rows[10].recipe), layers(&full));
        assert_eq!(rows.len(), 11);
    }

    #[test]
    fn decays_come_in_pairs() {
        let rows = weight_decay(&Recipe::default());
        for pair in rows.chunks(2) {
            let names: Vec<String> =
                pair[0].recipe.differences(&pair[1].recipe).into_iter().map(|(name, ..)| name).collect();
            assert_eq!(names, ["weight-decay"]);
            assert_eq!(pair[0].label, pair[1].label);
            assert!((pair[0].recipe.weight_decay / pair[1].recipe.weight_decay - 2.5).abs() < 1e-12);
        }
        let sets: Vec<&str> = rows.iter().step_by(2).map(|row| row.label.as_str()).collect();
        assert_eq!(sets, ["none", "RA+LS", "RA+LS+DO", "RA+LS+SD+DO"]);
    }
}
