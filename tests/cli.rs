//! The program as a user runs it on the default adapter: every command once, then everything that can be wrong with
//! its input. A bad input ends with exit status 1 or 2 and a message that names the file or flag, and damages nothing.
#![allow(clippy::unwrap_used)]

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::{Compression, write::GzEncoder};
use image::RgbImage;
use program::{idx, idx_folder, json, json_lines, losses, metrics, program, said, succeed, words};
use resnet_rs::weights::{HostTensor, ModelCard, StateDict, onnx, timm};
use serde_json::Value;
use tempfile::TempDir;

/// The released models at the resolutions they were trained at: parameters with 1000 classes, and 10^9
/// multiply-accumulates of convolutions and classifier (fact sheet 1.1 and 1.2).
const FACTS: [(u32, u32, u64, &str); 11] = [
    (50, 160, 35_691_912, "2.279"),
    (101, 160, 63_618_696, "4.182"),
    (101, 192, 63_618_696, "6.012"),
    (152, 192, 86_621_576, "8.747"),
    (152, 224, 86_621_576, "11.895"),
    (152, 256, 86_621_576, "15.528"),
    (200, 256, 93_209_992, "20.093"),
    (270, 256, 129_861_448, "26.950"),
    (350, 256, 163_956_168, "34.377"),
    (350, 320, 163_956_168, "53.684"),
    (420, 320, 191_891_656, "63.942"),
];

/// EfficientNet B0 to B7, each at its own resolution (fact sheet 6.2).
const EFFICIENTNETS: [(u64, &str); 8] = [
    (5_288_548, "0.386"),
    (7_794_184, "0.687"),
    (9_109_994, "0.994"),
    (12_233_232, "1.827"),
    (19_341_616, "4.394"),
    (30_389_784, "10.266"),
    (43_040_704, "19.068"),
    (66_347_960, "37.746"),
];

#[test]
fn info_equals_the_published_costs() {
    for (size, (params, gmacs)) in EFFICIENTNETS.into_iter().enumerate() {
        let answer = json(&format!("info tf_efficientnet_b{size}"));
        let macs = answer["macs"].as_f64().unwrap();
        assert_eq!((&answer["params"], format!("{:.3}", macs / 1e9).as_str()), (&params.into(), gmacs), "b{size}");
    }
    for (depth, res, params, gmacs) in FACTS {
        let answer = json(&format!("info resnet-rs-{depth} --res {res}"));
        let macs = answer["macs"].as_u64().unwrap();
        assert_eq!(answer["params"], params, "resnet-rs-{depth}");
        assert_eq!(format!("{:.3}", macs as f64 / 1e9), gmacs, "resnet-rs-{depth} at {res}");
        assert_eq!(answer["flops"], 2 * macs);
    }
}

#[test]
fn info_tells_what_half_precision_saves() {
    let planned = |of: &str, what: &str| {
        let share = |precision| {
            let answer = json(&format!("info resnet-rs-50 --precision {precision} {of}"));
            assert_eq!(answer["precision"], precision);
            answer.pointer(what).and_then(serde_json::Value::as_f64).unwrap()
        };
        share("f16") / share("f32")
    };
    // Sums in parts are f32 in either case: up to 256 of 64 x 64, 4.2 MB beside 137 of weights and maps, a thirtieth.
    let share = planned("", "/planned_bytes");
    assert!((0.5..0.515).contains(&share), "{share}");
    // While training all gradients of weights are kept until their norm is known, 143 MB.
    let share = planned("--train --res 160 --batch 32", "/planned/slots");
    assert!((0.5..0.6).contains(&share), "{share}");
}

/// From the adapter to a class: what a new user tries, in this order.
#[test]
fn every_command_answers() {
    let adapters = json("devices");
    assert!(adapters[0]["name"].is_string() && adapters[0]["max_buffer_bytes"].is_u64(), "{adapters}");
    let models = json("models");
    assert!(models.as_array().unwrap().iter().any(|model| model["name"] == "resnet-rs-420"), "{models}");

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (run, pictures, exported) = (path("run"), path("pictures"), path("exported.safetensors"));
    let trained = json(&format!("train --data shapes --out {run} --max-steps 4 --batch 8"));
    assert_eq!((&trained["steps"], &trained["stopped"]), (&4.into(), &false.into()), "{trained}");
    assert_eq!(losses(Path::new(&run)).len(), 4);
    let weights = format!("{run}/last.safetensors");

    let evaluated = json(&format!("eval --data shapes --weights {weights}"));
    let share = |key: &str| evaluated[key].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share("top1")) && share("top5") >= share("top1"), "{evaluated}");

    let inspected = json(&format!("eval --data shapes --weights {weights} --mistakes 3"));
    let figures = ["top1", "top5", "loss", "images"];
    assert!(figures.iter().all(|&key| inspected[key] == evaluated[key]) && evaluated.get("mistakes").is_none());
    let count = |rows: &Value, keep: fn(usize, usize) -> bool| -> u64 {
        let cells = |(i, row): (usize, &Value)| -> u64 {
            row.as_array()
                .unwrap()
                .iter()
                .enumerate()
                .filter(|(j, _)| keep(i, *j))
                .map(|(_, n)| n.as_u64().unwrap())
                .sum()
        };
        rows.as_array().unwrap().iter().enumerate().map(cells).sum()
    };
    let (all, right) = (count(&inspected["confusion"], |_, _| true), count(&inspected["confusion"], |i, j| i == j));
    assert_eq!((all, right as f64 / all as f64), (evaluated["images"].as_u64().unwrap(), share("top1")));
    let worst = inspected["mistakes"].as_array().unwrap();
    assert!(worst.len() == 3 && worst.iter().all(|mistake| mistake["label"] != mistake["predicted"]), "{inspected}");
    let shown = succeed(&format!("eval --data shapes --weights {weights} --mistakes 3"));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("taken for"));

    let sampled = json_lines(&format!("sample --data shapes --out {pictures} --count 3"));
    let files: Vec<&str> = sampled.iter().map(|line| line["image"].as_str().unwrap()).collect();
    let predicted = json_lines(&format!("predict {} --weights {weights} --top 2", files.join(" ")));
    assert_eq!(predicted.iter().map(|line| line["image"].as_str().unwrap()).collect::<Vec<_>>(), files);
    for line in &predicted {
        let top = line["top"].as_array().unwrap();
        let probability = |guess: &Value| guess["probability"].as_f64().unwrap();
        assert!(top.len() == 2 && probability(&top[0]) >= probability(&top[1]), "{line}");
        assert!(top.iter().all(|guess| guess["class"].is_u64() && guess["label"].is_string()), "{line}");
    }

    let (tensor, logits) = (path("input.safetensors"), path("logits.safetensors"));
    let input = HostTensor { shape: vec![2, 3, 32, 32], data: (0..2 * 3 * 32 * 32).map(|i| (i % 7) as f32).collect() };
    write(Path::new(&tensor), [("input", input)]);
    let of_tensor = format!("predict --tensor {tensor} --logits {logits}");
    succeed(&format!("{of_tensor} --weights {weights}"));
    let classes = StateDict::read(Path::new(&weights)).unwrap().tensors["fc.bias"].shape[0];
    let answer = StateDict::read(Path::new(&logits)).unwrap().tensors["logits"].clone();
    assert_eq!(answer.shape, [2, classes]);

    succeed(&format!("{of_tensor} --weights {weights} --precision f16"));
    let half = StateDict::read(Path::new(&logits)).unwrap().tensors["logits"].clone();
    let largest = answer.data.iter().fold(0.0, |max: f32, z| max.max(z.abs()));
    let difference = answer.data.iter().zip(&half.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(half != answer && difference <= 0.01 * largest, "{difference} of {largest}");
    let evaluated_in_half = json(&format!("eval --data shapes --weights {weights} --precision f16"));
    assert!((share("loss") - evaluated_in_half["loss"].as_f64().unwrap()).abs() < 0.01, "{evaluated_in_half}");

    succeed(&format!("export --weights {weights} {exported}"));
    succeed(&format!("{of_tensor} --weights {exported}"));
    assert_eq!(StateDict::read(Path::new(&logits)).unwrap().tensors["logits"], answer);

    let network = path("exported.onnx");
    succeed(&format!("export --weights {weights} {network} --res 48"));
    let file = StateDict::read(Path::new(&weights)).unwrap();
    let card = timm::recognise(Path::new(&weights), &file).unwrap();
    let theirs = onnx::export((Path::new(&weights), &file), &ModelCard { res: 48, ..card.clone() }).unwrap();
    assert!(fs::read(&network).unwrap() == theirs, "the program writes what the library does");

    let small = path("small.safetensors");
    let quantized = json(&format!("quantize --weights {weights} {small}"));
    let bytes = |key: &str| quantized[key].as_u64().unwrap();
    assert_eq!(["bytes_before", "bytes_after"].map(bytes), [&weights, &small].map(|f| fs::metadata(f).unwrap().len()));
    assert!(2 * bytes("bytes_after") < bytes("bytes_before") * 5 / 4, "{quantized}");
    let rounding = quantized["rounding"]["share"].as_f64().unwrap();
    assert!((1e-4..=2f64.powi(-11)).contains(&rounding), "{quantized}");
    assert_eq!(timm::recognise(Path::new(&small), &StateDict::read(Path::new(&small)).unwrap()).unwrap(), card);
    succeed(&format!("{of_tensor} --weights {small}"));
    let rounded = StateDict::read(Path::new(&logits)).unwrap().tensors["logits"].clone();
    let difference = answer.data.iter().zip(&rounded.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(rounded != answer && difference <= 0.01 * largest, "{difference} of {largest}");
    let shown = succeed(&format!("quantize --weights {weights} {small}"));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("largest rounding error"));
    assert!(String::from_utf8_lossy(&succeed("selftest --help").stdout).contains("--all-families"));
}

/// What a run leaves to look at, and several runs side by side.
#[test]
fn runs_are_compared() {
    let f = Fixture::new();
    idx_folder(&f.path("data"), 32, 16);
    let train = "train --data idx:@data --batch 16 --epochs 2 --out";
    succeed(&f.line(&format!("{train} @runs/a --lr 0.1")));
    succeed(&f.line(&format!("{train} @runs/b --lr 0.2 --max-steps 1")));
    let page = fs::read_to_string(f.path("runs/a/report.html")).unwrap();
    for expected in ["How it went", "What is taken for what", "The worst mistakes", "data:image", "weight-decay"] {
        assert!(page.contains(expected), "{expected}");
    }
    assert_eq!(image::image_dimensions(f.path("runs/a/curves.png")).unwrap().0, 960);
    for drawing in ["confusion.png", "mistakes.png"] {
        let (width, height) = image::image_dimensions(f.path("runs/a").join(drawing)).unwrap();
        assert!(width > 200 && height > 100, "{drawing}: {width} x {height}");
    }
    assert_eq!(fs::read_dir(f.path("runs/a/tensorboard")).unwrap().count(), 1);
    assert!(fs::read_to_string(f.path("runs/b/report.html")).unwrap().contains("no epoch validated yet"));

    let rows = json(&f.line("runs @runs @run --plot @runs.svg"));
    let column = |key: &str| rows.as_array().unwrap().iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("run"), ["@runs/a", "@runs/b", "@run"].map(|name| f.line(name)));
    assert_eq!(column("data"), [f.line("idx:@data"), f.line("idx:@data"), "shapes".into()]);
    assert_eq!((column("steps"), &column("total_steps")[0]), (vec![4.into(), 1.into(), 1.into()], &4.into()));
    let best = &metrics(&f.path("runs/a"), "val_top1");
    let best = best.iter().map(|line| line["val_top1"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((column("best_top1")[0].as_f64().unwrap() - best).abs() < 1e-12);
    assert!(column("total_steps")[1].is_null() && column("best_top1")[1].is_null(), "no epoch is through: {rows}");
    assert_eq!((&rows[0]["differs"]["lr"], &rows[1]["differs"]["lr"]), (&0.1.into(), &0.2.into()));
    assert!(rows[0]["differs"].get("seed").is_none() && rows[0]["settings"]["seed"] == 0, "{rows}");
    let drawn = fs::read_to_string(f.path("runs.svg")).unwrap();
    assert!(["runs/a", "runs/b"].iter().all(|name| drawn.contains(name)), "{drawn}");
    succeed(&f.line("runs @runs --plot @runs.png"));
    assert_eq!(image::image_dimensions(f.path("runs.png")).unwrap().0, 960);
    let table = succeed(&f.line("runs @runs"));
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("4 of 4") && table.contains("1 of ?") && table.contains("lr=0.2"), "{table}");

    fs::create_dir_all(f.path("empty/folder")).unwrap();
    f.refuses("runs @empty", "@empty: no run there");
    f.refuses("runs @runs @nowhere", "@nowhere");
    f.refuses("runs @runs --plot @nowhere/runs.svg", "@nowhere/runs.svg");
    f.refuses("runs @runs --plot @runs.jpg", "ends in .svg or .png");
    f.refuses("runs", "<DIR>");
    let path = f.path("runs/a/metrics.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    fs::write(&path, lines.replacen("\"step\":1", "\"step\":one", 1)).unwrap();
    f.refuses("runs @runs", "@runs/a/metrics.jsonl, line 2");
    fs::remove_file(f.path("runs/a/run.toml")).unwrap();
    f.refuses("runs @runs", "@runs/a/run.toml");
}

/// Four rows, each on a device of its own; what does not depend on the clock equals what `info` says.
#[test]
fn bench_measures_what_info_counts() {
    let rows = json_lines("bench --models small --classes 10 --batch 2,4 --mode infer,train");
    let keys = |row: &Value| ["mode", "batch"].map(|key| row[key].to_string());
    let expected = [["\"infer\"", "2"], ["\"infer\"", "4"], ["\"train\"", "2"], ["\"train\"", "4"]];
    assert_eq!(rows.iter().map(keys).collect::<Vec<_>>(), expected);
    for row in &rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert_eq!((&row["model"], &row["res"], &row["precision"]), (&"small".into(), &32.into(), &"f32".into()));
        let gflops = number("flops") / number("median_ms") / 1e6;
        assert!((number("gflops") / gflops - 1.0).abs() < 1e-9, "{row}");
        assert!(number("runs") >= 3.0 && number("pipelines") > 0.0 && number("median_ms") > 0.0, "{row}");
        assert!(number("first_ms") > number("median_ms"), "the first answer takes a run and more: {row}");

        let train = row["mode"] == "train";
        let info =
            json(&format!("info small --classes 10 --batch {}{}", row["batch"], if train { " --train" } else { "" }));
        // But for the sums that GPUs of the size that `info` assumes cut into parts.
        let planned = number("planned_bytes") / info["planned_bytes"].as_f64().unwrap();
        assert!((planned - 1.0).abs() < 0.05, "{row}");
        let forward = info["flops"].as_f64().unwrap();
        if train {
            // Three times the forward pass, but for the first layer's input gradient.
            assert!((2.9 * forward..3.0 * forward).contains(&number("flops")), "{row}");
        } else {
            assert_eq!(number("flops"), forward);
        }
    }
    let table = succeed("bench --models small");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.lines().count() == 2 && table.contains("median ms") && table.contains("small"), "{table}");
}

/// Within a budget of planned memory, which does not depend on the clock, and none within a budget that nothing can keep.
#[test]
fn scale_keeps_its_budget() {
    let advice = json("scale --memory-mib 8 --res 32 --classes 10 --pictures 60000 --epochs 100");
    let (chosen, tried) = (&advice["chosen"], advice["tried"].as_array().unwrap());
    assert_eq!((&advice["direction"], chosen["fits"].as_bool()), (&"depth".into(), Some(true)));
    assert!(chosen["planned_bytes"].as_u64() <= Some(8 << 20) && chosen["ms"].as_f64() > Some(0.0), "{advice}");
    let beyond = |t: &Value| t["fits"] == false && t["planned_bytes"].as_u64() > Some(8 << 20);
    assert!(tried.iter().any(beyond), "{advice}");
    let output = program(&words("scale --latency-ms 0.000001 --res 32 --classes 10")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("even the smallest network is beyond the budget"), "{}", said(&output));
}

#[test]
fn profile_adds_up() {
    let profile = json("profile small --classes 10 --batch 4 --train");
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
    let total = &profile["total"];
    let timed = total["ms"].is_number();
    let keys = ["nodes", "flops", "moved_bytes", "least_bytes", "limit_ms"];
    for lines in ["kinds", "nodes"].map(|lines| profile[lines].as_array().unwrap()) {
        for key in keys.into_iter().chain(timed.then_some("ms")) {
            let sum: f64 = lines.iter().map(|line| number(line, key)).sum();
            assert!((sum / number(total, key) - 1.0).abs() < 1e-9, "{key}: {sum}, {total}");
        }
        let order = if timed { "ms" } else { "limit_ms" };
        assert!(lines.is_sorted_by(|a, b| number(a, order) >= number(b, order)), "largest first: {lines:?}");
    }
    assert_eq!(number(total, "nodes"), profile["nodes"].as_array().unwrap().len() as f64);
    // No node moves less than it must; what exceeds it is scratch memory, and what several launches read.
    let nodes = profile["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| number(node, "moved_bytes") >= number(node, "least_bytes")), "{nodes:?}");
    let peaks = ["gflops", "gb_per_s"].map(|key| number(&profile["peaks"], key));
    for node in nodes {
        let limit = (number(node, "flops") / peaks[0]).max(number(node, "least_bytes") / peaks[1]) / 1e6;
        assert!((number(node, "limit_ms") / limit - 1.0).abs() < 1e-9, "{node}");
    }
    let time = if timed { number(total, "ms") } else { number(&profile, "run_ms") };
    assert!((number(&profile, "share") * time / number(total, "limit_ms") - 1.0).abs() < 1e-9, "{profile}");
    assert!(number(&profile, "first_ms") > 0.0 && number(&profile, "pipelines") > 0.0);
    assert!(profile["batch_norm"]["moved_bytes"].as_u64() >= profile["batch_norm"]["least_bytes"].as_u64());

    let shown = succeed("profile small --top 3");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("conv2d") && shown.contains("peaks: ") && shown.contains("of the limit"), "{shown}");
}

/// A folder with a trained network, data, and what is wrong with copies of them.
struct Fixture {
    folder: TempDir,
    /// The header of the weights and the bytes that follow it.
    header: Value,
    data: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        succeed(&format!("train --data shapes --out {} --max-steps 1 --batch 8", run.display()));
        let bytes = fs::read(run.join("last.safetensors")).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { folder, header, data: bytes[8 + length..].to_vec() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces `@name` by the path of that name in the folder.
    fn line(&self, line: &str) -> String {
        line.replace('@', &format!("{}/", self.folder.path().display()))
    }

    /// A copy of the weights, its header edited.
    fn weights(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut header = self.header.clone();
        edit(&mut header);
        let header = header.to_string();
        let length = (header.len() as u64).to_le_bytes();
        fs::write(self.path(name), [&length[..], header.as_bytes(), &self.data].concat()).unwrap();
    }

    /// Asserts that a command line fails with a message that holds `expected`, and changes nothing in the folder.
    fn refuses(&self, line: &str, expected: &str) {
        self.refuses_with(line, expected, &[]);
    }

    fn refuses_with(&self, line: &str, expected: &str, environment: &[(&str, &str)]) {
        let (line, expected) = (self.line(line), self.line(expected));
        let before = snapshot(self.folder.path());
        let output = program(&words(&line)).envs(environment.iter().copied()).output().unwrap();
        assert_refused(&line, &output, &expected);
        assert!(snapshot(self.folder.path()) == before, "{line}: changed something");
    }
}

fn assert_refused(line: &str, output: &Output, expected: &str) {
    let said = said(output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{line}: {:?}, {said}", output.status);
    assert!(said.contains("error: ") && said.contains(expected), "{line}: no word of {expected} in: {said}");
    assert!(!said.contains("panicked"), "{line}: {said}");
}

/// Every file below a folder with its bytes, every folder without.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            let mut all = snapshot(&path);
            all.insert(path, None);
            all
        } else {
            [(path.clone(), Some(fs::read(path).unwrap()))].into()
        }
    };
    paths.flat_map(below).collect()
}

fn write<const N: usize>(path: &Path, tensors: [(&str, HostTensor); N]) {
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    StateDict { tensors, ..StateDict::default() }.write(path).unwrap();
}

#[test]
fn hostile_weights_are_refused() {
    let f = Fixture::new();
    RgbImage::new(32, 32).save(f.path("picture.png")).unwrap();
    fs::write(f.path("header-missing"), [1, 2, 3]).unwrap();
    fs::write(f.path("header-oversized"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    fs::write(f.path("truncated"), &fs::read(f.path("run/last.safetensors")).unwrap()[..20_000]).unwrap();
    f.weights("overlapping", |h| h["fc.weight"]["data_offsets"] = h["conv1.0.weight"]["data_offsets"].clone());
    f.weights("out-of-range", |h| h["fc.weight"]["data_offsets"] = serde_json::json!([0, 1u64 << 40]));
    f.weights("backwards", |h| h["fc.weight"]["data_offsets"] = serde_json::json!([8, 0]));
    f.weights("dtype", |h| h["fc.bias"]["dtype"] = "I32".into());
    f.weights("shape-too-large", |h| h["fc.bias"]["shape"] = serde_json::json!([u64::MAX, u64::MAX]));
    f.weights("shape", |h| h["fc.bias"]["shape"].as_array_mut().unwrap().insert(0, 1.into()));
    let edit = |name: &str, edit: &dyn Fn(&mut StateDict)| {
        let mut weights = StateDict::read(&f.path("run/last.safetensors")).unwrap();
        edit(&mut weights);
        weights.write(&f.path(name)).unwrap();
    };
    edit("tensor-missing", &|w| drop(w.tensors.remove("layer2.0.bn1.weight")));
    edit("tensor-surplus", &|w| {
        w.tensors.insert("layer9.weight".into(), HostTensor { shape: vec![1], data: vec![0.0] });
    });
    write(&f.path("no-network"), [("a", HostTensor { shape: vec![1], data: vec![0.0] })]);
    fs::create_dir(f.path("a-folder")).unwrap();
    for (file, expected) in [
        ("header-missing", "too short for a header"),
        ("header-oversized", "announce a header of 18446744073709551615 bytes"),
        ("truncated", "cut short"),
        ("overlapping", "inside another tensor"),
        ("out-of-range", "fc.weight"),
        ("backwards", "fc.weight"),
        ("dtype", "fc.bias holds I32"),
        ("shape-too-large", "fc.bias"),
        ("shape", "fc.bias has shape [1, "),
        ("tensor-missing", "layer2.0.bn1.weight is missing"),
        ("tensor-surplus", "layer9.weight belongs to no part"),
        ("no-network", "not the weights of a ResNet"),
        ("a-folder", "not a regular file"),
        ("nowhere", "cannot read"),
    ] {
        for command in ["predict @picture.png --weights", "eval --data shapes --weights"] {
            f.refuses(&format!("{command} @{file}"), expected);
            f.refuses(&format!("{command} @{file}"), &format!("@{file}"));
        }
        for command in ["export @out.safetensors", "export @out.onnx", "quantize @out.safetensors"] {
            f.refuses(&format!("{command} --weights @{file}"), expected);
        }
    }
}

#[test]
fn odd_pictures() {
    let f = Fixture::new();
    fs::write(f.path("text.png"), "no picture").unwrap();
    RgbImage::new(1, 1).save(f.path("pixel.png")).unwrap();
    RgbImage::new(20_000, 4).save(f.path("wide.png")).unwrap();
    RgbImage::new(40_000, 1).save(f.path("too-wide.png")).unwrap();
    let png = fs::read(f.path("wide.png")).unwrap();
    fs::write(f.path("cut.png"), &png[..png.len() / 2]).unwrap();
    for name in ["pixel.png", "wide.png"] {
        succeed(&f.line(&format!("predict @{name} --weights @run/last.safetensors")));
    }
    for name in ["text.png", "too-wide.png", "cut.png", "missing.png"] {
        f.refuses(&format!("predict @{name} --weights @run/last.safetensors"), &format!("@{name}"));
    }
}

/// A folder's pictures, twenty and three that are none, in batches: each has its line, in order, and the status tells of the three.
#[test]
fn a_folder_is_classified_without_its_bad_pictures() {
    let f = Fixture::new();
    succeed(&f.line("sample --data shapes --count 20 --out @pictures/below"));
    let good = json_lines(&f.line("predict @pictures --weights @run/last.safetensors"));
    assert_eq!(good.len(), 20);
    for name in ["below/0003-bad.png", "below/.hidden.png", "zero.jpg", "last.webp", "note.txt"] {
        fs::write(f.path("pictures").join(name), "no picture").unwrap();
    }
    let line = f.line("predict @pictures --weights @run/last.safetensors --batch 4 --json");
    let output = program(&words(&line)).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("3 of 23 pictures could not be read"), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (bad, answered): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.get("error").is_some());
    let images: Vec<&str> = lines.iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert!(images.is_sorted(), "{images:?}");
    assert_eq!(bad.len(), 3, "{bad:?}");
    for (answered, good) in answered.iter().zip(&good) {
        assert_eq!(answered["image"], good["image"]);
        assert_eq!(answered["top"][0]["class"], good["top"][0]["class"]);
    }
    fs::create_dir(f.path("empty")).unwrap();
    f.refuses("predict @empty --weights @run/last.safetensors", "no pictures here");
}

#[test]
fn bad_data_is_refused() {
    let f = Fixture::new();
    for folder in ["train/cat", "train/dog", "val/cat", "val/dog"] {
        let folder = f.path("folder").join(folder);
        fs::create_dir_all(&folder).unwrap();
        RgbImage::new(8, 8).save(folder.join("a.png")).unwrap();
    }
    fs::remove_file(f.path("folder/train/dog/a.png")).unwrap();

    for data in ["label", "cut", "cut-gzip", "label-cut", "no-idx"] {
        idx_folder(&f.path(data), 32, 16);
    }
    fs::write(f.path("label/t10k-labels-idx1-ubyte"), idx(&[16], &[200; 16])).unwrap();
    fs::write(f.path("label-cut/train-labels-idx1-ubyte"), idx(&[32], &[0; 31])).unwrap();
    fs::write(f.path("no-idx/train-images-idx3-ubyte"), "text, not pictures").unwrap();
    let images = fs::read(f.path("cut/train-images-idx3-ubyte")).unwrap();
    fs::write(f.path("cut/train-images-idx3-ubyte"), &images[..images.len() - 1]).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&images).unwrap();
    let gzip = gzip.finish().unwrap();
    fs::remove_file(f.path("cut-gzip/train-images-idx3-ubyte")).unwrap();
    fs::write(f.path("cut-gzip/train-images-idx3-ubyte.gz"), &gzip[..gzip.len() - 9]).unwrap();

    for (data, expected) in [
        ("folder:@folder", "@folder/train/dog"),
        ("folder:@nowhere", "@nowhere"),
        ("idx:@label", "@label/t10k-labels-idx1-ubyte"),
        ("idx:@cut", "@cut/train-images-idx3-ubyte"),
        ("idx:@cut-gzip", "@cut-gzip/train-images-idx3-ubyte.gz"),
        ("idx:@label-cut", "@label-cut/train-labels-idx1-ubyte"),
        ("idx:@no-idx", "@no-idx/train-images-idx3-ubyte"),
        ("cifar10:@nowhere", "@nowhere"),
        ("birds", "--data birds"),
    ] {
        f.refuses(&format!("train --data {data} --out @new"), expected);
        f.refuses(&format!("eval --data {data} --weights @run/last.safetensors"), expected);
    }
}

#[test]
fn bad_flags_are_refused() {
    let f = Fixture::new();
    for (flags, expected) in [
        ("--batch 0", "--batch"),
        ("--res 0", "--res"),
        ("--lr -1", "--lr"),
        ("--lr nan", "--lr"),
        ("--model resnet-rs-51", "resnet-rs-51"),
        ("--depths 1,2", "--depths"),
        ("--device no-such-adapter", "no-such-adapter"),
        ("--recipe @nowhere.toml", "@nowhere.toml"),
        ("--init @nowhere", "@nowhere"),
        ("--batch 1000000", "--batch"),
    ] {
        f.refuses(&format!("train --data shapes --out @new {flags}"), expected);
    }
    let weights = "--weights @run/last.safetensors";
    f.refuses(&format!("eval --data shapes --batch 0 {weights}"), "--batch");
    f.refuses(&format!("eval --data shapes --res 0 {weights}"), "--res");
    f.refuses("sample --data shapes --out @new --first 1000000", "--first");
    for (flags, expected) in [
        ("small --mode train", "layer4.0.bn2: batch_norm"),
        ("small,resnet-rs-51", "resnet-rs-51"),
        ("small --res 32,0", "--res"),
        ("small --batch 1,,2", "--batch"),
        ("small --mode jump", "--mode"),
        ("small --width 100", "width must be from 0.125 to 8"),
    ] {
        f.refuses(&format!("bench --models {flags}"), expected);
    }
    f.refuses("bench --models efficientnet-b0 --depths 1,1,1,1", "efficientnet-b0 has no depths");
    f.refuses("scale --res 32", "--latency-ms");
    f.refuses("scale --latency-ms -1", "--latency-ms");
    f.refuses("profile small --train", "layer4.0.bn2: batch_norm");
    f.refuses("profile small --top 3 --all", "--all");
    f.refuses(&format!("export {weights} @out.pt"), "@out.pt: only .safetensors and .onnx");
    f.refuses(&format!("export {weights} @out.onnx --res 0"), "--res");
    f.refuses(&format!("quantize {weights} @out.onnx"), "@out.onnx: only .safetensors");
    f.refuses(&format!("quantize {weights} @run/../run/last.safetensors"), "is what is read");

    let none = [("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent")];
    let commands = ["devices", "selftest", "train --data shapes --out @new", "bench --models small", "profile small"];
    for line in commands {
        f.refuses_with(line, "adapter", &none);
    }
}

#[test]
fn a_run_that_exists_is_left_alone() {
    let f = Fixture::new();
    f.refuses("train --data shapes --out @run", "@run");
    f.refuses("train --resume @run --lr 0.5", "--lr was 0.05 and is 0.5 now");
    f.refuses("train --resume @nowhere", "@nowhere");

    succeed(&f.line("train --data shapes --out @other --max-steps 1 --batch 8 --width 0.5"));
    f.refuses("train --data shapes --out @new --init @other/last.safetensors", "@other/last.safetensors");
    // Settings and tensors that contradict each other: metadata of one run, tensors of another.
    let state = "checkpoint/state.safetensors";
    let mut mixed = StateDict::read(&f.path("run").join(state)).unwrap();
    mixed.tensors = StateDict::read(&f.path("other").join(state)).unwrap().tensors;
    fs::create_dir_all(f.path("mixed/checkpoint")).unwrap();
    mixed.write(&f.path("mixed").join(state)).unwrap();
    f.refuses("train --resume @mixed", "@mixed");
    // Weights are no checkpoint.
    fs::copy(f.path("run/last.safetensors"), f.path("mixed").join(state)).unwrap();
    f.refuses("train --resume @mixed", "@mixed/checkpoint/state.safetensors");

    // A whole checkpoint of another run is a run like any other.
    fs::copy(f.path("other").join(state), f.path("mixed").join(state)).unwrap();
    succeed(&f.line("train --resume @mixed --max-steps 2"));
}

/// A tmpfs, unmounted when dropped. `None`, with a line that says so, where this user cannot mount one.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&path).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: this user cannot mount a tmpfs");
        None
    }

    fn options(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn folders_that_cannot_be_written() {
    let f = Fixture::new();
    fs::write(f.path("file"), "").unwrap();
    f.refuses("train --data shapes --out @file/run", "@file/run");
    f.refuses("export --weights @run/last.safetensors @file/out.safetensors", "@file/out.safetensors");
    f.refuses("export --weights @run/last.safetensors @nowhere/out.safetensors", "@nowhere/out.safetensors");
    f.refuses("export --weights @run/last.safetensors @nowhere/out.onnx", "@nowhere/out.onnx");
    f.refuses("quantize --weights @run/last.safetensors @file/out.safetensors", "@file/out.safetensors");
    f.refuses("sample --data shapes --out @file/pictures", "@file/pictures");

    let Some(mount) = Mount::new(f.path("disk"), "size=16m") else { return };
    succeed(&f.line("train --data shapes --out @disk/run --max-steps 1 --batch 8"));
    let used: u64 = snapshot(&mount.0).values().flatten().map(|bytes| bytes.len() as u64).sum();
    let checkpoint = fs::read(f.path("disk/run/checkpoint/state.safetensors")).unwrap();

    // Full: room for metrics, but not for another checkpoint beside the one that stands.
    fs::write(f.path("disk/ballast"), vec![1; ((16 << 20) - used - 256 * 1024) as usize]).unwrap();
    let line = f.line("train --resume @disk/run --max-steps 2");
    assert_refused(&line, &program(&words(&line)).output().unwrap(), "free some space");
    assert!(fs::read(f.path("disk/run/checkpoint/state.safetensors")).unwrap() == checkpoint);
    fs::remove_file(f.path("disk/ballast")).unwrap();

    mount.options("remount,ro");
    f.refuses("train --resume @disk/run --max-steps 2", "@disk/run");
    f.refuses("train --data shapes --out @disk/new", "@disk/new");
    mount.options("remount,rw");
    succeed(&f.line("train --resume @disk/run --max-steps 2"));
}
