//! Realistic data through the program: broken pictures, pictures that are added and removed, classes by name, moved
//! folders.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use image::{Rgb, RgbImage};
use program::{idx_folder, json, losses, program, said, succeed, words};
use resnet_rs::weights::StateDict;
use serde_json::Value;
use tempfile::TempDir;

/// Writes a picture in its class's colour, with some noise.
fn put(path: &Path, class: usize, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut noise = (class * 1000 + number) as u32;
    let picture = RgbImage::from_fn(24, 20, |_, _| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (noise >> 28) as u8;
        Rgb([[200, 30, 90], [30, 180, 60], [40, 60, 220]][class % 3].map(|value| value + grain))
    });
    picture.save(path).unwrap();
}

/// Makes a folder of pictures in these classes, 20 training and 8 validation pictures each.
fn folder(at: &Path, classes: &[&str]) {
    for (split, count, first) in [("train", 20, 0), ("val", 8, 500)] {
        for (label, class) in classes.iter().enumerate() {
            let path = |number: usize| at.join(format!("{split}/{class}/{number:03}.png"));
            (0..count).for_each(|number| put(&path(number), label, first + number));
        }
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command line in which `@name` stands for the path of that name.
    fn line(&self, line: &str) -> String {
        line.replace('@', &format!("{}/", self.0.path().display()))
    }

    fn run(&self, line: &str) -> Output {
        program(&words(&self.line(line))).output().unwrap()
    }

    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("error: ") && !said.contains("panicked"), "{line}: {said}");
        said
    }

    fn weights(&self, run: &str) -> Vec<u8> {
        fs::read(self.path(run).join("last.safetensors")).unwrap()
    }
}

/// A run of a second or two.
const QUICK: &str = "--batch 8 --res 24 --ema 0 --lr 0.02";

#[test]
fn a_broken_picture_never_ends_a_run() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    let broken = [("cat/003.png", &b"<html>404</html>"[..]), ("dog/011.png", b"")];
    for (name, bytes) in broken {
        fs::write(p.path("pets/train").join(name), bytes).unwrap();
    }
    fs::write(p.path("pets/train/notes.txt"), "").unwrap();

    let refused = p.refused(&format!("train --data folder:@pets --out @refused {QUICK}"));
    assert!(refused.contains("40 training and 16 validation pictures in 2 classes"), "{refused}");
    assert!(refused.contains("passed over: 1 .txt"), "{refused}");
    assert!(refused.contains("2 of 40 train pictures cannot be read, more than 1 %"), "{refused}");
    assert!(refused.contains("train/cat/003.png: ") && refused.contains("train/dog/011.png: "), "{refused}");
    assert!(!p.path("refused").exists(), "nothing is left of a run that did not begin");

    let train = |out: &str, more: &str| {
        p.line(&format!("train --data folder:@pets --out @{out} {QUICK} --epochs 4 --broken-at-most 0.1 {more}"))
    };
    let whole = said(&succeed(&train("whole", "")));
    assert!(whole.contains("train/cat/003.png cannot be read") && whole.contains("another takes its place"), "{whole}");
    assert_eq!(losses(&p.path("whole")).len(), 20, "their places are taken");
    let report = fs::read_to_string(p.path("whole/report.html")).unwrap();
    assert!(report.contains("2 pictures could not be read") && report.contains("003.png"), "the report has them");
    succeed(&train("unchecked", "").replace("0.1", "1"));
    assert!(p.weights("whole") == p.weights("unchecked"), "the bits depend on the files alone");

    // Follows the message: one picture is removed, another replaced by a different one. The run is resumed with a note
    // on that.
    succeed(&train("removed", "--max-steps 7"));
    fs::remove_file(p.path("pets/train/cat/003.png")).unwrap();
    let resumed = said(&succeed(&p.line("train --resume @removed")));
    assert!(resumed.contains("gone since the run began: 1 of 40 training pictures (cat/003.png)"), "{resumed}");
    assert!(p.weights("whole") == p.weights("removed"), "a picture that is gone counts like a broken one");
    let list = fs::read_to_string(p.path("removed/broken.json")).unwrap();
    assert!(list.contains("dog/011.png") && !list.contains("cat/003.png"), "what is gone is broken no more: {list}");

    succeed(&train("mended", "--max-steps 7"));
    put(&p.path("pets/train/dog/011.png"), 1, 11);
    put(&p.path("pets/train/dog/new.png"), 1, 99);
    fs::rename(p.path("pets/val/dog/000.png"), p.path("pets/val/dog/renamed.png")).unwrap();
    let resumed = said(&succeed(&p.line("train --resume @mended")));
    assert!(resumed.contains("train: 1 broken picture can be read again: dog/011.png"), "{resumed}");
    assert!(resumed.contains("goes on without 1 new training picture"), "{resumed}");
    assert!(resumed.contains("validation pictures since the run began: 1 of 16 gone, 1 new"), "{resumed}");
    assert!(!p.path("mended/broken.json").exists(), "nothing is broken any more");
    // The run began with 39 pictures.
    assert_eq!(losses(&p.path("mended")).len(), 16);

    for number in 0..20 {
        fs::rename(
            p.path(&format!("pets/train/cat/{number:03}.png")),
            p.path(&format!("pets/train/cat/x{number}.png")),
        )
        .ok();
        fs::remove_file(p.path(&format!("pets/train/dog/{number:03}.png"))).unwrap();
    }
    let other = p.refused("train --resume @removed --epochs 5 --force");
    assert!(other.contains("40 of the 40 training pictures that the run began with are not there"), "{other}");
}

#[test]
fn evaluation_gives_the_figures_of_what_can_be_read() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    succeed(&p.line(&format!("train --data folder:@pets --out @run {QUICK} --max-steps 1")));
    let eval = "eval --data folder:@pets --weights @run/last.safetensors --json";
    let whole = json(&p.line(eval.trim_end_matches(" --json")));
    assert_eq!(whole["images"], 16);
    fs::write(p.path("pets/val/cat/003.png"), "<html>").unwrap();
    let output = p.run(eval);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("1 of 16 pictures could not be read"), "{}", said(&output));
    let others: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&others["images"], &others["broken"][0]["picture"]), (&15.into(), &"cat/003.png".into()));
    assert!((others["loss"].as_f64().unwrap() - whole["loss"].as_f64().unwrap()).abs() < 0.1, "{others} {whole}");

    // The validation pictures alone suffice, also without a split's folder.
    fs::remove_file(p.path("pets/val/cat/003.png")).unwrap();
    fs::remove_dir_all(p.path("pets/train")).unwrap();
    let alone = json(&p.line(eval.trim_end_matches(" --json")));
    assert_eq!(alone["loss"], others["loss"]);
    let direct = json(&p.line("eval --data folder:@pets/val --weights @run/last.safetensors"));
    assert_eq!(direct["loss"], alone["loss"]);
    for number in 0..8 {
        fs::write(p.path(&format!("pets/val/cat/{number:03}.png")), "").unwrap();
        fs::write(p.path(&format!("pets/val/dog/{number:03}.png")), "").unwrap();
    }
    assert!(p.refused(eval).contains("none of the validation pictures can be read; the first is cat/000.png"));
}

/// A copy of weights whose classes, and with them the rows of the classifier, are in the reverse order.
fn reversed(from: &Path, to: &Path) {
    let mut weights = StateDict::read(from).unwrap();
    let mut card: Value = serde_json::from_str(&weights.metadata["resnet-rs"]).unwrap();
    card["classes"].as_array_mut().unwrap().reverse();
    weights.metadata.insert("resnet-rs".into(), card.to_string());
    for name in ["fc.weight", "fc.bias"] {
        let tensor = weights.tensors.get_mut(name).unwrap();
        let rows = tensor.data.chunks(tensor.data.len() / tensor.shape[0]).rev();
        tensor.data = rows.flatten().copied().collect();
    }
    weights.write(to).unwrap();
}

#[test]
fn classes_are_compared_by_name() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog", "owl"]);
    folder(&p.path("wild"), &["dog", "lynx", "wolf"]);
    succeed(&p.line(&format!("train --data folder:@pets --out @run {QUICK} --epochs 3")));
    reversed(&p.path("run/last.safetensors"), &p.path("reversed.safetensors"));
    let eval = |data: &str, weights: &str| json(&p.line(&format!("eval --data folder:@{data} --weights @{weights}")));
    let right = eval("pets", "run/last.safetensors");
    let matched = eval("pets", "reversed.safetensors");
    assert_eq!(matched["top1"], right["top1"]);
    assert!((matched["loss"].as_f64().unwrap() - right["loss"].as_f64().unwrap()).abs() < 1e-6);
    let other = p.refused("eval --data folder:@wild --weights @run/last.safetensors");
    assert!(
        other.contains("the network does not know the data's classes lynx, wolf; its own are cat, dog, owl"),
        "{other}"
    );
    // A subset of the classes.
    for class in ["cat", "owl"] {
        fs::remove_dir_all(p.path(&format!("pets/val/{class}"))).unwrap();
    }
    fs::rename(p.path("pets/val"), p.path("dogs")).unwrap();
    let [of_dogs, reversed] = ["run/last.safetensors", "reversed.safetensors"].map(|weights| eval("dogs", weights));
    assert_eq!((&of_dogs["images"], &of_dogs["top1"]), (&8.into(), &reversed["top1"]));

    // A classifier is only kept for the same classes. A step at this learning rate learns nothing.
    let begin = |data: &str, weights: &str, out: &str| {
        let line = format!(
            "train --data folder:@{data} --init @{weights} --out @{out} --batch 8 --res 24 --max-steps 1 --lr 1e-30"
        );
        (said(&succeed(&p.line(&line))), StateDict::read(&p.path(out).join("last.safetensors")).unwrap())
    };
    let begun = StateDict::read(&p.path("run/last.safetensors")).unwrap();
    folder(&p.path("pets"), &["cat", "dog", "owl"]);
    let (told, same) = begin("pets", "reversed.safetensors", "matched");
    assert!(told.contains("in another order: they are matched by name"), "{told}");
    assert!(
        same.tensors["fc.weight"].data == begun.tensors["fc.weight"].data
            && same.tensors["fc.bias"] == begun.tensors["fc.bias"]
    );
    let (told, anew) = begin("wild", "run/last.safetensors", "anew");
    assert!(
        told.contains("does not know the data's classes lynx, wolf") && told.contains("the classifier starts anew"),
        "{told}"
    );
    assert!(anew.tensors["fc.weight"] != begun.tensors["fc.weight"]);
    assert!(anew.tensors["conv1.0.weight"] == begun.tensors["conv1.0.weight"]);
}

/// timm's antialiased networks have the tensors of plain ones.
#[test]
fn a_run_does_not_start_from_a_network_that_only_looks_alike() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    succeed(&p.line(&format!("train --data folder:@pets --out @run {QUICK} --max-steps 1")));
    let mut weights = StateDict::read(&p.path("run/last.safetensors")).unwrap();
    weights.metadata.clear();
    fs::create_dir(p.path("timm")).unwrap();
    weights.write(&p.path("timm/model.safetensors")).unwrap();
    fs::write(p.path("timm/config.json"), r#"{"architecture": "resnetblur50", "num_classes": 2}"#).unwrap();
    let refused = p.refused(&format!("train --data folder:@pets --init @timm/model.safetensors --out @new {QUICK}"));
    assert!(refused.contains("resnetblur50"), "{refused}");
}

/// Older versions sorted numbers as words: a run that began with one keeps the numbering of its classes.
#[test]
fn a_run_keeps_the_numbers_of_its_classes() {
    let p = Place::new();
    let classes: Vec<String> = (0..11).map(|class| class.to_string()).collect();
    folder(&p.path("d"), &classes.iter().map(String::as_str).collect::<Vec<_>>());
    let train = |out: &str, steps: u32| {
        succeed(&p.line(&format!("train --data folder:@d --out @{out} {QUICK} --epochs 1 --max-steps {steps}")))
    };
    train("whole", 4);
    train("cut", 2);
    let state = p.path("cut/checkpoint/state.safetensors");
    let mut checkpoint = StateDict::read(&state).unwrap();
    let names: Vec<String> = serde_json::from_str(&checkpoint.metadata["class_names"]).unwrap();
    assert_eq!(names, classes);
    let words = ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"];
    checkpoint.metadata.insert("class_names".into(), serde_json::to_string(&words).unwrap());
    checkpoint.write(&state).unwrap();
    succeed(&p.line("train --resume @cut --max-steps 4"));
    let weights = StateDict::read(&p.path("cut/last.safetensors")).unwrap();
    let card: Value = serde_json::from_str(&weights.metadata["resnet-rs"]).unwrap();
    assert_eq!(card["classes"], serde_json::json!(words));
    assert!(p.weights("whole") != p.weights("cut"));
}

/// Versions without lists of names found fewer kinds of files, and none in subfolders.
#[test]
fn a_run_of_an_older_program_keeps_its_pictures() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    let train = |out: &str, more: &str| {
        succeed(&p.line(&format!("train --data folder:@pets --out @{out} {QUICK} --epochs 2 {more}")));
    };
    train("whole", "");
    train("cut", "--max-steps 3");
    for split in ["train", "val"] {
        fs::remove_file(p.path(&format!("cut/checkpoint/pictures-{split}.jsonl"))).unwrap();
    }
    put(&p.path("pets/train/cat/further/down.png"), 0, 1000);
    put(&p.path("pets/train/cat/aaa.bmp"), 0, 1001);
    succeed(&p.line("train --resume @cut"));
    assert!(p.weights("whole") == p.weights("cut"));
    let list = fs::read_to_string(p.path("cut/checkpoint/pictures-train.jsonl")).unwrap();
    assert_eq!(list.lines().count(), 40, "from now on there is a list");
    train("other", "--max-steps 3");
    fs::remove_file(p.path("other/checkpoint/pictures-train.jsonl")).unwrap();
    let refused = p.refused("train --resume @other");
    assert!(refused.contains("began with 42 training pictures and there are 42 now"), "{refused}");
}

/// Digits are not clothes, though both have ten classes.
#[test]
fn numbers_do_not_pass_for_names() {
    let p = Place::new();
    idx_folder(&p.path("fashion"), 32, 16);
    idx_folder(&p.path("digits"), 32, 16);
    succeed(&p.line("train --data idx:@fashion --out @run --batch 8 --epochs 2 --max-steps 1"));
    let resumed = p.refused("train --resume @run --data idx:@digits");
    assert!(resumed.contains("the run began with T-shirt, trouser"), "{resumed}");
    for line in [
        "eval --data idx:@digits --weights @run/last.safetensors",
        "train --data idx:@digits --init @run/last.safetensors --out @digit-run --batch 8 --max-steps 1",
    ] {
        let told = said(&succeed(&p.line(line)));
        assert!(told.contains("matched by number, the data's 0 for T-shirt, 1 for trouser"), "{told}");
    }
}

#[test]
fn a_limit_holds_until_it_is_reached() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    let train = format!("train --data folder:@pets --out @run {QUICK} --epochs 3 --checkpoint-minutes 0");
    let mut killed = program(&words(&p.line(&format!("{train} --max-steps 9")))).spawn().unwrap();
    let lines = || fs::read_to_string(p.path("run/metrics.jsonl")).map_or(0, |text| text.lines().count());
    while lines() < 4 {
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let killed_at = losses(&p.path("run")).len();
    let told = said(&succeed(&p.line("train --resume @run")));
    assert_eq!(losses(&p.path("run")).len(), 9, "killed after {killed_at} steps, the limit still holds: {told}");
    assert!(told.contains("as --max-steps says"), "{told}");
    succeed(&p.line("train --resume @run"));
    assert_eq!(losses(&p.path("run")).len(), 15, "a run that ended by it goes on without");

    succeed(&p.line(&format!("{train} --max-minutes 0.00001").replace("@run", "@short")));
    succeed(&p.line("train --resume @short"));
    assert_eq!(losses(&p.path("short")).len(), 15, "so it is with minutes");
}

/// Relative paths are resolved where the run began; `--data` names the pictures' new location.
#[test]
fn a_run_goes_on_wherever_its_data_is() {
    let p = Place::new();
    for name in ["here", "there"] {
        fs::create_dir(p.path(name)).unwrap();
    }
    folder(&p.path("here/pets"), &["cat", "dog"]);
    let run_in = |place: &str, line: &str| {
        let output = program(&words(&p.line(line))).current_dir(p.path(place)).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    };
    run_in("here", &format!("train --data folder:pets --out whole {QUICK} --epochs 2"));
    run_in("here", &format!("train --data folder:pets --out run {QUICK} --epochs 2 --max-steps 3"));
    run_in("there", "train --resume @here/run --max-steps 5");
    // Run and data have moved together.
    fs::rename(p.path("here"), p.path("moved")).unwrap();
    run_in("there", "train --resume @moved/run --max-steps 7");
    // Only the data has moved.
    fs::rename(p.path("moved/pets"), p.path("there/animals")).unwrap();
    let lost = p.refused("train --resume @moved/run");
    assert!(lost.contains("pets was meant") && lost.contains("--data"), "{lost}");
    run_in("there", "train --resume @moved/run --data folder:animals");
    assert!(p.weights("moved/whole") == p.weights("moved/run"));
    let missing = p.refused("train --data folder:@there/pets --out @new");
    assert!(missing.contains("there is no such folder; in ") && missing.contains("there is only animals"), "{missing}");
    let bare = p.refused("train --data @there/animals --out @new");
    assert!(bare.contains("did you mean folder:"), "{bare}");
}

#[test]
fn what_a_batch_leaves_out_is_said() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    let line = format!("train --data folder:@pets --out @run {QUICK} --max-steps 1 --shuffle false");
    let told = said(&succeed(&p.line(&line.replace("--batch 8", "--batch 16"))));
    assert!(told.contains("8 of 40 pictures are left out of each epoch at --batch 16, always the same ones"), "{told}");
    assert!(told.contains("--batch 20 leaves out none"), "{told}");
}

/// A mirrored digit is not a digit.
#[test]
fn digits_are_not_mirrored_unless_asked_for() {
    let p = Place::new();
    idx_folder(&p.path("digits"), 32, 16);
    idx_folder(&p.path("fashion"), 32, 16);
    folder(&p.path("pets"), &["cat", "dog"]);
    for (data, more, expected) in [
        ("idx:@digits", "", "hflip = 0.0"),
        ("idx:@digits", "--hflip 0.25", "hflip = 0.25"),
        ("idx:@fashion", "", "hflip = 0.5"),
        ("folder:@pets", "", "hflip = 0.5"),
        ("folder:@pets", "--hflip 0", "hflip = 0.0"),
    ] {
        let _ = fs::remove_dir_all(p.path("run"));
        succeed(&p.line(&format!("train --data {data} --out @run --batch 8 --max-steps 1 --epochs 1 {more}")));
        let settings = fs::read_to_string(p.path("run/run.toml")).unwrap();
        assert!(settings.contains(&format!("\n{expected}\n")), "{data} {more}: {settings}");
    }
}

#[test]
fn check_reads_objects_and_masks() {
    let p = Place::new();
    let write = |place: &str, text: &str| {
        let path = p.path(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (number, list) in ["train", "val"].into_iter().enumerate() {
        put(&p.path(&format!("voc/JPEGImages/{number}.png")), 2, number);
        let sides = "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>9</ymax>";
        let object = format!("<object><name>dog</name><bndbox>{sides}</bndbox></object>");
        write(&format!("voc/Annotations/{number}.xml"), &format!("<annotation>{object}</annotation>"));
        for kind in ["Main", "Segmentation"] {
            write(&format!("voc/ImageSets/{kind}/{list}.txt"), &number.to_string());
        }
    }
    let found = json(&p.line("check --data voc:@voc"));
    assert_eq!(found["classes"][11], serde_json::json!({ "name": "dog", "train": 1, "val": 1 }));
    assert_eq!(found["objects"]["train_sides"]["largest"], 9.0);
    let text = p.run("check --data voc:@voc");
    let text = String::from_utf8_lossy(&text.stdout);
    for expected in
        ["1 training and 1 validation pictures with 1 and 1 objects in 20 classes", "longer side of boxes, px"]
    {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let output = p.run("check --data voc:@voc --task segment");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in ["2 pictures without a mask that can be used", "SegmentationClass/0.png: ", "pixels"] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let refused = p.refused("check --data voc:@voc --task depth");
    assert!(refused.contains("has no depths, which the task needs"), "{refused}");
}

#[test]
fn check_tells_what_must_be_mended() {
    let p = Place::new();
    folder(&p.path("pets"), &["cat", "dog"]);
    let sound = json(&p.line("check --data folder:@pets"));
    assert_eq!((&sound["train"], &sound["val"], &sound["faults"]), (&40.into(), &16.into(), &serde_json::json!([])));
    assert_eq!(sound["classes"][1], serde_json::json!({ "name": "dog", "train": 20, "val": 8 }));

    fs::copy(p.path("pets/train/cat/000.png"), p.path("pets/val/dog/leak.png")).unwrap();
    fs::write(p.path("pets/val/cat/broken.jpg"), "").unwrap();
    put(&p.path("pets/val/fox/1.png"), 2, 0);
    let output = p.run("check --data folder:@pets");
    let (text, said) = (String::from_utf8_lossy(&output.stdout), said(&output));
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(said.contains("4 things must be mended"), "{said}");
    for expected in [
        "no training pictures of fox",
        "1 picture cannot be read",
        "val/cat/broken.jpg",
        "train/cat/000.png = val/dog/leak.png",
        "of which one at most is right",
        "████",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    json(&p.line("check --data shapes"));
    let refused = p.refused("check --data folder:@nowhere");
    assert!(refused.contains("there is no such folder"), "{refused}");
}
