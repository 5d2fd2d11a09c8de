//! `predict` with networks of every task.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::RgbImage;
use resnet_rs::models::{DenseDepth, Fcn, Head, RetinaNet};
use resnet_rs::weights::{HostTensor, StateDict};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{assert_refused, write};
use crate::program::{json, json_lines, program, said, succeed, words};
use crate::weights;

/// Width and height of the pictures.
const SIZE: (u32, u32) = (96, 192);

/// A folder with two pictures and a network of each task.
struct Tasks(TempDir);

impl Tasks {
    fn new() -> Self {
        let tasks = Self(tempfile::tempdir().unwrap());
        let picture = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| image::Rgb([2 * x as u8, y as u8, (x * y) as u8]));
        fs::create_dir(tasks.path("other")).unwrap();
        picture.save(tasks.path("a.png")).unwrap();
        picture.save(tasks.path("other/a.png")).unwrap();
        let heads = [
            ("detector", Head::RetinaNet(RetinaNet { channels: 32 }), 4),
            ("segmenter", Head::Fcn(Fcn { auxiliary: false }), 3),
            ("depth", Head::DenseDepth(DenseDepth { widths: [64, 32, 32, 16, 16], max_m: 10.0 }), 1),
        ];
        for (name, head, classes) in heads {
            weights::with_head(head, classes, 32).weights.write(&tasks.path(name)).unwrap();
        }
        tasks
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Replaces `@name` by the path of that name in the folder.
    fn line(&self, line: &str) -> String {
        line.replace('@', &format!("{}/", self.0.path().display()))
    }

    fn refuses(&self, line: &str, expected: &str) {
        let line = self.line(line);
        assert_refused(&line, &program(&words(&line)).output().unwrap(), expected);
    }
}

/// Palette and numbers of a PNG, big-endian if they have 16 bits.
fn png(path: &Value) -> (Option<Vec<u8>>, Vec<u8>) {
    let bytes = fs::read(path.as_str().unwrap()).unwrap();
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    assert_eq!(reader.info().size(), SIZE);
    let mut numbers = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut numbers).unwrap();
    (reader.info().palette.as_ref().map(|palette| palette.to_vec()), numbers)
}

fn is_drawn(path: &Value) {
    let (drawn, plain) = (image::open(path.as_str().unwrap()).unwrap().to_rgb8(), image::Rgb([0; 3]));
    assert_eq!(drawn.dimensions(), SIZE);
    assert!(drawn.pixels().any(|pixel| *pixel != plain));
}

#[test]
fn detectors_name_and_draw_objects() {
    let t = Tasks::new();
    let sure = json(&t.line("predict @a.png --weights @detector"));
    let lines = json_lines(&t.line("predict @a.png @other --weights @detector --score 0.2 --out @new/drawn"));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["objects"], lines[1]["objects"], "the same picture");
    let objects = lines[0]["objects"].as_array().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    for object in objects {
        let edges: Vec<f64> = object["box"].as_array().unwrap().iter().map(number).collect();
        assert!(edges.len() == 4 && edges[0] <= edges[2] && edges[1] <= edges[3], "{object}");
        assert!(edges[2] <= 96.0 && edges[3] <= 192.0 && number(&object["score"]) >= 0.2 - 1e-6, "{object}");
        assert_eq!(object["label"].as_str().unwrap(), format!("kind {}", object["class"]));
    }
    let expected: Vec<&Value> = objects.iter().filter(|object| number(&object["score"]) >= 0.5).collect();
    assert!(sure["objects"].as_array().unwrap().iter().eq(expected.iter().copied()) && sure.get("drawn").is_none());
    assert!(expected.len() < objects.len());
    assert_eq!(lines[0]["drawn"], t.line("@new/drawn/a.drawn.png"));
    assert_eq!(lines[1]["drawn"], t.line("@new/drawn/a-2.drawn.png"));
    lines.iter().for_each(|line| is_drawn(&line["drawn"]));
    // All predictions, whatever their score.
    let all = json(&t.line("predict @a.png --weights @detector --score 0"));
    assert!(all["objects"].as_array().unwrap().len() >= objects.len());
    let table = succeed(&t.line("predict @a.png --weights @detector --score 0.2"));
    assert!(String::from_utf8_lossy(&table.stdout).contains(" from "));
}

#[test]
fn segmentation_networks_write_masks() {
    let t = Tasks::new();
    let plain = json(&t.line("predict @a.png --weights @segmenter"));
    assert!(plain.get("mask").is_none(), "{plain}");
    let line = json(&t.line("predict @a.png --weights @segmenter --out @drawn"));
    assert_eq!(line["classes"], plain["classes"]);
    is_drawn(&line["drawn"]);
    let (palette, classes) = png(&line["mask"]);
    assert_eq!(&palette.unwrap()[..12], [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0], "VOC's");
    for class in line["classes"].as_array().unwrap() {
        let count = classes.iter().filter(|&&c| u64::from(c) == class["class"].as_u64().unwrap()).count();
        assert!((class["share"].as_f64().unwrap() - count as f64 / classes.len() as f64).abs() < 1e-9, "{class}");
    }

    // Without a card the output stride is assumed, and told.
    let mut weights = StateDict::read(&t.path("segmenter")).unwrap();
    weights.metadata.clear();
    weights.write(&t.path("foreign")).unwrap();
    let assumed = succeed(&t.line("predict @a.png --weights @foreign --res 64"));
    assert!(said(&assumed).contains("do not tell the output stride; 8 is assumed"), "{}", said(&assumed));
    let told = succeed(&t.line("predict @a.png --weights @foreign --res 64 --output-stride 32"));
    assert!(!said(&told).contains("assumed") && told.stdout != assumed.stdout, "{}", said(&told));
    let noting = succeed(&t.line("export --weights @foreign @noted.safetensors --output-stride 32"));
    let noted = succeed(&t.line("predict @a.png --weights @noted.safetensors --res 64"));
    assert!(![noting, noted.clone()].iter().any(|output| said(output).contains("assumed")));
    assert_eq!(noted.stdout, told.stdout);
}

#[test]
fn depth_networks_write_millimetres() {
    let t = Tasks::new();
    let line = json(&t.line("predict @a.png --weights @depth --out @drawn"));
    is_drawn(&line["drawn"]);
    let (_, numbers) = png(&line["depth"]);
    let millimetres = numbers.as_chunks::<2>().0.iter().map(|pair| f64::from(u16::from_be_bytes(*pair)));
    let (least, most) = millimetres.fold((f64::INFINITY, 0.0f64), |(a, b), mm| (a.min(mm), b.max(mm)));
    let metres = |key: &str| line[key].as_f64().unwrap();
    assert!((metres("min_m") - least / 1e3).abs() <= 0.0005 + 1e-6, "{line}");
    assert!((metres("max_m") - most / 1e3).abs() <= 0.0005 + 1e-6 && least < most, "{line}");
}

#[test]
fn tensors_are_answered_by_all_networks() {
    let t = Tasks::new();
    let data = (0..2 * 3 * 64 * 96).map(|i| (i % 11) as f32 / 5.0 - 1.0).collect();
    write(&t.path("input"), [("input", HostTensor { shape: vec![2, 3, 64, 96], data })]);
    let outputs = |weights: &str, flag: &str| {
        succeed(&t.line(&format!("predict --tensor @input --{flag} @out --weights @{weights}")));
        let tensors = StateDict::read(&t.path("out")).unwrap().tensors;
        tensors.into_iter().map(|(name, tensor)| (name, tensor.shape)).collect::<Vec<_>>()
    };
    let [logits, boxes] = [4, 4].map(|numbers| vec![2, 9 * (8 * 12 + 4 * 6 + 2 * 3 + 2 + 1), numbers]);
    assert_eq!(outputs("detector", "outputs"), [("boxes".into(), boxes), ("logits".into(), logits.clone())]);
    assert_eq!(outputs("detector", "logits"), [("logits".into(), logits)]);
    assert_eq!(outputs("segmenter", "outputs"), [("logits".into(), vec![2, 3, 64, 96])]);
    assert_eq!(outputs("depth", "outputs"), [("depth".into(), vec![2, 1, 32, 48])]);
    t.refuses("predict --tensor @input --logits @out --weights @depth", "give --outputs FILE");
}

#[test]
fn flags_of_other_tasks_are_refused() {
    let t = Tasks::new();
    for (line, expected) in [
        (
            "predict @a.png --weights @detector --top 3",
            "--top is for a classifier; these weights are those of a detector",
        ),
        (
            "predict @a.png --weights @segmenter --score 0.3",
            "--score is for a detector; these weights are those of a seg",
        ),
        ("predict @a.png --weights @depth --output-stride 16", "--output-stride is for a segmentation network"),
        ("predict @a.png --weights @detector --score 2", "a score is a number from 0 to 1"),
        ("predict @a.png --weights @segmenter --output-stride 12", "an output stride is 8, 16 or 32"),
    ] {
        t.refuses(line, expected);
    }
    assert!(!Path::new(&t.line("@drawn")).exists());
}
