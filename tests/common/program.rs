//! Runs the built program as a user would, and makes small data for it.
#![allow(dead_code, reason = "not every test binary that mounts this file needs all of it")]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The built program with these arguments, not started yet.
pub(crate) fn program<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resnet-rs"));
    command.args(args);
    command
}

/// Splits a command line at its spaces.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The stderr output of a finished program.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command line and asserts success.
pub(crate) fn succeed(line: &str) -> Output {
    let output = program(&words(line)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    output
}

/// Runs a command line with `--json`, and returns a value for each line of stdout.
pub(crate) fn json_lines(line: &str) -> Vec<Value> {
    let output = succeed(&format!("{line} --json"));
    output.stdout.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

/// Runs a command line with `--json` that prints one value.
pub(crate) fn json(line: &str) -> Value {
    let mut lines = json_lines(line);
    assert_eq!(lines.len(), 1, "{line}");
    lines.remove(0)
}

/// A run's metrics: its step lines or, with the key `val_top1`, its epoch lines.
pub(crate) fn metrics(run: &Path, key: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|l| l.get(key).is_some()).collect()
}

/// The losses of a run's steps. Asserts that the steps are numbered without a gap.
pub(crate) fn losses(run: &Path) -> Vec<f64> {
    let lines = metrics(run, "loss");
    let numbered = lines.iter().zip(0u64..).all(|(line, step)| line["step"] == step);
    assert!(numbered, "{}: steps are not numbered without a gap", run.display());
    lines.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
}

/// An IDX file with these dimensions and bytes.
pub(crate) fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
    let magic = 0x0800 | dimensions.len() as u32;
    let words = [magic].into_iter().chain(dimensions.iter().copied());
    words.flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
}

/// A folder of IDX files with random pictures of 28 x 28 pixels, in ten classes that differ in brightness.
pub(crate) fn idx_folder(folder: &Path, train: u32, val: u32) {
    fs::create_dir_all(folder).unwrap();
    for (split, count) in [("train", train), ("t10k", val)] {
        let mut state = u64::from(count);
        let mut random = || {
            // Knuth's generator; its high bits are good enough for noise.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 57) as u8
        };
        let labels: Vec<u8> = (0..count).map(|i| (i * 7 % 10) as u8).collect();
        let pixels: Vec<u8> = labels.iter().flat_map(|l| [l * 12; 28 * 28]).map(|base| base + random()).collect();
        fs::write(folder.join(format!("{split}-images-idx3-ubyte")), idx(&[count, 28, 28], &pixels)).unwrap();
        fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), idx(&[count], &labels)).unwrap();
    }
}
