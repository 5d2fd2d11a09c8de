//! The readers of untrusted bytes, as `fuzz/` calls them: one function per reader. Compiled under `cfg(fuzzing)` only.
//!
//! A reader may refuse its input. It may not panic, hang, or take memory out of proportion, and what it accepts must be
//! usable.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::bench::{Report, Results};
use crate::data::{Dataset, TruthKind, decode_bytes};
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
        fs::write(folder.path().join(name), file).unwrap_or_else(|e| panic!("a temporary file: {e}"));
        let Some(end) = end else { break };
        input = &input[end + NEXT_FILE.len()..];
    }
    folder
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
    dataset("idx", &folder(input, &names));
}

/// CIFAR-100's two files and the names of its classes.
pub fn cifar(input: &[u8]) {
    dataset("cifar100", &folder(input, &["test.bin", "train.bin", "fine_label_names.txt"]));
}

/// A tar of each split and the names of the classes.
pub fn shards(input: &[u8]) {
    dataset("shards", &folder(input, &["val.tar", "train.tar", "classes.txt"]));
}

/// Opens a data set in every way, and reads a few of its pictures.
fn dataset(kind: &str, folder: &TempDir) {
    let spec = format!("{kind}:{}", folder.path().display());
    for open in [Dataset::open, Dataset::open_validation, Dataset::open_for_inspection] {
        let Ok(data) = open(&spec, TruthKind::Class) else { continue };
        for source in [&data.train, &data.val] {
            for index in 0..source.len().min(SAMPLES) {
                let label = source.sample(index).ok().and_then(|sample| sample.truth.class()).or(source.label(index));
                assert!(label.is_none_or(|label| (label as usize) < data.classes.len()), "a label without a class");
                source.name(index);
            }
        }
    }
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
