//! Tests of what is found in objects, masks and depths, over pictures in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use image::{GrayImage, Rgb, RgbImage};

use super::*;
use crate::data::{DepthMap, IGNORED, Object};

/// Pictures of 10 x 8 px with these truths, each of another colour; without a truth, its file is damaged.
struct Given(u8, Vec<Option<Truth>>);

impl Source for Given {
    fn len(&self) -> usize {
        self.1.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let damaged = || Error::invalid(format!("{index}.xml"), "is damaged");
        let truth = self.1[index].clone().ok_or_else(damaged)?;
        Ok(Sample { image: RgbImage::from_pixel(10, 8, Rgb([self.0, index as u8, 0])), truth })
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        let mut png = std::io::Cursor::new(vec![]);
        RgbImage::from_pixel(10, 8, Rgb([self.0, index as u8, 0])).write_to(&mut png, image::ImageFormat::Png).unwrap();
        Some(Ok(png.into_inner()))
    }
}

fn inspected(kind: TruthKind, classes: &[&str], train: Vec<Option<Truth>>, val: Vec<Option<Truth>>) -> Inspection {
    let dataset = Dataset {
        train: Arc::new(Given(0, train)),
        val: Arc::new(Given(1, val)),
        classes: classes.iter().map(|&class| class.to_owned()).collect(),
        mean: [0.0; 3],
        std: [1.0; 3],
        native_res: None,
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: ["train", "val"].map(str::to_owned),
    };
    inspect(&dataset, kind, &|_, _| ())
}

fn object(class: u32, bounds: [f32; 4]) -> Object {
    Object { class, bounds, area: 1.0, difficult: false, crowd: false }
}

fn objects(objects: &[Object]) -> Option<Truth> {
    Some(Truth::Objects(objects.to_vec()))
}

#[test]
fn objects_are_counted_and_measured_and_odd_ones_named() {
    let sides = [1.0, 2.0, 3.0, 4.0, 9.0];
    let rows: Vec<Object> = sides.iter().map(|&side| object(0, [0.0, 0.0, side, 1.0])).collect();
    let hard = Object { difficult: true, ..object(1, [0.0, 0.0, 2.0, 5.0]) };
    let crowd = Object { crowd: true, ..object(1, [-1.0, -1.0, 11.0, 9.0]) };
    let beyond = object(0, [3.0, 3.0, 6.0, 9.5]);
    let empty = [object(1, [4.0, 4.0, 4.0, 6.0]), object(1, [10.0, 0.0, 14.0, 2.0])];
    let train = vec![objects(&rows), objects(&[hard, crowd]), objects(&[]), objects(&empty), None];
    let found = inspected(
        TruthKind::Objects,
        &["cat", "dog", "elk", "fox"],
        train,
        vec![objects(&[beyond, object(3, [0.0, 0.0, 1.0, 1.0])])],
    );
    let count = |name: &str, train, val| ClassCounts { name: name.into(), train, val };
    assert_eq!(found.classes, [count("cat", 5, 1), count("dog", 4, 0), count("elk", 0, 0), count("fox", 0, 1)]);
    assert_eq!((found.train, found.val), (5, 1));
    let Some(TruthFacts::Objects(facts)) = &found.truths else { panic!("{found:?}") };
    // The sides 1, 2, 3, 4, 5, 9, 12: the places 0 to 6 in quarters are 0, 1, 3, 4, 6.
    let train = Quartiles { smallest: 1.0, quartiles: [2.0, 4.0, 5.0], largest: 12.0 };
    assert_eq!(facts.sides(Split::Train), Some(train));
    assert_eq!(facts.sides(Split::Val).unwrap().largest, 6.5);
    assert_eq!((facts.pictures_without, facts.difficult, facts.crowds), (1, 1, 1));
    let noted =
        |named: &[Named]| -> Vec<String> { named.iter().map(|n| format!("{}: {}", n.picture, n.note)).collect() };
    assert_eq!(
        noted(&facts.empty),
        [
            "train/picture 3: dog from 4, 4 to 4, 6 in a picture of 10 x 8 px",
            "train/picture 3: dog from 10, 0 to 14, 2 in a picture of 10 x 8 px",
        ]
    );
    assert_eq!(noted(&facts.beyond), ["val/picture 0: cat from 3, 3 to 6, 9.5 in a picture of 10 x 8 px"]);
    assert_eq!(noted(&found.without_truth), ["train/picture 4: 4.xml: is damaged"]);
    assert_eq!(
        found.faults(),
        [
            "no training objects of fox",
            "1 picture without an annotation that can be used",
            "2 objects without area within the picture",
        ]
    );
    assert_eq!(
        found.remarks(),
        [
            "no validation objects of dog",
            "no objects at all of elk",
            "1 picture without objects, all background",
            "1 object reaching over the edges of pictures",
            "1 difficult object, not learnt from",
            "1 crowd, not learnt from",
        ]
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["objects"]["train_sides"]["quartiles"], serde_json::json!([2.0, 4.0, 5.0]));
}

#[test]
fn one_class_of_objects_is_enough_and_none_is_a_fault() {
    let one = |side: f32| vec![objects(&[object(0, [0.0, 0.0, side, side])])];
    assert_eq!(inspected(TruthKind::Objects, &["cat"], one(2.0), one(2.0)).faults(), [""; 0]);
    let in_shares = inspected(TruthKind::Objects, &["cat"], one(0.5), one(0.5)).faults();
    assert!(in_shares[0].ends_with("boxes are in pixels, not in shares of the picture"), "{in_shares:?}");
    let none = inspected(TruthKind::Objects, &["cat"], vec![objects(&[])], vec![]);
    assert_eq!(none.faults(), ["no objects in the training pictures", "no validation pictures"]);
}

#[test]
fn masks_tell_the_share_of_each_class() {
    // Of 80 pixels each, the first `count` have this label, the rest the other.
    let mask = |count: usize, label: u8, rest: u8| {
        let labels = (0..80).map(|at| if at < count { label } else { rest }).collect();
        Some(Truth::Mask(GrayImage::from_raw(10, 8, labels).unwrap()))
    };
    let train = vec![mask(20, 1, 0), mask(40, IGNORED, 0), mask(80, IGNORED, 0)];
    let found = inspected(TruthKind::Mask, &["background", "cat", "dog"], train, vec![mask(80, 0, 0), None]);
    let Some(TruthFacts::Masks(facts)) = &found.truths else { panic!("{found:?}") };
    // 60, 40 and 80 pixels of background, 20 of cat, 120 of 320 that do not count.
    assert_eq!((&facts.shares[..], facts.ignored), (&[0.9, 0.1, 0.0][..], 0.375));
    assert_eq!(facts.empty, [Named { picture: "train/picture 2".into(), note: "every label is 255".into() }]);
    assert_eq!((found.classes[0].train, found.classes[0].val, found.classes[1].train), (2, 1, 1));
    assert_eq!(found.faults(), ["1 picture without a mask that can be used"]);
    assert_eq!(
        found.remarks(),
        ["no validation pictures of cat", "no pictures at all of dog", "1 picture without a pixel that counts"]
    );
}

#[test]
fn depths_have_a_range_and_may_be_unknown() {
    let depth = |left: f32, right: f32| {
        Some(Truth::Depth(DepthMap::from_fn(10, 8, |x, _| [if x < 5 { left } else { right }].into())))
    };
    let train = vec![depth(0.0, 2.5), depth(0.5, 4.0), depth(0.0, 0.0)];
    let found = inspected(TruthKind::Depth, &[], train, vec![depth(1.0, 9.5)]);
    let Some(TruthFacts::Depths(facts)) = &found.truths else { panic!("{found:?}") };
    // Three halves of four pictures.
    assert_eq!((facts.metres, facts.unknown), (Some([0.5, 9.5]), 0.375));
    assert_eq!(facts.empty[0].picture, "train/picture 2");
    assert_eq!((found.faults(), found.remarks()), (vec![], vec!["1 picture without any known depth".to_owned()]));
    // What a file of 16 bits that holds shares of the largest depth is read as.
    let shares = inspected(TruthKind::Depth, &[], vec![depth(0.0, 65.535)], vec![depth(0.0, 65.5)]);
    let unit = "depths up to 65.535 m, the most that the files can tell: are they in millimetres?";
    assert_eq!(shares.remarks(), [unit]);
}
