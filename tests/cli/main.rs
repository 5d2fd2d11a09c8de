//! Runs every command of the program once, as a user would, on the default adapter.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../common/golden.rs"]
mod golden;
#[path = "../common/program.rs"]
mod program;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../common/synth.rs"]
mod synth;
#[path = "../common/weights.rs"]
mod weights;

mod fixture;
mod predict;
mod refusals;

use std::fs;
use std::path::Path;

use fixture::{Fixture, write};
use image::RgbImage;
use program::{idx_folder, json, json_lines, losses, metrics, program, said, succeed, words};
use resnet_rs::data::{CropMode, Interpolation};
use resnet_rs::weights::{HostTensor, ModelCard, StateDict, TrainedNetwork, onnx, timm};
use serde_json::Value;

/// The released models at their training resolutions: timm's parameters with 1000 classes, and 10^9
/// multiply-accumulates of convolutions and linear layers.
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

/// Parameters and multiply-accumulates of EfficientNet B0 to B7, each at its own resolution.
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
    // Partial sums are f32 in either case: up to 256 of 64 x 64, 4.2 MB beside 137 MB of weights and maps, a thirtieth.
    let share = planned("", "/planned_bytes");
    assert!((0.5..0.515).contains(&share), "{share}");
    // In training all gradients of weights are kept until their norm is known: 143 MB.
    let share = planned("--train --res 160 --batch 32", "/planned/slots");
    assert!((0.5..0.6).contains(&share), "{share}");
}

/// From the adapter to a class: the commands that a new user tries, in this order.
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

    for task in ["detect", "segment", "depth"] {
        let scenes = path(task);
        let sampled = json_lines(&format!("sample --data shapes --task {task} --out {scenes} --count 1 --first 5"));
        let (image, truth) = (format!("{scenes}/0005.png"), format!("{scenes}/0005-truth.png"));
        assert_eq!((&sampled[0]["image"], &sampled[0]["truth"]), (&Value::from(&*image), &Value::from(&*truth)));
        assert_ne!(fs::read(image).unwrap(), fs::read(truth).unwrap(), "{task}");
    }
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
    let theirs =
        onnx::export((Path::new(&weights), &file), &ModelCard { res: 48, ..card.clone() }, &onnx::Options::default())
            .unwrap();
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

/// A folder as downloaded from the hub: weights without a card and with a wrapper's prefix, and timm's config.json.
#[test]
fn a_folder_answers_as_timm_describes_it() {
    let f = Fixture::new();
    RgbImage::from_fn(60, 40, |x, y| image::Rgb([4 * x as u8, 6 * y as u8, 90])).save(f.path("picture.png")).unwrap();
    let trained = TrainedNetwork::read(f.path("run/last.safetensors")).unwrap();
    let classes = trained.card.config.classes;
    let names: Vec<String> = (0..classes).map(|class| format!("kind {class}")).collect();
    fs::create_dir(f.path("net")).unwrap();
    let tensors =
        trained.weights.tensors.into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
    let wrapped = StateDict { tensors, ..StateDict::default() };
    wrapped.write(&f.path("net/model.safetensors")).unwrap();
    let describe = |architecture: &str| {
        let pretrained = serde_json::json!({
            "input_size": [3, 48, 48], "crop_pct": 1.0, "interpolation": "bilinear", "crop_mode": "border",
            "mean": [0.5, 0.25, 0.5], "std": [0.5, 0.5, 0.5],
        });
        let config = serde_json::json!({
            "architecture": architecture, "num_classes": classes, "label_names": names, "pretrained_cfg": pretrained,
        });
        fs::write(f.path("net/config.json"), config.to_string()).unwrap();
    };

    describe("small");
    let predict = |weights: &str| json(&f.line(&format!("predict @picture.png --weights @{weights}")))["top"].clone();
    let answer = predict("net");
    assert!(answer[0]["label"].as_str().unwrap().starts_with("kind "), "{answer}");
    assert_eq!(predict("net/model.safetensors"), answer);
    // The exported file carries all of it.
    succeed(&f.line("export --weights @net @carded.safetensors"));
    assert_eq!(predict("carded.safetensors"), answer);
    let card = TrainedNetwork::read(f.path("carded.safetensors")).unwrap().card;
    let (interpolation, crop_mode) = (Interpolation::Bilinear, CropMode::Border);
    let (mean, std) = ([0.5, 0.25, 0.5], [0.5; 3]);
    let described = ModelCard {
        res: 48,
        crop_pct: 1.0,
        mean,
        std,
        interpolation,
        crop_mode,
        classes: names.clone(),
        ..card.clone()
    };
    assert_eq!(card, described);
    // Names are clean for any editor's text format.
    fs::write(f.path("names.txt"), format!("\u{FEFF}{}\r\n\r\n", names.join("\r\n"))).unwrap();
    let named = json(&f.line("predict @picture.png --weights @net --labels @names.txt"));
    assert_eq!(named["top"], answer);

    describe("smallblur");
    f.refuses("predict @picture.png --weights @net", "@net/config.json: this program has no network smallblur");
    let insisted = json(&f.line("predict @picture.png --weights @net --model small"));
    assert_eq!(insisted["top"], answer);
}

/// The report of a run, and the comparison of several runs.
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

/// Four rows, each on its own device; figures that do not depend on the clock equal those of `info`.
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
        // Except for the sums that a GPU of the size that `info` assumes splits.
        let planned = number("planned_bytes") / info["planned_bytes"].as_f64().unwrap();
        assert!((planned - 1.0).abs() < 0.05, "{row}");
        let forward = info["flops"].as_f64().unwrap();
        if train {
            // Three times the forward pass, without the first layer's input gradient.
            assert!((2.9 * forward..3.0 * forward).contains(&number("flops")), "{row}");
        } else {
            assert_eq!(number("flops"), forward);
        }
    }
    let table = succeed("bench --models small");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.lines().count() == 2 && table.contains("median ms") && table.contains("small"), "{table}");
}

/// Finds a network within a budget of planned memory, which does not depend on the clock, and none within an impossible
/// budget.
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
    // No node moves less than its least bytes; the excess is scratch memory and repeated reads by several launches.
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
