//! Invalid inputs of all kinds. Each ends with exit status 1 or 2 and a message that names the file or flag, and
//! damages nothing.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use flate2::{Compression, write::GzEncoder};
use image::RgbImage;
use resnet_rs::weights::{HostTensor, StateDict};

use crate::fixture::{Fixture, assert_refused, snapshot, write};
use crate::program::{idx, idx_folder, json_lines, program, said, succeed, words};

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
    fs::write(f.path("pickle.pth"), b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl").unwrap();
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
        ("a-folder", "holds no model.safetensors"),
        ("pickle.pth", "a PyTorch file: convert it with Python"),
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

/// A folder of twenty pictures and three other files, in batches: each has its line, in order, and the exit status
/// reports the three failures.
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

    f.refuses("train --data folder:@folder --out @new", "@folder/train/dog: no pictures here");
    f.refuses(
        "eval --data folder:@folder --weights @run/last.safetensors",
        "does not know the data's classes cat, dog",
    );
    for (data, expected) in [
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
        ("--goal miou", "--goal is miou, which --task classify does not measure: choose one of top1, top5"),
        ("--task detect --output-stride 16", "output stride must be 32 under RetinaNet"),
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
    f.refuses("bench --suite quick --task detect", "--task");
    f.refuses("bench --suite quick --output-stride 8", "--output-stride");
    f.refuses("ablate --data shapes --task segment --out @new", "both studies compare top-1: leave out --task");
    f.refuses("scale --res 32", "--latency-ms");
    f.refuses("scale --latency-ms -1", "--latency-ms");
    f.refuses("profile small --train", "layer4.0.bn2: batch_norm");
    f.refuses("profile small --top 3 --all", "--all");
    f.refuses(&format!("export {weights} @out.pt"), "@out.pt: only .safetensors and .onnx");
    f.refuses(&format!("export {weights} @out.onnx --res 0"), "--res");
    f.refuses(&format!("export {weights} @out.onnx --res 64x"), "HEIGHTxWIDTH, each from 1 to 4096 px");
    f.refuses(&format!("export {weights} @out.onnx --with-nms"), "last.safetensors: only a detector has detections");
    f.refuses(&format!("export {weights} @out.onnx --bn-eps 2"), "BN epsilon must be from 0 to 1");
    f.refuses(
        &format!("export {weights} @out.onnx --output-stride 8"),
        "--output-stride is for a segmentation network",
    );
    f.refuses(&format!("export {weights} @out.safetensors --with-nms"), "--with-nms is for .onnx files alone");
    f.refuses(&format!("export {weights} @out.safetensors --res 32x64"), "--res must be one side here");
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
    // Contradictory settings and tensors: metadata of one run, tensors of another.
    let state = "checkpoint/state.safetensors";
    let mut mixed = StateDict::read(&f.path("run").join(state)).unwrap();
    mixed.tensors = StateDict::read(&f.path("other").join(state)).unwrap().tensors;
    fs::create_dir_all(f.path("mixed/checkpoint")).unwrap();
    mixed.write(&f.path("mixed").join(state)).unwrap();
    f.refuses("train --resume @mixed", "@mixed");
    // Weights are not a checkpoint.
    fs::copy(f.path("run/last.safetensors"), f.path("mixed").join(state)).unwrap();
    f.refuses("train --resume @mixed", "@mixed/checkpoint/state.safetensors");

    // A complete checkpoint of another run is accepted.
    fs::copy(f.path("other").join(state), f.path("mixed").join(state)).unwrap();
    succeed(&f.line("train --resume @mixed --max-steps 2"));
}

/// A tmpfs, unmounted when dropped. `None`, with a message, if this user cannot mount one.
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

    // Full: there is room for metrics, but not for a second checkpoint beside the first.
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
