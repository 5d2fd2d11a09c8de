//! The program as a user runs it, without a GPU: results on stdout, messages on stderr, exit status.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod common;

use std::process::Stdio;

use common::{json, program, said, words};

#[test]
fn info_tells_the_cost() {
    let answer = json("info resnet-rs-50");
    assert_eq!(answer["params"], 35_691_912);
    assert_eq!(answer["flops"].as_u64().unwrap(), 2 * answer["macs"].as_u64().unwrap());
    let kinds = ["parameters", "state", "own", "slots"].map(|kind| answer["planned"][kind].as_u64().unwrap());
    assert_eq!(answer["planned_bytes"], kinds.iter().sum::<u64>());
    let batched = json("info resnet-rs-50 --batch 4");
    let activations = |answer: &serde_json::Value| answer["activation_bytes"].as_u64().unwrap();
    assert_eq!(activations(&batched), 4 * activations(&answer));
    let training = json("info small --batch 4 --train --depths 2,1,1,1 --width 0.5");
    assert_eq!(training["config"]["depths"], serde_json::json!([2, 1, 1, 1]));
    assert!(training["planned"]["state"].as_u64() >= training["planned"]["parameters"].as_u64(), "momenta");
}

#[test]
fn models_lists_what_info_knows() {
    for model in json("models").as_array().unwrap() {
        let answer = json(&format!("info {}", model["name"].as_str().unwrap()));
        assert_eq!(answer["macs"], model["macs"]);
        assert_eq!(answer["res"], model["res"]);
    }
}

#[test]
fn exit_status_and_messages() {
    let cases = [
        ("info small --batch 2", 0, ""),
        ("info small --batch 1 --train", 1, "error: layer4.0.bn2: batch_norm"),
        ("info small --width 100", 1, "error: width must be from 0.125 to 8, got 100"),
        ("info resnet-rs-51", 2, "there is no model \"resnet-rs-51\"; known are small, resnet-rs-50"),
        ("info small --depths 1,2", 2, "4 numbers"),
    ];
    for (line, status, message) in cases {
        let output = program(&words(line)).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{line}: {}", said(&output));
        assert!(said(&output).contains(message), "{line}: {}", said(&output));
        assert_eq!(output.stdout.is_empty(), status != 0, "{line}");
    }
}

/// As under `| head`: the reader of stdout is gone before the first line.
#[test]
fn a_closed_pipe_ends_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = program(&["models"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(said(&output), "");
    assert!(output.status.success());
}

/// As in a closed terminal: a message that nobody reads must not end the program.
#[test]
fn a_closed_stderr_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = program(&words("info small --width 100")).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
