//! The readers of untrusted bytes, as `fuzz/` calls them: one function per reader. Compiled under `cfg(fuzzing)` only.
//!
//! A reader may refuse its input. It may not panic, hang, or take memory out of proportion, and what it accepts must be
//! usable.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::bench::{Report, Results};
use crate::data::{Dataset, Object, Truth, TruthKind, decode_bytes};
use crate::train::{Recipe, RecipeFlags};
use crate::weights::{TrainedNetwork, hub};

/// Separates the files of an input, for readers of several files.
const NEXT_FILE: &[u8] = b"\n--next file--\n";

/// Number of samples that are read from a split.
const SAMPLES: usize = 3;

/// A folder with the files of an input, named by `names` in order.
fn folder(mut input: &[u8], names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("a temporary folder: {e}"));
    for name in names {
        let end = input.windows(NEXT_FILE.len()).position(|window| window == NEXT_FILE);
        let file = &input[..end.unwrap_or(input.len())];
        write(&folder.path().join(name), file);
        let Some(end) = end else { break };
        input = &input[end + NEXT_FILE.len()..];
    }
    folder
}

/// Writes a file and the folders above it.
fn write(path: &Path, bytes: &[u8]) {
    path.parent().map_or(Ok(()), fs::create_dir_all).unwrap_or_else(|e| panic!("a temporary folder: {e}"));
    fs::write(path, bytes).unwrap_or_else(|e| panic!("a temporary file: {e}"));
}

/// A picture file of any format.
pub fn pictures(input: &[u8]) {
    let Err(problem) = decode_bytes(input) else { return };
    // Panics of other crates' decoders are caught. A panic of this crate's own decoder is a bug.
    assert!(!input.starts_with(b"\xFF\xD8") || !problem.contains("decoder fails"), "the JPEG decoder panicked");
}

/// A safetensors file and the config.json beside it.
pub fn weights(input: &[u8]) {
    let folder = folder(input, &["model.safetensors", "config.json"]);
    if let Ok(network) = TrainedNetwork::read(folder.path()) {
        network.card.config.validate().unwrap_or_else(|e| panic!("an accepted card: {e}"));
    }
}

/// Pictures and labels of IDX, of both splits.
pub fn idx(input: &[u8]) {
    let names =
        ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    dataset("idx", TruthKind::Class, &folder(input, &names));
}

/// CIFAR-100's two files and the names of its classes.
pub fn cifar(input: &[u8]) {
    dataset("cifar100", TruthKind::Class, &folder(input, &["test.bin", "train.bin", "fine_label_names.txt"]));
}

/// A tar of each split and the names of the classes.
pub fn shards(input: &[u8]) {
    dataset("shards", TruthKind::Class, &folder(input, &["val.tar", "train.tar", "classes.txt"]));
}

/// VOC's notes on a picture of each split, and the lists of both.
pub fn voc(input: &[u8]) {
    let names = ["Annotations/b.xml", "Annotations/a.xml", "ImageSets/Main/val.txt", "ImageSets/Main/train.txt"];
    let folder = folder(input, &names);
    fs::create_dir(folder.path().join("JPEGImages")).unwrap_or_else(|e| panic!("a temporary folder: {e}"));
    for (list, name) in [(names[2], "b"), (names[3], "a")] {
        let list = folder.path().join(list);
        if !list.exists() {
            write(&list, name.as_bytes());
        }
    }
    dataset("voc", TruthKind::Objects, &folder);
}

/// COCO's JSON of both splits. Pictures are called `a.jpg`.
pub fn coco(input: &[u8]) {
    let folder = folder(input, &["annotations/val.json", "annotations/train.json"]);
    write(&folder.path().join("images/a.jpg"), b"");
    dataset("coco", TruthKind::Objects, &folder);
}

/// Opens a data set in every way, and reads a few of its pictures.
fn dataset(kind: &str, truth: TruthKind, folder: &TempDir) {
    let spec = format!("{kind}:{}", folder.path().display());
    for open in [Dataset::open, Dataset::open_validation, Dataset::open_for_inspection] {
        let Ok(data) = open(&spec, truth) else { continue };
        for source in [&data.train, &data.val] {
            for index in 0..source.len().min(SAMPLES) {
                let label = source.sample(index).ok().and_then(|sample| sample.truth.class()).or(source.label(index));
                assert!(label.is_none_or(|label| (label as usize) < data.classes.len()), "a label without a class");
                if let Some(Ok(Truth::Objects(objects))) = source.truth(index, [64, 64]) {
                    objects.iter().for_each(|object| usable(object, data.classes.len()));
                }
                source.name(index);
            }
        }
    }
}

/// Panics if an object cannot be learnt.
fn usable(object: &Object, classes: usize) {
    let Object { class, bounds: [left, top, right, bottom], .. } = *object;
    assert!((class as usize) < classes, "an object without a class");
    let finite = object.bounds.iter().all(|side| side.is_finite());
    assert!(finite && left <= right && top <= bottom, "a box inside out: {object:?}");
}

/// A recipe. What is accepted is the same when it is written and read again.
pub fn recipe(input: &[u8]) {
    let folder = folder(input, &["recipe.toml"]);
    let resolve = |path: &Path| Recipe::resolve(path.to_str(), &RecipeFlags::default());
    let Ok(recipe) = resolve(&folder.path().join("recipe.toml")) else { return };
    let _ = recipe.config();
    let text = recipe.to_toml().unwrap_or_else(|e| panic!("an accepted recipe cannot be written: {e}"));
    let again = folder.path().join("again.toml");
    fs::write(&again, text).unwrap_or_else(|e| panic!("a temporary file: {e}"));
    let again = resolve(&again).unwrap_or_else(|e| panic!("a written recipe cannot be read: {e}"));
    assert_eq!(again, recipe);
}

/// Measurements of two machines, and the report that is made of them.
pub fn bench(input: &[u8]) {
    let names = ["a.json", "b.json"];
    let folder = folder(input, &names);
    let results = names.map(|name| Results::read(&folder.path().join(name)).ok());
    let report = Report::new(results.into_iter().flatten());
    report.write(&folder.path().join("report")).unwrap_or_else(|e| panic!("a report: {e}"));
}

/// Headers of the hub's answers, a line each.
pub fn hub(input: &[u8]) {
    hub::read_headers(input);
}
