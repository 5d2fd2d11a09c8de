//! Both metrics on a set of made-up pictures, against numpy and pycocotools; then cases by hand.

use serde_json::Value;

use super::coco::{Coco, MEASURES};
use super::voc::{Average, Rule, Voc};
use crate::boxes::{Bounds, Detection, Object};

const CLASSES: usize = 3;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/detections.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The objects and detections of each picture.
fn pictures(golden: &Value) -> Vec<(Vec<Object>, Vec<Detection>)> {
    let bounds = |row: &Value| -> Bounds { serde_json::from_value(row["box"].clone()).unwrap() };
    let class = |row: &Value| row["cls"].as_u64().unwrap() as u32;
    let object =
        |row: &Value| Object { difficult: row["difficult"].as_bool().unwrap(), ..Object::new(class(row), bounds(row)) };
    let detection = |row: &Value| Detection {
        class: class(row),
        score: row["score"].as_f64().unwrap() as f32,
        bounds: bounds(row),
    };
    let of = |name: &str, picture: u64| -> Vec<Value> {
        let rows = golden[name].as_array().unwrap();
        rows.iter().filter(|row| row["image"] == picture).cloned().collect()
    };
    let picture =
        |i| (of("truth", i).iter().map(object).collect(), of("detections", i).iter().map(detection).collect());
    (0..12).map(picture).collect()
}

/// The file has six digits.
fn assert_known(what: &str, got: Option<f64>, want: &Value) {
    let (got, want) = (got.unwrap_or(-1.0), want.as_f64().unwrap());
    assert!((got - want).abs() < 1e-6, "{what}: {got}, not {want}");
}

#[test]
fn vocs_average_precision_in_all_its_forms() {
    let golden = golden();
    for (inclusive, areas) in [(true, "inclusive"), (false, "exclusive")] {
        let mut voc = Voc::new(CLASSES, Rule { inclusive, ..Rule::default() });
        pictures(&golden).iter().for_each(|(objects, detections)| voc.add(objects, detections));
        for (average, name) in [(Average::ElevenPoints, "11-point"), (Average::Area, "area")] {
            let what = format!("voc {name} {areas}");
            let want = &golden["expected"][&what];
            for class in 0..CLASSES {
                assert_known(&format!("{what}, {class}"), voc.average_precision(class, average), &want[class]);
            }
            assert_known(&what, voc.mean(average), &want[CLASSES]);
        }
    }
}

#[test]
fn cocos_twelve_numbers() {
    let golden = golden();
    let mut coco = Coco::new(CLASSES);
    pictures(&golden).iter().for_each(|(objects, detections)| coco.add(objects, detections));
    let want = &golden["expected"]["coco AP, AP50, AP75, S, M, L, AR1, AR10, AR100, S, M, L"];
    for (i, (name, got)) in MEASURES.iter().map(|measure| measure.name).zip(coco.numbers()).enumerate() {
        assert_known(name, got, &want[i]);
    }
    let of_classes = (0..CLASSES).filter_map(|class| coco.average_precision(class)).sum::<f64>() / 3.0;
    assert_known("AP from classes", Some(of_classes), &want[0]);
}

/// A square of 40 px.
fn at(left: f32, top: f32) -> Bounds {
    [left, top, left + 40.0, top + 40.0]
}

fn found(score: f32, bounds: Bounds) -> Detection {
    Detection { class: 0, score, bounds }
}

fn voc(pictures: &[(&[Object], &[Detection])]) -> Voc {
    let mut voc = Voc::new(2, Rule::default());
    pictures.iter().for_each(|(objects, detections)| voc.add(objects, detections));
    voc
}

/// Whether each detection of class 0 is a hit, highest score first.
fn hits(voc: &Voc) -> Vec<bool> {
    let curve = voc.curve(0).unwrap();
    let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
    curve.iter().zip(before).map(|(point, before)| point.recall > before).collect()
}

#[test]
fn an_object_is_found_once() {
    let object = Object::new(0, at(0.0, 0.0));
    let twice = voc(&[(&[object], &[found(0.5, at(1.0, 0.0)), found(0.9, at(5.0, 0.0))])]);
    assert_eq!(hits(&twice), [true, false]);
    let curve = twice.curve(0).unwrap();
    assert_eq!(
        curve.iter().map(|p| (p.score, p.recall, p.precision)).collect::<Vec<_>>(),
        [(0.9, 1.0, 1.0), (0.5, 1.0, 0.5)]
    );
    // The better of two objects is taken, though another is free.
    let other = Object::new(0, at(4.0, 0.0));
    assert_eq!(hits(&voc(&[(&[object, other], &[found(0.9, at(1.0, 0.0)), found(0.8, at(1.0, 0.0))])])), [true, false]);
}

#[test]
fn difficult_objects_are_neither_found_nor_missed() {
    let difficult = Object { difficult: true, ..Object::new(0, at(0.0, 0.0)) };
    let easy = Object::new(0, at(100.0, 0.0));
    let detections = [found(0.9, at(0.0, 0.0)), found(0.8, at(2.0, 0.0)), found(0.7, at(100.0, 0.0))];
    let both = voc(&[(&[difficult, easy], &detections)]);
    assert_eq!((hits(&both), both.mean(Average::Area)), (vec![true], Some(1.0)));
    let alone = voc(&[(&[difficult], &detections)]);
    assert_eq!((alone.average_precision(0, Average::Area), alone.mean(Average::Area)), (None, None));
    assert!(alone.curve(0).is_none());
}

/// Half of the object, so an overlap of 0.5, which counts from there on for COCO alone.
#[test]
fn an_overlap_of_half_is_not_enough_for_voc() {
    let (object, half) = (Object::new(0, at(0.0, 0.0)), found(0.9, [0.0, 0.0, 20.0, 40.0]));
    assert_eq!(hits(&voc(&[(&[object], &[half])])), [false]);
    let mut coco = Coco::new(1);
    coco.add(&[object], &[half]);
    assert_eq!(coco.numbers()[1], Some(1.0));
}

#[test]
fn a_recall_of_three_tenths_misses_its_point() {
    let object = Object::new(0, at(0.0, 0.0));
    let picture: (&[Object], &[Detection]) = (&[object], &[found(0.9, at(0.0, 0.0))]);
    let missed: (&[Object], &[Detection]) = (&[object; 7], &[]);
    let third = voc(&[picture, picture, picture, missed]);
    let (points, area) = (third.average_precision(0, Average::ElevenPoints), third.average_precision(0, Average::Area));
    assert!((points.unwrap() - 3.0 / 11.0).abs() < 1e-12 && (area.unwrap() - 0.3).abs() < 1e-12, "{points:?} {area:?}");
}

/// Equal scores keep the order in which they came, within a picture and over pictures.
#[test]
fn ties_keep_their_order() {
    let object = Object::new(0, at(0.0, 0.0));
    let (hit, miss) = (found(0.5, at(0.0, 0.0)), found(0.5, at(200.0, 0.0)));
    for (detections, precision) in [([hit, miss], 1.0), ([miss, hit], 0.5)] {
        let within: [(&[Object], &[Detection]); 1] = [(&[object], &detections)];
        let over: [(&[Object], &[Detection]); 2] = [(&[object], &detections[..1]), (&[], &detections[1..])];
        let swapped: [(&[Object], &[Detection]); 2] = [(&[], &detections[..1]), (&[object], &detections[1..])];
        let pictures = if precision == 1.0 { &over } else { &swapped };
        for pictures in [&within[..], &pictures[..]] {
            let mut coco = Coco::new(1);
            pictures.iter().for_each(|(objects, detections)| coco.add(objects, detections));
            assert_eq!((voc(pictures).mean(Average::Area), coco.numbers()[0]), (Some(precision), Some(precision)));
        }
    }
}

/// Detections in a crowd do not count, however many they are; one that lies in it by less than half is a miss.
#[test]
fn crowds_are_passed_over() {
    let crowd = Object { crowd: true, ..Object::new(0, [100.0, 0.0, 300.0, 200.0]) };
    let object = Object::new(0, at(0.0, 0.0));
    let hit = found(0.3, at(0.0, 0.0));
    let numbers = |other: &[Detection]| {
        let mut coco = Coco::new(1);
        coco.add(&[crowd, object], &[other, &[hit]].concat());
        coco.numbers()
    };
    let inside = [found(0.9, at(120.0, 0.0)), found(0.8, at(120.0, 0.0)), found(0.7, [84.0, 0.0, 124.0, 40.0])];
    // The last of them lies in it by 60 %: passed over at overlaps of 50, 55 and 60 %, else a miss.
    let numbers_inside = numbers(&inside);
    assert_eq!((numbers_inside[1], numbers_inside[2]), (Some(1.0), Some(0.5)));
    assert_eq!(numbers(&[found(0.9, [81.0, 0.0, 121.0, 40.0])])[0], Some(0.55));
    // A crowd is nothing to be found.
    let mut alone = Coco::new(1);
    alone.add(&[crowd], &inside);
    assert_eq!(alone.numbers(), [None; 12]);
}

#[test]
fn sizes_pass_over_what_is_of_another() {
    let mut coco = Coco::new(2);
    let square = |side: f32| [0.0, 0.0, side, side];
    let small = Object { area: 900.0, ..Object::new(0, square(40.0)) };
    let large = Object::new(1, square(100.0));
    // The small object by its area has a medium box, and so has its detection.
    coco.add(&[small], &[found(0.9, square(40.0)), found(0.8, [60.0, 0.0, 100.0, 40.0])]);
    coco.add(&[large], &[Detection { class: 1, ..found(0.7, square(20.0)) }]);
    let [ap, _, _, ap_small, ap_medium, ap_large, ar1, .., ar_small, ar_medium, ar_large] = coco.numbers();
    assert_eq!((ap, ar1), (Some(0.5), Some(0.5)));
    assert_eq!((ap_small, ap_medium, ap_large), (Some(1.0), None, Some(0.0)));
    assert_eq!((ar_small, ar_medium, ar_large), (Some(1.0), None, Some(0.0)));
    assert_eq!([0, 1].map(|class| coco.average_precision(class)), [Some(1.0), Some(0.0)]);
}

#[test]
fn only_the_best_of_a_picture_count() {
    let object = Object::new(0, at(0.0, 0.0));
    let missing = |count: usize| vec![found(0.9, at(200.0, 0.0)); count];
    for (before, want) in [(0, [1.0; 3]), (9, [0.0, 1.0, 1.0]), (99, [0.0, 0.0, 1.0]), (100, [0.0; 3])] {
        let mut coco = Coco::new(1);
        coco.add(&[object], &[missing(before), vec![found(0.5, at(0.0, 0.0))]].concat());
        assert_eq!(coco.numbers()[6..9], want.map(Some), "{before} before");
    }
}

#[test]
fn classes_without_objects_are_left_out() {
    let object = Object::new(0, at(0.0, 0.0));
    let strays = [found(0.9, at(0.0, 0.0)), Detection { class: 1, ..found(0.9, at(0.0, 0.0)) }];
    let voc = voc(&[(&[object], &strays)]);
    assert_eq!((voc.average_precision(1, Average::Area), voc.mean(Average::ElevenPoints)), (None, Some(1.0)));
    let mut coco = Coco::new(2);
    coco.add(&[object], &strays);
    assert_eq!((coco.average_precision(1), coco.numbers()[0]), (None, Some(1.0)));
    coco.add(&[Object::new(1, at(0.0, 0.0))], &[]);
    assert_eq!((coco.average_precision(1), coco.numbers()[0]), (Some(0.0), Some(0.5)));
    assert_eq!(Coco::new(3).numbers(), [None; 12]);
    assert_eq!(Voc::new(0, Rule::default()).mean(Average::Area), None);
}
