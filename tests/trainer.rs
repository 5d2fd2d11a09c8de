//! Uses of a run beyond starting it: fine-tuning its weights, changing its precision, divergence.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use program::{idx, idx_folder, json, losses, metrics, program, said, succeed, words};
use resnet_rs::weights::StateDict;

/// A network that trains in a second, on the pictures of [`idx_folder`].
fn train(data: &Path, out: &Path, more: &str) -> String {
    let (data, out) = (data.display(), out.display());
    format!("train --data idx:{data} --out {out} --res 32 --width 0.25 --depths 1,1,1,1 {more}")
}

/// Pictures of two classes, dark and bright.
fn two_classes(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for (split, count) in [("train", 40), ("t10k", 20)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
        let pixels: Vec<u8> = labels.iter().zip(0u8..).flat_map(|(l, i)| [l * 180 + i; 28 * 28]).collect();
        std::fs::write(folder.join(format!("{split}-images-idx3-ubyte")), idx(&[count, 28, 28], &pixels)).unwrap();
        std::fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), idx(&[count], &labels)).unwrap();
    }
}

/// Ten classes first, then two other ones: once with everything frozen except the classifier, once with a learning rate
/// per part.
#[test]
fn weights_are_fine_tuned_to_other_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("ten"), 64, 32);
    two_classes(&path("two"));
    succeed(&train(&path("ten"), &path("first"), "--batch 16 --epochs 2 --ema 0"));
    let first = path("first/last.safetensors");
    let begun = StateDict::read(&first).unwrap();
    let drawn = succeed(&train(&path("ten"), &path("drawn"), "--batch 16 --max-steps 1 --freeze stem"));
    assert!(said(&drawn).contains("there is no --init to start from"), "{}", said(&drawn));

    let from = format!("--batch 8 --epochs 4 --ema 0 --weights {}", first.display());
    let deeper = train(&path("two"), &path("deeper"), &from).replace("1,1,1,1", "1,1,2,1");
    let refused = program(&words(&deeper)).output().unwrap();
    assert!(said(&refused).contains("another network than the run trains: add --model small"), "{}", said(&refused));
    assert!(!path("deeper").exists());
    let told = said(&succeed(&train(&path("two"), &path("probe"), &format!("{from} --freeze layer4"))));
    assert!(told.contains("the network tells 10 classes apart, the data has 2: the classifier starts anew"), "{told}");
    let probe = StateDict::read(&path("probe/last.safetensors")).unwrap();
    for (name, tensor) in &probe.tensors {
        if name.starts_with("fc.") {
            assert_eq!(tensor.shape[0], 2, "{name}");
        } else if !name.ends_with("num_batches_tracked") {
            assert!(begun.tensors[name] == *tensor, "{name} is frozen, and its statistics stand still");
        }
    }
    let best = |run: &str| {
        let top1 = metrics(&path(run), "val_top1").into_iter().map(|line| line["val_top1"].as_f64().unwrap());
        top1.fold(0.0, f64::max)
    };
    assert!(best("probe") > 0.5, "the classifier alone tells dark from bright better than chance");

    succeed(&train(&path("two"), &path("full"), &format!("{from} --lr-scale stem=0,layer1=0.1")));
    let full = StateDict::read(&path("full/last.safetensors")).unwrap();
    let moved = |name: &str| full.tensors[name] != begun.tensors[name];
    assert!(!moved("conv1.0.weight") && moved("layer1.0.conv1.weight") && moved("layer4.0.conv1.weight"));
    assert_eq!(best("full"), 1.0);
}

/// An EfficientNet learns, is killed and resumed to the same bits, and is fine-tuned with all parts frozen except the
/// classifier.
#[test]
fn an_efficientnet_trains_like_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("ten"), 64, 32);
    // The same pictures, odd and even.
    idx_folder(&path("two"), 64, 32);
    for split in ["train", "t10k"] {
        let file = path("two").join(format!("{split}-labels-idx1-ubyte"));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[8..].iter_mut().for_each(|label| *label %= 2);
        std::fs::write(&file, bytes).unwrap();
    }
    let train = |data: &str, out: &str, more: &str| {
        let (data, out) = (path(data).display().to_string(), path(out).display().to_string());
        format!("train --data idx:{data} --out {out} --model efficientnet-b0 --width 0.25 --res 64 --batch 8 {more}")
    };
    // After few steps, statistics lag behind fast-moving weights, and forty layers amplify the error.
    let recipe = "--epochs 12 --lr 0.02 --dropout 0.2 --drop-path 0.2 --ema 0.9 --bn-momentum 0.5";
    succeed(&train("ten", "whole", recipe));
    let of_whole = losses(&path("whole"));
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&of_whole[..5]), mean(&of_whole[of_whole.len() - 5..]));
    // The first loss is that of guessing.
    assert!((first - 10f64.ln()).abs() < 0.1 && last < 0.9 * first, "from {first} to {last}");

    succeed(&train("ten", "cut", &format!("{recipe} --max-steps 17")));
    succeed(&format!("train --resume {} --max-steps 96", path("cut").display()));
    for file in ["last.safetensors", "best.safetensors"] {
        let read = |run: &str| std::fs::read(path(run).join(file)).unwrap();
        assert!(read("whole") == read("cut"), "{file}");
    }

    let weights = path("whole/last.safetensors");
    let probe = format!("--epochs 1 --lr 0.001 --weights {} --freeze head --lr-scale classifier=2", weights.display());
    succeed(&train("two", "probe", &probe));
    let [begun, probe] = [weights, path("probe/last.safetensors")].map(|path| StateDict::read(&path).unwrap());
    for (name, tensor) in probe.tensors.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        assert_eq!(begun.tensors[name] == *tensor, !name.starts_with("classifier."), "{name}");
    }
    let refused = program(&words(&train("two", "new", "--freeze layer4"))).output().unwrap();
    assert!(said(&refused).contains("one of stem, blocks.0") && !path("new").exists(), "{}", said(&refused));
    succeed(&train("two", "mixed", "--epochs 2 --precision mixed --recompute"));
    assert!(losses(&path("mixed")).iter().all(|loss| loss.is_finite()));
}

/// The backbone is the classifier's: its batch norms stay as they are, its kernels learn. What such networks find is
/// told class by class.
#[test]
fn other_tasks_start_from_a_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("ten"), 64, 32);
    succeed(&train(&path("ten"), &path("first"), "--batch 16 --ema 0 --max-steps 4"));
    let begun = StateDict::read(&path("first/last.safetensors")).unwrap();
    // What pre-training without labels leaves: a backbone without a card, beside a part that has served its turn.
    let mut bare = StateDict::default();
    let of_backbone = begun.tensors.iter().filter(|(name, _)| !name.starts_with("fc."));
    bare.tensors = of_backbone.map(|(name, tensor)| (format!("backbone.{name}"), tensor.clone())).collect();
    bare.tensors.insert("projector.0.weight".into(), begun.tensors["fc.weight"].clone());
    bare.write(&path("bare.safetensors")).unwrap();
    for (init, task, head, prefix) in [
        ("first/last.safetensors", "detect", "--head-channels 8", "backbone.body."),
        ("bare.safetensors", "segment", "--head unet --decoder-widths 8,8,8,8,8", "backbone."),
    ] {
        let (init, run) = (path(init), path(task));
        let told = succeed(&format!(
            "train --task {task} --data shapes --model small {head} --res 64 --batch 8 --max-steps 2 --frozen-norm \
             --init {} --out {}",
            init.display(),
            run.display()
        ));
        assert!(said(&told).contains("its backbone is taken"), "{}", said(&told));
        let learnt = StateDict::read(&run.join("last.safetensors")).unwrap();
        let counts = |name: &str| name.ends_with("num_batches_tracked");
        for (name, tensor) in begun.tensors.iter().filter(|(name, _)| !name.starts_with("fc.") && !counts(name)) {
            let (layer, _) = name.rsplit_once('.').unwrap();
            let is_norm = begun.tensors.contains_key(&format!("{layer}.running_mean"));
            assert_eq!(learnt.tensors[&format!("{prefix}{name}")] == *tensor, is_norm, "{task}: {name}");
        }
        let weights = run.join("last.safetensors");
        let found = json(&format!("eval --data shapes --mistakes 2 --weights {}", weights.display()));
        let of_class = match task {
            "detect" => &found["per_class"]["heart"]["objects"],
            _ => &found["iou"]["heart"],
        };
        assert!(of_class.is_number(), "{task}: {found}");
        assert_eq!(found["pictures"], found["images"]);
        if task == "detect" {
            // Small pictures have no large objects.
            let numbers =
                ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ar1", "ar10", "ar100", "ar_small", "ar_medium"];
            assert!(numbers.iter().all(|name| found[name].is_number()), "{found}");
            assert!(["ap_large", "ar_large"].iter().all(|name| found[name].is_null()), "{found}");
        }
    }
    // A classifier too, and not one of other blocks.
    let from_bare = format!("--batch 16 --max-steps 1 --init {}", path("bare.safetensors").display());
    let told = succeed(&train(&path("ten"), &path("classifier"), &from_bare));
    assert!(said(&told).contains("its backbone is taken"), "{}", said(&told));
    let deeper = train(&path("ten"), &path("deeper"), &from_bare).replace("1,1,1,1", "1,1,2,1");
    let refused = program(&words(&deeper)).output().unwrap();
    assert!(said(&refused).contains("--model small"), "{}", said(&refused));
}

/// The averages of few steps differ from the last weights, so that four numbers are compared.
#[test]
fn the_goal_decides_the_best_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let ended = json(&train(&path("data"), &path("run"), "--batch 16 --epochs 2 --ema 0.5 --goal top5 --keep 1"));
    let reached = |name: &str| {
        let lines = metrics(&path("run"), name);
        lines.iter().map(|line| line[name].as_f64().unwrap()).fold(0.0, f64::max)
    };
    let best = reached("val_top5").max(reached("ema_top5"));
    assert_eq!(ended["best_top5"], best, "{ended}");
    assert!(best > reached("val_top1").max(reached("ema_top1")));
    let kept = std::fs::read_dir(path("run/top")).unwrap().next().unwrap().unwrap().file_name();
    assert!(kept.to_string_lossy().starts_with(&format!("{best:.6}-epoch")), "{kept:?}");

    // The best weights by another number are gone.
    let resume = format!("train --resume {} --goal top1 --force", path("run").display());
    let refused = program(&words(&resume)).output().unwrap();
    assert!(said(&refused).contains("--goal was \"top5\" and is \"top1\" now, for which the run did not keep"));
}

/// The precision is a setting like others: changing it needs --force, and then the run continues where it stopped.
#[test]
fn a_run_goes_on_in_the_other_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let new = |precision: &str| {
        let run = path(precision);
        succeed(&train(&path("data"), &run, &format!("--batch 16 --epochs 3 --max-steps 6 --precision {precision}")));
        run
    };
    for (then, now) in [("f32", "mixed"), ("mixed", "f32")] {
        let run = new(then);
        let resume = format!("train --resume {} --precision {now}", run.display());
        let refused = program(&words(&resume)).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let told = said(&refused);
        assert!(told.contains(&format!("--precision was \"{then}\" and is \"{now}\"")), "{told}");
        succeed(&format!("{resume} --force"));
        let losses = losses(&run);
        assert_eq!(losses.len(), 12);
        assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
        let of_mixed = |line: &serde_json::Value| line.get("skipped").is_some();
        let lines = metrics(&run, "loss");
        assert!(lines[..6].iter().all(|line| of_mixed(line) == (then == "mixed")));
        assert!(lines[6..].iter().all(|line| of_mixed(line) == (now == "mixed")));
    }
}

/// A batch in parts has the same states as a whole one, averages of running statistics included.
#[test]
fn a_run_goes_on_in_parts_and_with_moved_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    succeed(&train(&path("data"), &path("run"), "--batch 16 --epochs 3 --max-steps 4 --ema 0.9"));
    std::fs::rename(path("data"), path("moved")).unwrap();
    let (run, moved) = (path("run").display().to_string(), path("moved").display().to_string());
    let resume = format!("train --resume {run} --data idx:{moved}");
    let lost = program(&words(&format!("train --resume {run}"))).output().unwrap();
    assert!(said(&lost).contains("data: there is no such folder"), "{}", said(&lost));
    succeed(&format!("{resume} --accumulate 2 --max-steps 6 --force"));
    succeed(&format!("train --resume {run} --accumulate 1 --force"));
    assert_eq!(losses(&path("run")).len(), 12);
    let weights = |name: &str| StateDict::read(&path("run").join(name)).unwrap();
    let (raw, averaged) = (weights("last.safetensors"), weights("last-ema.safetensors"));
    for name in ["conv1.0.weight", "bn1.running_mean", "layer4.0.bn3.running_var", "fc.bias"] {
        assert!(raw.tensors[name] != averaged.tensors[name], "{name}");
    }
}

/// A change that would give the finished steps another meaning is refused, even with --force; other changes are kept in
/// run.toml.
#[test]
fn a_run_goes_on_only_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    idx_folder(&folder.path().join("data"), 64, 32);
    succeed(&train(&folder.path().join("data"), &run, "--batch 16 --epochs 2 --max-steps 2 --ema 0"));
    for (flags, expected) in [
        ("--batch 32", "an epoch had 4 steps when the run began and has 2 now"),
        ("--width 0.5", "--width was 0.25 and is 0.5 now, for which the run did not keep what is needed"),
        (
            "--optimizer adamw",
            "--optimizer was \"sgd\" and is \"adamw\" now, for which the run did not keep what is needed",
        ),
        ("--ema 0.9", "--ema was 0.0 and is 0.9 now, for which the run did not keep what is needed"),
    ] {
        let output = program(&words(&format!("train --resume {} {flags} --force", run.display()))).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    let output = succeed(&format!("train --resume {} --lr 0.01 --max-steps 3 --force", run.display()));
    assert!(said(&output).contains("ended after 3 of 8 steps, as --max-steps says"), "{}", said(&output));
    assert!(std::fs::read_to_string(run.join("run.toml")).unwrap().contains("\nlr = 0.01\n"));
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    idx_folder(&folder.path().join("data"), 96, 32);
    let output = program(&words(&format!("train --resume {}", run.display()))).output().unwrap();
    assert!(
        said(&output).contains("the run began with 64 training pictures and there are 96 now"),
        "{}",
        said(&output)
    );
}

/// A folder of pictures in two classes, dark and bright.
fn picture_folder(folder: &Path) {
    for (split, count) in [("train", 16), ("val", 6)] {
        for (class, grey) in [("cat", 40), ("fox", 200)] {
            let class = folder.join(split).join(class);
            std::fs::create_dir_all(&class).unwrap();
            for i in 0..count {
                let pixel = image::Rgb([grey + i, grey, i]);
                image::RgbImage::from_pixel(40, 32, pixel).save(class.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
}

/// Validation pictures are removed, a picture breaks and is repaired, a class is renamed: nothing is lost or confused.
#[test]
fn pictures_change_under_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    picture_folder(&data);
    let first = train(&data, &run, "--batch 8 --epochs 6 --lr 1e-9 --shuffle false --max-steps 6 --ema 0");
    succeed(&first.replace("idx:", "folder:"));
    let resume = |more: &str| program(&words(&format!("train --resume {} {more}", run.display()))).output().unwrap();

    for i in 1..6 {
        std::fs::remove_file(data.join(format!("val/cat/{i:02}.png"))).unwrap();
        std::fs::remove_file(data.join(format!("val/fox/{i:02}.png"))).unwrap();
    }
    let output = resume("--max-steps 7");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let picture = data.join("train/fox/10.png");
    let bytes = std::fs::read(&picture).unwrap();
    std::fs::write(&picture, &bytes[..bytes.len() / 2]).unwrap();
    let output = resume("--max-steps 8");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // The fourth step of the epoch has that picture.
    assert!(said(&output).contains("train/fox/10.png cannot be read"), "{}", said(&output));
    std::fs::write(&picture, &bytes).unwrap();
    let output = resume("--max-steps 9");
    assert!(said(&output).contains("1 broken picture can be read again: fox/10.png"), "{}", said(&output));
    assert_eq!(losses(&run).len(), 9);

    for split in ["train", "val"] {
        std::fs::rename(data.join(split).join("cat"), data.join(split).join("wolf")).unwrap();
    }
    let output = resume("");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the run began with cat in the place of wolf"), "{}", said(&output));
}

/// Without progress a run ends by itself; after its time limit it can be resumed.
#[test]
fn runs_end_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let still = "--batch 16 --epochs 9 --lr 1e-12 --bn-momentum 1e-12 --ema 0";
    let ended = json(&train(&path("data"), &path("patient"), &format!("{still} --patience 2")));
    assert_eq!((&ended["ended"], &ended["steps"]), (&"patience".into(), &12.into()), "{ended}");
    let ended = json(&train(&path("data"), &path("short"), &format!("{still} --max-minutes 1e-6")));
    assert_eq!(ended["ended"], "time", "{ended}");
    let ended = json(&format!("train --resume {} --max-steps 5", path("short").display()));
    assert_eq!((&ended["ended"], &ended["steps"]), (&"steps".into(), &5.into()), "{ended}");
}

/// The messages of a run that diverges from the start.
fn diverging(flags: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let flags = format!("--epochs 6 --warmup-epochs 0 --ema 0 {flags}");
    let output = program(&words(&train(&path("data"), &path("run"), &flags))).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.matches("going back to step 0").count(), 3, "{told}");
    assert!(told.contains("after 3 returns to an earlier checkpoint"), "{told}");
    told
}

/// An exploding loss is a divergence as well: the run returns to the checkpoint three times.
#[test]
fn a_loss_that_explodes_is_a_divergence() {
    let told = diverging("--batch 16 --lr 1e5");
    assert!(told.contains("the loss of step 1 is "), "{told}");
}

/// The state explodes in the last update of an epoch: the run must not return to the state saved after it.
#[test]
fn an_exploded_state_is_not_a_good_checkpoint() {
    let told = diverging("--batch 64 --lr 1e4");
    assert!(told.contains("epoch 1: "), "the epoch's validation is through: {told}");
    assert!(told.contains("the loss of step 1 is "), "{told}");
}

/// Two processes in one folder would undo each other's work. A killed process holds no lock.
#[test]
fn a_run_is_trained_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    idx_folder(&folder.path().join("data"), 64, 32);
    let line = train(&folder.path().join("data"), &run, "--batch 16 --epochs 1000");
    let mut first = program(&words(&line)).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !run.join("checkpoint/state.safetensors").exists() {
        assert!(first.try_wait().unwrap().is_none() && Instant::now() < deadline, "the run has not begun");
        std::thread::sleep(Duration::from_millis(10));
    }
    let resume = format!("train --resume {} --max-steps 1", run.display());
    let second = program(&words(&resume)).output().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another process trains in"), "{}", said(&second));
    succeed(&resume);
}

/// The last update of an epoch makes weights infinite: validation comes before the loss that would show it.
#[test]
fn weights_that_are_no_longer_finite_are_a_divergence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let init = steep(folder.path());
    let flags = format!("--batch 64 --epochs 4 --warmup-epochs 0 --lr 1e37 --init {}", init.display());
    let output = program(&words(&train(&path("data"), &path("run"), &flags))).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("weights are no longer finite after step 0: going back to step 0"), "{told}");
    assert!(told.contains("after 3 returns to an earlier checkpoint"), "{told}");
}

/// Weights with such a small feature, followed by such a large weight, that the loss is ordinary but the feature's
/// gradient exceeds f16 even unscaled. Needs `data` in the folder.
fn steep(folder: &Path) -> PathBuf {
    succeed(&train(&folder.join("data"), &folder.join("first"), "--batch 4 --max-steps 1 --ema 0"));
    let mut weights = StateDict::read(&folder.join("first/last.safetensors")).unwrap();
    for (name, value) in [("layer4.0.downsample.2.weight", 1e-6), ("layer4.0.bn3.weight", 0.0), ("fc.weight", 0.0)] {
        weights.tensors.get_mut(name).unwrap().data.fill(value);
    }
    weights.tensors.get_mut("fc.weight").unwrap().data[0] = 4e6;
    let path = folder.join("steep.safetensors");
    weights.write(&path).unwrap();
    path
}

/// No loss scale helps: every step is skipped, and after three returns the run fails.
#[test]
fn gradients_that_never_fit_are_told_from_a_large_loss_scale() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    idx_folder(&path("data"), 64, 32);
    let flags = format!("--batch 4 --epochs 40 --precision mixed --init {}", steep(folder.path()).display());
    let output = program(&words(&train(&path("data"), &path("run"), &flags))).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the gradients of 31 steps up to step 30 were not finite"), "{told}");
    assert!(told.contains("after 3 returns to an earlier checkpoint"), "{told}");
}
