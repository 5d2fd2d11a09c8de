//! Compares with torchvision.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

fn golden(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(file)
}

/// A value of `boxes.json`.
fn known<T: DeserializeOwned>(name: &str) -> T {
    let known: Value = serde_json::from_slice(&std::fs::read(golden("boxes.json")).unwrap()).unwrap();
    serde_json::from_value(known[name].clone()).unwrap()
}

/// torchvision's number for a match.
fn number(found: &Match) -> i32 {
    match *found {
        Match::Truth(truth) => truth as i32,
        Match::Background => -1,
        Match::Between => -2,
    }
}

fn assert_close(what: &str, got: &[Bounds], want: &[Bounds], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let off = |(got, want): (&Bounds, &Bounds)| !(0..4).all(|i| (got[i] - want[i]).abs() <= tolerance);
    let worst = got.iter().zip(want).find(|&pair| off(pair));
    assert_eq!(worst, None, "{what}: got and wanted");
}

#[test]
fn anchors_of_a_cell_equal_torchvisions() {
    let want: Vec<Vec<Bounds>> = known("cells");
    let got = Anchors::new(&[[1, 1]; 5], [128, 128]);
    assert_eq!(got.boxes, want.concat());
    assert_eq!(got.levels, [PER_CELL; 5]);
}

#[test]
fn encoded_and_decoded_boxes_equal_torchvisions() {
    let (anchors, truths, deltas): (Vec<Bounds>, Vec<Bounds>, Vec<Bounds>) =
        (known("anchors"), known("truths"), known("deltas"));
    let both = |of: fn(Bounds, Bounds) -> Bounds, some: &[Bounds]| -> Vec<Bounds> {
        some.iter().zip(&anchors).map(|(&a, &b)| of(a, b)).collect()
    };
    // A few roundings of numbers up to 1; of up to 1148 px, with an error in e^4.1 that a side of 2000 px multiplies.
    assert_close("encode", &both(encode, &truths), &known::<Vec<Bounds>>("encode"), 1e-6);
    assert_close("decode", &both(decode, &deltas), &known::<Vec<Bounds>>("decode"), 1e-3);
    assert_close("there and back", &both(decode, &both(encode, &truths)), &truths, 1e-4);
}

#[test]
fn overlaps_equal_torchvisions() {
    let (boxes, want): (Vec<Bounds>, Vec<Vec<f32>>) = (known("boxes"), known("overlaps"));
    let got: Vec<Vec<f32>> = boxes.iter().map(|&a| boxes.iter().map(|&b| overlap(a, b)).collect()).collect();
    assert_eq!(got, want);
}

/// Among the anchors is one that the last true box overlaps most, but that learns the first one.
#[test]
fn matches_by_overlaps_equal_torchvisions() {
    let overlaps: Vec<Vec<f32>> = known("matrix");
    let got = matching::match_rows(5, 3, |truth, first, row| row.copy_from_slice(&overlaps[truth][first..]));
    assert_eq!(got.iter().map(number).collect::<Vec<_>>(), known::<Vec<i32>>("matches"));
}

#[test]
fn boxes_without_area_overlap_nothing() {
    let whole = [0.0, 0.0, 8.0, 8.0];
    for flat in
        [[2.0, 2.0, 2.0, 6.0], [6.0, 6.0, 2.0, 2.0], [2.0, 6.0, 6.0, 2.0], [f32::NAN; 4], [f32::NAN, 0.0, 4.0, 4.0]]
    {
        assert_eq!((area(flat), overlap(flat, whole), overlap(whole, flat), overlap(flat, flat)), (0.0, 0.0, 0.0, 0.0));
    }
    assert_eq!(overlap(whole, [8.0, 0.0, 16.0, 8.0]), 0.0);
    assert_eq!(clip([-3.0, 2.0, 12.0, 20.0], [8, 10]), [0.0, 2.0, 10.0, 8.0]);
    assert_eq!(clip([11.0, 2.0, 12.0, 20.0], [8, 10]), [10.0, 2.0, 10.0, 8.0]);
}

/// Boxes with one logit for each, of a class each.
fn chosen(boxes: &[Bounds], scores: &[f32], classes: &[usize]) -> Vec<Detection> {
    let kinds = classes.iter().max().unwrap() + 1;
    let mut logits = vec![f32::NEG_INFINITY; boxes.len() * kinds];
    for (i, (score, class)) in scores.iter().zip(classes).enumerate() {
        logits[i * kinds + class] = (score / (1.0 - score)).ln();
    }
    let anchors = Anchors { boxes: boxes.to_vec(), levels: vec![boxes.len()] };
    Selection::default().detections(&logits, &vec![0.0; 4 * boxes.len()], &anchors, [100, 100])
}

/// Among the boxes is one that covers half of a better one: an overlap of exactly 0.5 survives.
#[test]
fn suppressed_boxes_are_torchvisions() {
    let (boxes, scores, classes): (Vec<Bounds>, Vec<f32>, Vec<usize>) =
        (known("boxes"), known("scores"), known("classes"));
    for (classes, want) in [(vec![0; boxes.len()], "nms"), (classes, "nms by class")] {
        let found = chosen(&boxes, &scores, &classes);
        let kept: Vec<usize> = known(want);
        assert_eq!(
            found.iter().map(|d| d.bounds).collect::<Vec<_>>(),
            kept.iter().map(|&i| boxes[i]).collect::<Vec<_>>()
        );
        assert!(found.iter().zip(&kept).all(|(d, &i)| (d.score - scores[i]).abs() < 1e-6), "{want}");
        assert!(found.iter().zip(&kept).all(|(d, &i)| d.class as usize == classes[i]), "{want}");
    }
}

/// A whole network's outputs of two pictures, computed in f64: anchors, matches and detections.
#[test]
fn a_detector_finds_what_torchvisions_finds() {
    let bytes = std::fs::read(golden("retinanet.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data()) };
    let boxes = |name: &str| -> Vec<Bounds> { bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data()) };

    let picture = [128, 160];
    let anchors = Anchors::new(&[[16, 20], [8, 10], [4, 5], [2, 3], [1, 2]], picture);
    assert_eq!(anchors.boxes, boxes("anchors"));

    let truths = [vec![[10.0, 12.0, 60.0, 80.0], [55.0, 20.0, 140.0, 95.0]], vec![[5.0, 30.0, 50.0, 120.0]]];
    let selection = Selection { per_level: 100, most: 20, ..Selection::default() };
    let (logits, deltas) = (floats("eval_logits"), floats("eval_boxes"));
    for (i, truths) in truths.iter().enumerate() {
        let want: Vec<i32> = bytemuck::pod_collect_to_vec(file.tensor(&format!("matched.{i}")).unwrap().data());
        let got: Vec<i32> = matches(&anchors.boxes, truths).iter().map(number).collect();
        assert_eq!(got, want, "matches of picture {i}");

        let of_picture = |values: &[f32]| values[i * values.len() / 2..(i + 1) * values.len() / 2].to_vec();
        let found = selection.detections(&of_picture(&logits), &of_picture(&deltas), &anchors, picture);
        let labels: Vec<i64> = bytemuck::pod_collect_to_vec(file.tensor(&format!("found.{i}.labels")).unwrap().data());
        assert_eq!(found.iter().map(|d| i64::from(d.class)).collect::<Vec<_>>(), labels, "classes of picture {i}");
        // f32 has steps of 1.5e-5 px here, and a side of up to 1000 px multiplies its errors in exponentials.
        let bounds: Vec<Bounds> = found.iter().map(|d| d.bounds).collect();
        assert_close("boxes", &bounds, &boxes(&format!("found.{i}.boxes")), 1e-3);
        let off = |(d, want): (&Detection, &f32)| (d.score - want).abs();
        assert!(found.iter().zip(&floats(&format!("found.{i}.scores"))).map(off).all(|off| off < 1e-5));
    }
}

#[test]
fn outputs_that_are_not_numbers_are_no_detections() {
    let anchors = Anchors::new(&[[2, 2]], [64, 64]);
    let (count, selection) = (anchors.boxes.len(), Selection::default());
    assert_eq!(selection.detections(&vec![f32::NAN; 3 * count], &vec![0.0; 4 * count], &anchors, [64, 64]), []);
    for broken in 0..4 {
        let deltas: Vec<f32> = (0..4 * count).map(|i| if i % 4 == broken { f32::NAN } else { 0.0 }).collect();
        assert_eq!(selection.detections(&vec![5.0; 3 * count], &deltas, &anchors, [64, 64]), [], "delta {broken}");
    }
    assert_eq!(selection.detections(&vec![-9.0; 3 * count], &vec![0.0; 4 * count], &anchors, [64, 64]), []);
    assert_eq!(selection.detections(&[], &[], &Anchors::new(&[], [64, 64]), [64, 64]), []);
    let found = selection.detections(&vec![f32::INFINITY; count], &vec![f32::INFINITY; 4 * count], &anchors, [64, 64]);
    assert!(found.iter().all(|d| d.score == 1.0), "{found:?}");
}

/// The best of a level are the first ones, and so are the best of all.
#[test]
fn equal_scores_stay_in_their_order() {
    let boxes: Vec<Bounds> = (0..12).map(|i| [8.0 * i as f32, 0.0, 8.0 * i as f32 + 8.0, 8.0]).collect();
    let anchors = Anchors { boxes: boxes.clone(), levels: vec![6, 6] };
    let selection = Selection { per_level: 4, most: 6, ..Selection::default() };
    let found = selection.detections(&[0.0; 24], &[0.0; 48], &anchors, [100, 100]);
    let got: Vec<(usize, u32)> =
        found.iter().map(|d| (boxes.iter().position(|b| *b == d.bounds).unwrap(), d.class)).collect();
    assert_eq!(got, [(0, 0), (0, 1), (1, 0), (1, 1), (6, 0), (6, 1)]);
}
