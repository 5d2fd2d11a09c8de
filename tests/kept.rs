//! Files kept from one process to the next: a tuning chooses among kernels that are all correct, a pipeline cache saves
//! time and changes nothing, and no damaged file in their place does harm.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/program.rs"]
mod program;

use std::collections::HashSet;
use std::fs;

use program::{program, said, words};
use resnet_rs::gpu::{Gpu, GpuOptions, Kept, Tuning};
use resnet_rs::kernels::{ConvShape, candidates};
use resnet_rs::selftest::{Case, cases, run};

fn shape(case: &Case, gpu: &Gpu) -> Option<ConvShape> {
    ConvShape::of(&case.graph, &case.graph.nodes()[0], gpu.target())
}

/// The same adapter, family and checks with other files.
fn reopen(gpu: &Gpu, tuning: Kept, pipeline_cache: Kept) -> Gpu {
    let device = Some(gpu.report().index.to_string());
    let family = Some(gpu.family());
    Gpu::new(&GpuOptions { device, family, checked_shaders: true, tuning, pipeline_cache, ..adapters::hermetic() })
        .unwrap()
}

#[test]
fn every_candidate_of_every_convolution_is_right() {
    adapters::on_each(|gpu| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.toml");
        let methods = |case: &Case| shape(case, gpu).map_or(vec![], |shape| candidates(gpu.target(), &shape));
        // One case per shape: the correctness of epilogues does not depend on the method, and each is a separate
        // kernel.
        let mut seen = HashSet::new();
        let convolutions =
            cases::standard().into_iter().filter(|case| shape(case, gpu).is_some_and(|s| seen.insert(s)));
        let convolutions: Vec<Case> = convolutions.collect();
        for nth in 1.. {
            let cases: Vec<Case> = convolutions.iter().filter(|case| methods(case).len() > nth).cloned().collect();
            if cases.is_empty() {
                break;
            }
            let mut tuning = Tuning::new(gpu.report());
            let choice = |case| Some((shape(case, gpu)?.to_string(), methods(case)[nth].to_string()));
            tuning.choices = cases.iter().filter_map(choice).collect();
            fs::write(&path, tuning.to_toml()).unwrap();
            let tuned = reopen(gpu, Kept::At(path.clone()), Kept::Nowhere);
            assert_eq!(tuned.tuning(), Some(&tuning));
            for outcome in run(&tuned, &cases, |_| {}).unwrap() {
                let Some((_, method)) = cases.iter().find(|c| c.name == outcome.case).and_then(choice) else {
                    continue;
                };
                assert!(outcome.passed, "{} times off by {method}: {}", outcome.error, outcome.case);
            }
        }
    });
}

/// Errors of one case as exact numbers: equal only if the results are.
fn errors(gpu: &Gpu) -> Vec<f64> {
    run(gpu, &cases::standard()[..6], |_| {}).unwrap().iter().map(|outcome| outcome.error).collect()
}

#[test]
fn a_pipeline_cache_changes_nothing_whatever_its_file_holds() {
    adapters::on_each(|gpu| {
        let expected = errors(gpu);
        if gpu.report().pipeline_cache.is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let answers = || errors(&reopen(gpu, Kept::Nowhere, Kept::At(path.clone())));
        assert_eq!(answers(), expected);
        let written = fs::read(&path).unwrap();
        assert_eq!(answers(), expected, "from the cache");
        for damaged in [&b""[..], b"no cache", &written[..written.len() - 1], &[&written[..], b"more"].concat()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(answers(), expected);
            assert!(fs::read(&path).unwrap().len() >= written.len(), "replaced by a whole one");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(answers(), expected, "a folder in its place");
    });
}

/// As a user would tune, with a separate cache folder.
#[test]
fn a_tuning_is_used_until_it_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let home = ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"].map(|name| (name, folder.path()));
    let in_folder = |line: &str| {
        let output = program(&words(line)).envs(home).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
        output
    };
    // The program knows this system's cache folder.
    let stdout = in_folder("tune --models small --batch 2 --json").stdout;
    let answer: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    let file = answer["file"].as_str().unwrap();
    for layer in answer["layers"].as_array().unwrap() {
        let timings = layer["timings"].as_array().unwrap();
        assert!(timings.iter().all(|timing| timing["ms"].as_f64().unwrap() > 0.0), "{layer}");
        assert!((layer["best"].as_u64().unwrap() as usize) < timings.len());
    }
    let written = fs::read_to_string(file).unwrap();

    let run = folder.path().join("run");
    let train = format!("train --data shapes --batch 8 --out {}", run.display());
    assert!(said(&in_folder(&format!("{train} --max-steps 1 -v"))).contains("tuning "));
    let resume = format!("train --resume {} --max-steps 2", run.display());
    let warning = "will not end in the very bits";
    assert!(said(&in_folder(&format!("{resume} --no-tuning"))).contains(warning));
    assert!(!said(&in_folder(&format!("{resume} --no-tuning"))).contains(warning), "the checkpoint is from without");

    let devices = |flags: &str| -> serde_json::Value {
        serde_json::from_slice(&in_folder(&format!("devices --json {flags}")).stdout).unwrap()
    };
    let tuned = |devices: serde_json::Value| devices.as_array().unwrap().iter().any(|device| device["tuned"] == true);
    assert!(tuned(devices("")) && !tuned(devices("--no-tuning")));

    let damaged = &written[..written.len() - 1].replace("version", "vision");
    fs::write(file, damaged).unwrap();
    assert!(said(&in_folder("devices")).contains("warning: tuning "), "passed over, and said so");
    let refused = program(&words(&format!("selftest --tuning {file}"))).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("cannot be used"), "{}", said(&refused));

    in_folder("tune --models small --batch 2 -q");
    assert!(tuned(devices("")), "the damaged file is replaced");
}
