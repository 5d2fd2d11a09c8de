//! The library as a C program uses it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/common/golden.rs"]
mod golden;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/common/synth.rs"]
mod synth;
#[path = "../../tests/common/weights.rs"]
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use resnet_rs::models::{Config, DenseDepth, Fcn, Head, Preset, RetinaNet};
use resnet_rs::weights::{HostTensor, ModelCard};
use resnet_rs::{Classifier, DepthEstimator, Detector, Found, Gpu, GpuOptions, Segmenter};

/// Largest logit error as a share of the largest logit.
const LOGITS: f64 = 1e-4;

/// This package's folder.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_header_is_that_of_the_source() {
    let config = cbindgen::Config::from_file(here().join("cbindgen.toml")).unwrap();
    let mut header = Vec::new();
    let bindings = cbindgen::Builder::new().with_src(here().join("src/lib.rs")).with_config(config).generate().unwrap();
    bindings.write(&mut header);
    let (path, header) = (here().join("include/resnet_rs.h"), String::from_utf8(header).unwrap());
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &header).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == header,
        "{} is old: run this test with UPDATE_HEADER=1",
        path.display()
    );
}

/// A compiled C program. The libraries lie beside this test.
fn compile(source: &str, folder: &Path, link: &[&str]) -> PathBuf {
    let program = folder.join(Path::new(source).file_stem().unwrap());
    let libraries = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_POSIX_C_SOURCE=200809L"])
        .arg("-I")
        .arg(here().join("include"))
        .arg(here().join(source))
        .arg("-L")
        .arg(&libraries)
        .args(link)
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Runs a program with the library that it was linked with: Cargo's search path may begin with an older one.
fn linked(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

const SHARED: [&str; 1] = ["-lresnet_rs_c"];
const STATIC: [&str; 4] = ["-l:libresnet_rs_c.a", "-lm", "-ldl", "-lgcc_s"];

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
}

/// The golden logits, and every misuse from C; with the library linked statically and dynamically.
#[test]
fn golden_logits_and_misuse() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let side = 64;
    let golden = golden::load("infer_rs50_64");
    let card = ModelCard { res: 64, ..ModelCard::for_preset_of(Preset::find("resnetrs50").unwrap().config(1000)) };
    let mut weights = weights::synthetic(&card.config, golden::BRANCH_GAMMA);
    weights.metadata = card.to_metadata();
    weights.write(&at("rs50.safetensors")).unwrap();
    let pictures: Vec<f32> = synth::value("input", 6 * side * side, golden::SEED).iter().map(|v| 1.7 * v).collect();
    fs::write(at("pictures"), pictures.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    for link in [&SHARED[..], &STATIC[..]] {
        let program = compile("tests/door.c", folder.path(), link);
        let arguments = ["rs50.safetensors", "pictures", "logits"].map(at);
        succeeded(&linked(&program).args(&arguments).args(["2", "64"]).output().unwrap());
        golden::assert_close("logits", &floats(&fs::read(at("logits")).unwrap()), &golden["logits"], LOGITS);
    }
}

/// Objects, classes and depths of pixels are those of the Rust door, and other calls are refused.
#[test]
fn networks_for_other_tasks_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let heads = [
        ("detector", Head::RetinaNet(RetinaNet { channels: 32 }), 4),
        ("segmenter", Head::Fcn(Fcn { auxiliary: false }), 3),
        ("depth", Head::DenseDepth(DenseDepth { widths: [64, 32, 32, 16, 16], max_m: 10.0 }), 1),
    ];
    for (name, head, classes) in heads {
        weights::with_head(head, classes, 32).weights.write(&at(name)).unwrap();
    }
    let turned = here().join("../tests/golden/pictures/deep.tif");
    let program = compile("tests/dense.c", folder.path(), &SHARED);
    let output = linked(&program).args(heads.map(|(name, ..)| at(name))).arg(&turned).output().unwrap();
    succeeded(&output);

    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let picture = resnet_rs::Picture::open(&turned).unwrap();
    let detector = Detector::load(&gpu, at("detector")).unwrap();
    let segmenter = Segmenter::load(&gpu, at("segmenter")).unwrap();
    let estimator = DepthEstimator::load(&gpu, at("depth")).unwrap();
    let detections = detector.detect(picture.clone()).unwrap();
    let segmentation = segmenter.segment(picture.clone()).unwrap();
    let depths = estimator.estimate(picture.clone()).unwrap();
    let [width, height] = picture.size();
    let line = |found: &Found| {
        let [left, top, right, bottom] = found.bounds;
        format!("{} {:.4} {left:.2} {top:.2} {right:.2} {bottom:.2}\n", found.class, found.score)
    };
    let found: String = detections.above(0.2).iter().take(50).map(line).collect();
    assert!(!found.is_empty());
    let sum: usize = segmentation.classes.iter().map(|&class| usize::from(class)).sum();
    let metres = depths.metres.iter().map(|&metres| f64::from(metres)).sum::<f64>() / f64::from(width * height);
    let shape = [2, 3, 64, 64];
    let pictures: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i % 17) as f32 / 8.0 - 1.0).collect();
    let outputs = [
        detector.outputs(&pictures, shape).unwrap(),
        segmenter.outputs(&pictures, shape).unwrap(),
        estimator.outputs(&pictures, shape).unwrap(),
    ];
    let line = |(name, tensor): (&String, &HostTensor)| {
        let shape: String = tensor.shape.iter().map(|side| format!(" {side}")).collect();
        let sum: f64 = tensor.data.iter().map(|&value| f64::from(value).abs()).sum();
        format!("{name}{shape} {:.4}\n", sum / tensor.data.len() as f64)
    };
    let outputs: String = outputs.iter().flatten().map(line).collect();
    let names: Vec<&str> = outputs.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["boxes", "logits", "logits", "depth"]);
    let expected = format!("{width} {height}\n{found}{sum} {metres:.2}\n{outputs}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

    let example = compile("examples/detect.c", folder.path(), &SHARED);
    let output = linked(&example).args([&at("detector"), &turned]).output().unwrap();
    succeeded(&output);
    let lines = String::from_utf8(output.stdout).unwrap().lines().count();
    assert_eq!(lines, detections.above(0.5).len().min(100));
}

/// The example prints the same answers as the Rust door.
#[test]
fn the_example_classifies() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = Config::resnet_rs([1, 1, 1, 1], 0.25, 10);
    let classes = (0..10).map(|class| format!("class number {class}")).collect();
    let card = ModelCard { res: 48, classes, ..ModelCard::for_preset_of(config) };
    let mut weights = weights::synthetic(&card.config, golden::BRANCH_GAMMA);
    weights.metadata = card.to_metadata();
    weights.write(&at("small.safetensors")).unwrap();
    // A picture that EXIF data turn.
    let turned = fs::read(here().join("../tests/golden/pictures/deep.tif")).unwrap();
    fs::write(at("picture.tif"), &turned).unwrap();

    let example = compile("examples/classify.c", folder.path(), &SHARED);
    let run = |picture: &str| linked(&example).args([at("small.safetensors"), at(picture)]).output().unwrap();
    let output = run("picture.tif");
    succeeded(&output);
    let gpu = Gpu::new(&GpuOptions::default()).unwrap();
    let net = Classifier::load(&gpu, at("small.safetensors")).unwrap();
    let picture = resnet_rs::Picture::decode(&turned).unwrap();
    let line = |g: &resnet_rs::Guess| format!("{:6.2} %  {} {}\n", 100.0 * g.probability, g.class, g.label);
    let want: String = net.classify(picture).unwrap().top(5).iter().map(line).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), want);

    let refused = |output: Output, expected: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(expected), "{expected}: {said}");
    };
    let mut without_adapter = linked(&example);
    without_adapter.envs([("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent")]);
    without_adapter.args([at("small.safetensors"), at("picture.tif")]);
    refused(without_adapter.output().unwrap(), "no GPU adapter answers: install a Vulkan driver");
    let refuses = |picture: &str, expected: &str| refused(run(picture), expected);
    refuses("no such picture.jpg", "No such file");
    refuses("small.safetensors", "not a usable picture: no picture by its content");
}
