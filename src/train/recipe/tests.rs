#![allow(clippy::unwrap_used)]

use std::fs;

use clap::Parser;
use proptest::prelude::*;

use super::*;
use crate::data::{self, CropMode, Dataset, Transform, TruthKind};
use crate::models::{Layers, PRESETS, Preset, Purpose};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    recipe: RecipeFlags,
}

fn flags(line: &str) -> RecipeFlags {
    Cli::try_parse_from(["train"].into_iter().chain(line.split_whitespace())).unwrap().recipe
}

/// Resolves the text of a recipe file and a line of flags.
fn resolve(text: &str, line: &str) -> Result<Recipe, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    fs::write(&path, text).unwrap();
    Recipe::resolve(path.to_str(), &flags(line))
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let recipe = resolve("lr = 1\nbatch = 32\nmodel = 'resnet-rs-50'", "--lr 0.25 --depths 1,2,3,4").unwrap();
    let expected =
        Recipe { lr: 0.25, batch: 32, model: "resnet-rs-50".into(), depths: Some([1, 2, 3, 4]), ..Recipe::default() };
    assert_eq!(recipe, expected);
    assert_eq!(Recipe::resolve(None, &RecipeFlags::default()).unwrap(), Recipe::default());
}

#[test]
fn flags_may_mend_what_a_file_alone_leaves_wrong() {
    for (text, line) in [("momentum = 0", "--nesterov false"), ("accumulate = 3", "--batch 48")] {
        assert!(resolve(text, "").is_err(), "{text}");
        assert!(resolve(text, line).is_ok(), "{text} with {line}");
    }
}

#[test]
fn switches_take_a_value_or_none() {
    for (line, nesterov, shuffle) in [
        ("--nesterov --shuffle false", true, false),
        ("--nesterov false --shuffle", false, true),
        ("--nesterov=true --shuffle=true", true, true),
    ] {
        let recipe = Recipe::resolve(None, &flags(line)).unwrap();
        assert_eq!((recipe.nesterov, recipe.shuffle), (nesterov, shuffle), "{line}");
    }
}

#[test]
fn a_warmup_in_steps_replaces_one_in_epochs() {
    let rate = |text, line| resolve(text, line).unwrap().learning_rate(100).unwrap().warmup_steps;
    assert_eq!(rate("", ""), 50);
    assert_eq!(rate("", "--warmup-steps 7"), 7);
    assert_eq!(rate("warmup-steps = 3", ""), 3);
    assert_eq!(rate("warmup-steps = 3", "--warmup-epochs 2"), 200);
    let error = resolve("epochs = 2", "--warmup-steps 200").unwrap().learning_rate(100).unwrap_err().to_string();
    assert!(error.contains("takes 200 steps, but the whole run has 200"), "{error}");
    assert!(Cli::try_parse_from(["train", "--warmup-steps", "1", "--warmup-epochs", "1"]).is_err());
}

#[test]
fn built_in_recipes_hold_the_papers_and_timms_figures() {
    let none = RecipeFlags::default();
    let paper = Recipe::resolve(Some("paper"), &none).unwrap();
    let rate = paper.learning_rate(312).unwrap();
    assert_eq!((rate.total_steps, rate.warmup_steps, rate.peak), (109_200, 1_560, 1.6));
    let tpu = Recipe::resolve(Some("tpu"), &none).unwrap();
    let rate = tpu.learning_rate(312).unwrap();
    let drop = |epoch: u64| rate.lr(epoch * 312) / rate.lr(epoch * 312 - 1);
    assert!([116, 233, 311].iter().all(|&epoch| (drop(epoch) - 0.1).abs() < 1e-6));
    assert_eq!((tpu.bn_momentum, tpu.weight_decay), (1.0, 4e-5));
    assert_eq!((tpu.ema, tpu.decay, tpu.randaug_convention), (0.9999, Decay::NotNorm, Convention::Tpu));
    let tfm = Recipe::resolve(Some("tfm"), &none).unwrap();
    assert_eq!(tfm.learning_rate(312).unwrap().lr(1_560), paper.learning_rate(312).unwrap().lr(1_560));
    assert_eq!((tfm.nesterov, tfm.activation), (false, Some(ActivationChoice::Silu)));
    assert_eq!(Recipe::resolve(Some("small"), &none).unwrap(), Recipe::default(), "stated once more");
    let timm = Recipe::resolve(Some("timm"), &none).unwrap();
    assert_eq!((timm.epochs, timm.lr, timm.dropout), (300, 0.05, 0.0));
    for (recipe, res) in [(paper, Some(160)), (tpu, Some(160)), (tfm, Some(160)), (timm, None)] {
        assert_eq!((recipe.model.as_str(), recipe.res, recipe.label_smoothing), ("resnet-rs-50", res, 0.1));
    }
}

/// The magnitude of RandAugment by the size of the pictures (Bello et al. 2021, section 7.2), and the dropout of
/// tensorflow/tpu, models/official/efficientnet.
#[test]
fn efficientnet_rs_is_augmented_by_the_size_of_its_pictures() {
    for preset in PRESETS.iter().filter(|preset| preset.name.starts_with("efficientnet-rs")) {
        let recipe = Recipe::resolve(Some("efficientnet-rs"), &flags(&format!("--model {}", preset.name))).unwrap();
        let magnitude = match preset.res {
            ..=224 => 10.0,
            225..=320 => 15.0,
            321.. => 20.0,
        };
        let dropout = [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5];
        let size: usize = preset.name[preset.name.len() - 1..].parse().unwrap();
        assert_eq!((recipe.randaug_magnitude, recipe.dropout), (magnitude, dropout[size]), "{}", preset.name);
        assert_eq!(recipe.config().unwrap().layers, preset.layers);
    }
}

#[test]
fn a_model_is_what_its_name_says_unless_set_otherwise() {
    let layers = |line: &str| Recipe::resolve(None, &flags(line)).unwrap().config().map(|config| config.layers);
    for name in ["small", "resnet-50", "se-resnet-101", "efficientnet-b3"] {
        assert_eq!(layers(&format!("--model {name}")).unwrap(), Preset::find(name).unwrap().layers, "{name}");
    }
    let Layers::ResNet(plain) = layers("--model resnet-50 --se-ratio 0.25").unwrap() else { panic!("a ResNet") };
    assert_eq!((plain.se_ratio, plain.stem_downsampling), (0.25, StemDownsampling::MaxPool));
    let timm = Recipe::resolve(Some("timm"), &flags("--model efficientnet-b0")).unwrap();
    assert_eq!(timm.config().unwrap().layers, Preset::find("efficientnet-b0").unwrap().layers);
    let refused = layers("--model efficientnet-b0 --depths 1,1,1,1").unwrap_err().to_string();
    assert!(refused.contains("efficientnet-b0 has no depths"), "{refused}");
}

/// One size of pictures per depth, with the settings of tensorflow/tpu, models/official/resnet/resnet_rs/configs, and
/// of tensorflow/models, official/vision, imagenet_resnetrs*.yaml.
#[test]
fn the_authors_recipes_follow_the_model() {
    for (recipe, model, res, dropout, drop_path, magnitude) in [
        ("paper", "resnet-rs-101", 192, 0.25, 0.0, 15.0),
        ("tpu", "resnet-rs-200", 256, 0.25, 0.1, 15.0),
        ("tfm", "resnetrs350", 256, 0.25, 0.1, 15.0),
        ("tpu", "ResNet-RS-420", 320, 0.4, 0.1, 15.0),
        ("tfm", "resnet-rs-50", 160, 0.25, 0.0, 10.0),
    ] {
        let recipe = Recipe::resolve(Some(recipe), &flags(&format!("--model {model}"))).unwrap();
        let expected = (Some(res), dropout, drop_path, magnitude);
        assert_eq!((recipe.res, recipe.dropout, recipe.drop_path, recipe.randaug_magnitude), expected, "{model}");
    }
    let text = "model = 'resnet-rs-101'\nlr = 1\n[models.resnet-rs-101]\nlr = 2\n[models.small]\nlr = 3";
    for (line, lr) in [("", 2.0), ("--model small", 3.0), ("--model resnet-rs-152", 1.0), ("--lr 4", 4.0)] {
        assert_eq!(resolve(text, line).unwrap().lr, lr, "{line}");
    }
}

#[test]
fn a_batch_is_a_number_or_auto() {
    for (text, line, batch) in [("batch = 'auto'", "", 0), ("batch = 'auto'", "--batch 8", 8), ("", "--batch auto", 0)]
    {
        let recipe = resolve(text, line).unwrap();
        assert_eq!(recipe.batch, batch, "{text} {line}");
        assert_eq!(resolve(&recipe.to_toml().unwrap(), "").unwrap(), recipe);
    }
}

/// From the flag's size in the first epoch to the data's in the last, in multiples of 32 or, for small pictures, of 4.
#[test]
fn pictures_grow_evenly() {
    for (start, res, expected) in [
        (100, 224, [100, 128, 160, 192, 224]),
        (16, 32, [16, 20, 24, 28, 32]),
        (30, 32, [30, 32, 32, 32, 32]),
        (64, 32, [64, 56, 48, 40, 32]),
    ] {
        let recipe = Recipe { epochs: 5, res_start: Some(start), ..Recipe::default() };
        assert_eq!([0, 1, 2, 3, 4].map(|epoch| recipe.res_of_epoch(epoch, res)), expected, "{start} to {res}");
    }
    let once = Recipe { epochs: 1, res_start: Some(16), ..Recipe::default() };
    assert_eq!((once.res_of_epoch(0, 32), Recipe::default().res_of_epoch(0, 32)), (32, 32));
}

#[test]
fn mistakes_are_named() {
    for (text, line, expected) in [
        ("[models.small]\nlearning-rate = 1", "", "there is no setting learning-rate"),
        ("[models.smal]\nlr = 1", "", "my.toml: there is no model \"smal\""),
        ("models = 3", "", "my.toml: TOML parse error at line 1"),
        ("batch = 0", "", "expected a number above 0, or auto"),
        ("", "--batch 2000000", "--batch is 2000000; it must be at most 1048576"),
        ("", "--lr-scale fc=1,fc=2", "--lr-scale is fc=2; it must be one factor a part"),
        ("", "--freeze layer2 --lr-scale layer1=0.1", "--lr-scale is layer1=0.1; it must be of a part that learns"),
        ("btach = 3", "", "there is no setting btach; did you mean batch?"),
        ("warmup_epochs = 3", "", "did you mean warmup-epochs?"),
        ("[trainer]\nlr = 1", "", "there is no setting trainer"),
        ("lr = ", "", "my.toml: TOML parse error at line 1"),
        ("batch = 'many'", "", "line 1, column 9"),
        ("batch = -1", "", "line 1"),
        ("decay = 'some'", "", "unknown variant `some`"),
        ("depths = [1, 2, 3]", "", "line 1"),
        ("warmup-epochs = 1\nwarmup-steps = 1", "", "not both"),
        ("", "--batch 30 --accumulate 4", "--accumulate is 4; it must be a divisor of --batch"),
        ("", "--batch auto --accumulate 2", "--accumulate is 2"),
        ("freeze = 'fc'", "", "--freeze is fc"),
        ("", "--lr-scale head=2", "--lr-scale is head=2"),
        ("", "--clip-norm 0", "--clip-norm is 0"),
        ("", "--ema 1", "--ema is 1"),
        ("mixup = inf", "", "--mixup is inf"),
        ("cutmix = nan", "", "--cutmix is NaN"),
        ("", "--erasing 1.5", "--erasing is 1.5; it must be from 0 to 1"),
        ("", "--crop-shift 0.6", "--crop-shift is 0.6; it must be from 0 to 0.5"),
        ("", "--randaug-magnitude 31", "--randaug-magnitude is 31"),
        ("augment = 'randaugment'", "", "unknown variant `randaugment`"),
        ("", "--patience 0", "--patience is 0"),
        ("", "--goal miou", "--goal is miou, which --task classify does not measure: choose one of top1, top5"),
        ("", "--epochs 0", "--epochs is 0"),
        ("", "--lr 0", "--lr is 0; it must be a finite number above 0"),
        ("", "--lr -1", "--lr is -1"),
        ("lr = nan", "", "--lr is NaN"),
        ("lr = inf", "", "--lr is inf"),
        ("momentum = -0.1", "", "--momentum is -0.1"),
        ("", "--momentum 1", "--momentum is 1; it must be at least 0 and below 1"),
        ("", "--momentum 0", "--nesterov false"),
        ("", "--dropout 1", "--dropout is 1"),
        ("", "--drop-path 1", "--drop-path is 1"),
        ("", "--label-smoothing 1.5", "--label-smoothing is 1.5"),
        ("weight-decay = -1", "", "--weight-decay is -1"),
        ("", "--bn-momentum 0", "--bn-momentum is 0"),
        ("", "--res 0", "--res is 0"),
        ("", "--res 4097", "from 1 to 4096 px"),
        ("", "--width nan", "--width is NaN"),
        ("", "--depths 1,0,1,1", "--depths is [1, 0, 1, 1]"),
        ("warmup-epochs = inf", "", "--warmup-epochs is inf"),
        ("", "--max-steps 0", "--max-steps is 0"),
        ("seed = -1", "", "line 1"),
    ] {
        let error = resolve(text, line).unwrap_err().to_string();
        assert!(error.contains(expected), "{text} {line}: {error}");
    }
    let error = Recipe::resolve(Some("imagenet"), &RecipeFlags::default()).unwrap_err().to_string();
    assert!(error.contains("no recipe imagenet") && error.contains("timm"), "{error}");
    for line in [["train", "--depths", "1,2,3"], ["train", "--seed", "9223372036854775808"]] {
        assert!(Cli::try_parse_from(line).is_err());
    }
}

proptest! {
    #[test]
    fn toml_text_gives_the_same_recipe_back(
        (lr, decay, width) in (1e-12f64..1e6, 0.0f64..1.0, prop::option::of(0.125f32..8.0)),
        (seed, epochs, steps) in (0..=i64::MAX as u64, 1..u32::MAX, prop::option::of(0..1u64 << 40)),
        depths in prop::option::of(prop::array::uniform4(1usize..100)),
    ) {
        let recipe = Recipe {
            lr,
            weight_decay: decay,
            width,
            seed,
            epochs,
            warmup_steps: steps,
            warmup_epochs: if steps.is_some() { None } else { Some(decay) },
            depths,
            decay: if seed % 2 == 0 { Decay::All } else { Decay::Kernels },
            ..Recipe::default()
        };
        let text = recipe.to_toml().unwrap();
        prop_assert_eq!(resolve(&text, "").unwrap(), recipe, "{}", text);
    }
}

/// Boxes at the edges of a picture that is not square would be lost in its centre.
#[test]
fn dense_tasks_see_whole_pictures_without_augmentation() {
    let dataset = Dataset::open("shapes", TruthKind::Mask).unwrap();
    let recipe = Recipe { task: Purpose::Segment, augment: Augment::None, ..Recipe::default() };
    let card = recipe.task().card(&recipe, &dataset).unwrap();
    let Transform::Train { augmentation, .. } = recipe.transform(&dataset, &card) else { panic!("training") };
    assert_eq!(augmentation.crop, data::Augment::View(card.view()));
    assert_eq!(card.view().crop_mode, CropMode::Border);
}
