#![allow(clippy::unwrap_used)]

use image::RgbImage;
use serde_json::json;
use tempfile::TempDir;

use super::super::{Dataset, Source, Truth};
use super::*;

/// Pictures of 8 x 6 px, and JSONs with a box of this category for each picture of the list.
fn tree(pictures: &[&str], jsons: &[(&str, &[&str], &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let above = |place: &str| {
        let path = folder.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    pictures.iter().for_each(|place| RgbImage::new(8, 6).save(above(place)).unwrap());
    for (place, names, category) in jsons {
        let image = |(id, name): (i64, &&str)| json!({ "id": id, "file_name": name, "width": 8, "height": 6 });
        let of_image = |(id, _): (i64, &&str)| json!({ "image_id": id, "category_id": 5, "bbox": [1, 1, 2, 2] });
        let file = json!({
            "images": (0..).zip(*names).map(image).collect::<Vec<_>>(),
            "categories": [{ "id": 5, "name": category }, { "id": 3, "name": "first" }],
            "annotations": (0..).zip(*names).map(of_image).collect::<Vec<_>>(),
        });
        std::fs::write(above(place), file.to_string()).unwrap();
    }
    folder
}

fn opened(folder: &TempDir) -> Result<Dataset, String> {
    open(folder.path(), Wanted::Training).map_err(|error| error.to_string())
}

/// The JSONs of both splits, whose pictures are `a.png` and `b.png`.
fn both<'a>(train: &'a str, val: &'a str) -> [(&'a str, &'a [&'a str], &'a str); 2] {
    [(train, &["a.png"], "dog"), (val, &["b.png"], "dog")]
}

#[test]
fn the_usual_layouts_are_found() {
    let instances = both("annotations/instances_train2017.json", "annotations/instances_val2017.json");
    let plain = both("annotations/train.json", "annotations/val.json");
    let roboflow = both("train/_annotations.coco.json", "valid/_annotations.coco.json");
    for (pictures, jsons, split_names) in [
        (["train2017/a.png", "val2017/b.png"], instances, ["train2017", "val2017"]),
        (["images/train2017/a.png", "images/val2017/b.png"], instances, ["train2017", "val2017"]),
        (["train/a.png", "val/b.png"], instances, ["train2017", "val2017"]),
        (["train/a.png", "val/b.png"], plain, ["train", "val"]),
        (["images/a.png", "images/b.png"], plain, ["train", "val"]),
        (["a.png", "b.png"], plain, ["train", "val"]),
        (["train/a.png", "valid/b.png"], roboflow, ["train", "valid"]),
    ] {
        let folder = tree(&pictures, &jsons);
        let data = opened(&folder).unwrap_or_else(|problem| panic!("{pictures:?}: {problem}"));
        assert_eq!(data.split_names, split_names);
        assert_eq!((data.classes, data.val.name(0)), (vec!["first".into(), "dog".into()], "b.png".into()));
        let sample = data.train.sample(0).unwrap();
        let Truth::Objects(objects) = sample.truth else { panic!("no objects") };
        assert_eq!((objects[0].class, objects[0].bounds), (1, [1.0, 1.0, 3.0, 3.0]));
    }
}

#[test]
fn the_last_year_counts() {
    let mut jsons = both("annotations/instances_train2014.json", "annotations/instances_val2014.json").to_vec();
    jsons.extend(both("annotations/instances_train2017.json", "annotations/instances_val2017.json"));
    jsons.push(("annotations/captions_val2018.json", &[], "none"));
    let folder = tree(&["train2017/a.png", "val2017/b.png", "train2014/a.png", "val2014/b.png"], &jsons);
    assert_eq!(opened(&folder).unwrap().split_names, ["train2017", "val2017"]);
}

#[test]
fn classes_are_matched_by_name_between_the_splits() {
    let train: (&str, &[&str], &str) = ("annotations/train.json", &["a.png"], "dog");
    let val: (&str, &[&str], &str) = ("annotations/val.json", &["b.png"], "fox");
    let folder = tree(&["images/a.png", "images/b.png"], &[train, val]);
    let message = opened(&folder).unwrap_err();
    assert!(message.contains("val.json: its category fox is none of the training split"), "{message}");
    let data = open(folder.path(), Wanted::Everything).unwrap();
    assert_eq!(data.classes, ["first", "dog", "fox"]);
    std::fs::remove_file(folder.path().join("annotations/train.json")).unwrap();
    let data = open(folder.path(), Wanted::Validation).unwrap();
    assert_eq!((data.classes, data.train.len()), (vec!["first".into(), "fox".into()], 0));
}

#[test]
fn a_picture_of_another_size_than_noted_is_refused() {
    let folder = tree(&["a.png", "b.png"], &both("annotations/train.json", "annotations/val.json"));
    RgbImage::new(6, 8).save(folder.path().join("b.png")).unwrap();
    let data = opened(&folder).unwrap();
    let message = data.val.sample(0).err().unwrap().to_string();
    assert!(message.contains("b.png: 6 x 8 px (upright, as EXIF data say), but its annotation is for 8 x 6 px"));
    assert!(data.val.truth(0, [8, 6]).unwrap().is_ok());
}

#[test]
fn training_sees_boxes_within_their_picture() {
    let folder = tree(&["a.png", "b.png"], &both("annotations/train.json", "annotations/val.json"));
    for json in ["annotations/train.json", "annotations/val.json"].map(|json| folder.path().join(json)) {
        let text = std::fs::read_to_string(&json).unwrap();
        std::fs::write(json, text.replace("[1,1,2,2]", "[-2,1,20,2]")).unwrap();
    }
    let bounds = |source: &dyn Source| match source.sample(0).unwrap().truth {
        Truth::Objects(objects) => objects[0].bounds,
        _ => panic!("objects"),
    };
    let (cut, noted) = ([0.0, 1.0, 8.0, 3.0], [-2.0, 1.0, 18.0, 3.0]);
    let data = opened(&folder).unwrap();
    assert_eq!([bounds(&*data.train), bounds(&*data.val)], [cut, noted]);
    let to_check = open(folder.path(), Wanted::Everything).unwrap();
    assert_eq!(bounds(&*to_check.train), noted);
}

#[test]
fn boxes_without_area_are_reported() {
    let folder = tree(&["a.png", "b.png"], &both("annotations/train.json", "annotations/val.json"));
    let path = folder.path().join("annotations/val.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("[1,1,2,2]", "[1,1,0,2]")).unwrap();
    let data = opened(&folder).unwrap();
    let told = "1 boxes without area within their picture (such as annotation number 1 of the list in val)";
    assert_eq!(data.passed_over.to_string(), told);
    assert_eq!(data.val.sample(0).unwrap().truth, Truth::Objects(vec![]), "the picture is kept");
}

#[test]
fn training_needs_boxes_in_pixels() {
    let folder = tree(&["a.png", "b.png"], &both("annotations/train.json", "annotations/val.json"));
    let path = folder.path().join("annotations/train.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[1,1,2,2]", "[0.123457,0.125,0.876544,0.25]")).unwrap();
    let message = opened(&folder).unwrap_err();
    assert!(message.contains("train.json: no training object reaches beyond the first pixel"), "{message}");
    for wanted in [Wanted::Validation, Wanted::Everything] {
        assert!(open(folder.path(), wanted).is_ok());
    }
}

#[test]
fn a_split_without_pictures_is_refused_where_it_is_needed() {
    for [train, val] in [[&[][..], &["b.png"]], [&["a.png"], &[]]] {
        let jsons = [("annotations/train.json", train, "dog"), ("annotations/val.json", val, "dog")];
        let folder = tree(&["a.png", "b.png"], &jsons);
        let message = opened(&folder).unwrap_err();
        let name = if train.is_empty() { "train" } else { "val" };
        assert!(message.ends_with(&format!("{name}.json: it lists no pictures: add them to its images")), "{message}");
        assert_eq!(open(folder.path(), Wanted::Validation).is_ok(), train.is_empty());
        assert!(open(folder.path(), Wanted::Everything).is_ok());
    }
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let plain = both("annotations/train.json", "annotations/val.json");
    for (folder, problem) in [
        (
            tree(&["train/a.png"], &[]),
            "no JSON of the training pictures' boxes here: there is only train. Give \
             annotations/instances_train.json with the pictures in train/, or train/_annotations.coco.json beside them",
        ),
        (
            tree(&["train/a.png"], &plain[..1]),
            "no JSON of the validation pictures' boxes here: in annotations there is only train.json",
        ),
        (tree(&["train/a.png"], &plain), "val.json: its pictures, such as b.png, are in none of these folders: "),
    ] {
        let message = opened(&folder).unwrap_err();
        assert!(message.contains(problem), "{message}");
    }
}
