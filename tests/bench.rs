//! `bench` as a user runs it: its file, its report, interruptions, and foreign files.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use program::{program, said, words};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench");
const HAND_WRITTEN: [&str; 2] = ["laptop.json", "old-card.json"];

fn hand_written(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Checks a file against the schema.
fn conforms(path: &Path) -> Result<(), String> {
    let schema = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/bench-1.schema.json"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> =
        validator.iter_errors(&json(path)).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The program reads what the schema describes, and the schema refuses invalid files.
#[test]
fn the_schema_describes_hand_written_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in HAND_WRITTEN {
        conforms(&hand_written(name)).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    }
    let broken: [fn(&mut Value); 5] = [
        |file| file["version"] = 2.into(),
        |file| file["rows"][0]["mode"] = "think".into(),
        |file| file["rows"][0]["median_ms"] = Value::Null,
        |file| file["machine"]["peaks"]["gflops"] = 0.into(),
        |file| file["rows"][2]["status"] = "measured".into(),
    ];
    for (i, breaks) in broken.into_iter().enumerate() {
        let mut file = json(&hand_written("laptop.json"));
        breaks(&mut file);
        let path = folder.path().join("broken.json");
        fs::write(&path, file.to_string()).unwrap();
        assert!(conforms(&path).is_err(), "{i}");
    }
}

#[test]
fn compare_draws_hand_written_files_and_tells_the_papers_quotients() {
    let out = tempfile::tempdir().unwrap();
    let files = HAND_WRITTEN.map(|name| hand_written(name).display().to_string()).join(" ");
    let line = format!("bench compare {files} --out {}", out.path().display());
    let output = program(&words(&line)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let markdown = String::from_utf8(output.stdout).unwrap();
    // 80 ms by 40 ms; 300 MB by 1500 MB.
    assert!(markdown.contains("| 0.55 | 0.26 | 2.00 | 0.20 |") && markdown.contains("paper, V100"), "{markdown}");
    assert!(markdown.contains("does not fit") && markdown.contains("failed") && markdown.contains("300 noisy"));
    let html = fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(
        html.contains("no: times are the wall clock") && html.contains("the driver was reset"),
        "an adapter without timestamps"
    );
    assert!(html.contains("2, interrupted"));
    for file in ["bench.csv", "bench.md", "infer-1-f32-latency-flops.svg", "roofline-small-infer-1-f32.png"] {
        assert!(out.path().join(file).exists(), "{file}");
    }
    let output = program(&words(&format!("bench compare {files} --json"))).output().unwrap();
    let ratios: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ratios[0]["quotients"][2], 2.0);
}

#[test]
fn files_of_others_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.json");
    let laptop = fs::read_to_string(hand_written("laptop.json")).unwrap();
    for (text, reason) in [
        (laptop[..laptop.len() / 2].to_owned(), "holds no measurements"),
        ("[1, 2]".to_owned(), "its field schema is not"),
        (laptop.replace("resnet-rs/bench", "mlperf"), "its field schema is not"),
        (
            laptop.replace("\"version\": 1", "\"version\": 2"),
            "version 2 of the schema, this program reads version 1: use a newer",
        ),
        (laptop.replace("\"version\": 1", "\"version\": 0"), "measure again"),
        (laptop.replace("\"median_ms\": 40.0,", ""), "median_ms"),
    ] {
        fs::write(&path, text).unwrap();
        let output = program(&words(&format!("bench compare {}", path.display()))).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{reason}");
        assert!(said(&output).contains(reason) && said(&output).contains("bench.json"), "{reason}: {}", said(&output));
    }
    let output = program(&words("bench compare nowhere.json")).output().unwrap();
    assert!(said(&output).contains("nowhere.json"), "{}", said(&output));
    for line in ["bench --suite huge", "bench --models resnet-rs-51", "bench", "bench --suite quick --models small"] {
        assert_eq!(program(&words(line)).output().unwrap().status.code(), Some(2), "{line}");
    }
}

/// Rows that fit and rows that do not; an interrupted suite is resumed; measurements are never overwritten.
#[test]
fn a_suite_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bench");
    let of_seconds = |models: &str, seconds: &str| {
        let flags =
            format!("--mode infer,train --batch 2 --seconds {seconds} --memory-limit 40 --out {}", out.display());
        program(&words(&format!("bench --models {models} {flags}"))).output().unwrap()
    };
    let of = |models: &str| of_seconds(models, "0.1");
    let output = of("small,efficientnet-rs-b0");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let path = out.join("bench.json");
    conforms(&path).unwrap_or_else(|wrong| panic!("{wrong}"));
    let whole = json(&path);
    let status = |file: &Value| -> Vec<String> {
        file["rows"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(status(&whole), ["measured", "measured", "measured", "does-not-fit"]);
    assert_eq!(
        (whole["complete"].as_bool(), whole["machine"]["os"].as_str()),
        (Some(true), Some(std::env::consts::OS))
    );
    let row = &whole["rows"][0];
    assert!(row["median_ms"].as_f64() > Some(0.0) && row["first_ms"].as_f64() > row["median_ms"].as_f64());
    assert!(row["allocated_bytes"].as_u64() >= row["planned_bytes"].as_u64());
    assert!(whole["rows"][3]["problem"].as_str().unwrap().contains("40.00 MiB are there"));

    let again = of("small,efficientnet-rs-b0");
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("holds complete measurements"), "{}", said(&again));

    // The file as a kill after the second row leaves it.
    let mut cut = whole.clone();
    cut["rows"].as_array_mut().unwrap().truncate(2);
    cut["rows"][1]["runs"] = 12_345.into();
    cut["complete"] = false.into();
    cut["roofline"] = Value::Null;
    fs::write(&path, cut.to_string()).unwrap();
    let other = of("efficientnet-rs-b0");
    assert!(said(&other).contains("rows of other networks"), "{}", said(&other));
    let other = of_seconds("small,efficientnet-rs-b0", "0.2");
    assert!(said(&other).contains("with another --seconds"), "{}", said(&other));
    let resumed = of("small,efficientnet-rs-b0");
    assert!(said(&resumed).contains("going on after 2 rows"), "{}", said(&resumed));
    let file = json(&path);
    assert_eq!((status(&file), &file["rows"][1]["runs"]), (status(&whole), &12_345.into()), "not measured again");
    assert!(out.join("report.html").exists());
}
