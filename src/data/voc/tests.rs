#![allow(clippy::unwrap_used)]

use image::{GrayImage, RgbImage};
use tempfile::TempDir;

use super::super::{Dataset, Object, Split, Truth, TruthKind};
use super::*;

/// Files by their places: pictures of 8 x 6 px, and texts.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(place, text)| put(&folder, place, text));
    folder
}

fn put(folder: &TempDir, place: &str, text: &str) {
    let path = folder.path().join(place);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match place.ends_with(".jpg") || place.ends_with(".png") {
        true => RgbImage::new(8, 6).save(path).unwrap(),
        false => std::fs::write(path, text).unwrap(),
    }
}

/// An annotation with one object from pixel 2 to pixel 4, and a picture.
fn annotated(folder: &TempDir, year: &str, name: &str, class: &str) {
    let bounds = "<xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax>";
    let object = format!("<object><name>{class}</name><bndbox>{bounds}</bndbox></object>");
    let size = "<size><width>8</width><height>6</height></size>";
    put(folder, &format!("{year}/Annotations/{name}.xml"), &format!("<annotation>{size}{object}</annotation>"));
    put(folder, &format!("{year}/JPEGImages/{name}.jpg"), "");
}

/// VOC 2007 and 2012 in small: lists, and an object in each picture.
fn years_of(lists: &[(&str, &str, &str)]) -> TempDir {
    let folder = tree(&[]);
    for (year, list, names) in lists {
        put(&folder, &format!("{year}/ImageSets/Main/{list}.txt"), &names.replace(' ', "\n"));
        names.split(' ').for_each(|name| annotated(&folder, year, name, "dog"));
    }
    folder
}

fn open(folder: &TempDir) -> Result<Dataset, String> {
    open_objects(folder.path(), Wanted::Training).map_err(|error| error.to_string())
}

/// The names of both splits' pictures.
fn names(data: &Dataset) -> [String; 2] {
    [Split::Train, Split::Val].map(|split| data.split(split).names().unwrap().join(" "))
}

#[test]
fn years_join_and_the_test_of_2007_validates() {
    let folder = years_of(&[
        ("VOC2007", "train", "001"),
        ("VOC2007", "val", "002"),
        ("VOC2007", "trainval", "001 002"),
        ("VOC2007", "test", "003"),
        ("VOC2012", "train", "2008_1"),
        ("VOC2012", "val", "2008_2"),
        ("VOC2012", "trainval", "2008_1 2008_2"),
    ]);
    let data = open(&folder).unwrap();
    let place = |year: &str, name: &str| format!("{year}/JPEGImages/{name}.jpg");
    let of_2012 = ["2008_1", "2008_2"].map(|name| place("VOC2012", name)).join(" ");
    let of_2007 = ["001", "002"].map(|name| place("VOC2007", name)).join(" ");
    assert_eq!(names(&data), [format!("{of_2007} {of_2012}"), place("VOC2007", "003")]);
    assert_eq!(data.split_names, ["trainval", "test"]);
    assert_eq!(data.classes, CLASSES);
    let sample = data.val.sample(0).unwrap();
    let object = Object { class: 11, bounds: [1.0, 1.0, 4.0, 4.0], area: 9.0, difficult: false, crowd: false };
    assert_eq!((sample.truth, sample.image.dimensions()), (Truth::Objects(vec![object]), (8, 6)));

    // The test of 2012 has a list and no annotations. It is passed over, beside 2007 and alone.
    put(&folder, "VOC2012/ImageSets/Main/test.txt", "2008_9\n");
    assert_eq!(names(&open(&folder).unwrap())[1], place("VOC2007", "003"));
    let data = open_objects(&folder.path().join("VOC2012"), Wanted::Training).unwrap();
    assert_eq!(names(&data), ["JPEGImages/2008_1.jpg", "JPEGImages/2008_2.jpg"]);
    // The test of 2007 alone is enough to evaluate.
    std::fs::remove_dir_all(folder.path().join("VOC2012")).unwrap();
    ["train", "val", "trainval"].iter().for_each(|list| {
        std::fs::remove_file(folder.path().join(format!("VOC2007/ImageSets/Main/{list}.txt"))).unwrap();
    });
    let data = open_objects(folder.path(), Wanted::Validation).unwrap();
    assert_eq!((data.train.len(), data.val.len()), (0, 1));
    let error = open(&folder).unwrap_err();
    assert!(error.contains("training pictures in ImageSets/Main is missing or empty: there is only"), "{error}");
}

#[test]
fn an_evaluation_needs_the_validation_pictures_alone() {
    let folder = years_of(&[(".", "train", "a"), (".", "val", "b")]);
    put(&folder, "Annotations/a.xml", "no XML");
    assert!(open(&folder).unwrap_err().contains("a.xml: is no sound XML"));
    assert_eq!(open_objects(folder.path(), Wanted::Validation).unwrap().val.len(), 1);
}

#[test]
fn other_classes_than_vocs_are_sorted() {
    let folder = years_of(&[(".", "train", "a b"), (".", "val", "c")]);
    annotated(&folder, ".", "a", "wolf");
    annotated(&folder, ".", "c", "wolf");
    let data = open(&folder).unwrap();
    assert_eq!(data.classes, ["dog", "wolf"]);
    let Truth::Objects(objects) = data.val.truth(0, [8, 6]).unwrap().unwrap() else { panic!("no objects") };
    assert_eq!(objects[0].class, 1);

    annotated(&folder, ".", "c", "fox");
    let message = open(&folder).unwrap_err();
    assert!(message.ends_with("Annotations/c.xml: object 1 is a fox, which no training picture shows"), "{message}");
    let data = open_objects(folder.path(), Wanted::Everything).unwrap();
    assert_eq!(data.classes, ["dog", "fox", "wolf"]);
}

#[test]
fn wrong_annotations_are_named_and_left_for_inspection() {
    let folder = years_of(&[(".", "train", "a b"), (".", "val", "c")]);
    put(&folder, "Annotations/b.xml", "<annotation><object><name>dog</name></object></annotation>");
    let message = open(&folder).unwrap_err();
    assert!(message.ends_with("Annotations/b.xml: object 1 (dog): no <bndbox>"), "{message}");
    let data = open_objects(folder.path(), Wanted::Everything).unwrap();
    assert!(data.train.sample(0).is_ok());
    assert!(data.train.sample(1).err().unwrap().to_string().contains("no <bndbox>"));

    std::fs::remove_file(folder.path().join("Annotations/b.xml")).unwrap();
    let message = open(&folder).unwrap_err();
    assert!(
        message
            .ends_with("Annotations/b.xml: a list in ImageSets/Main names this picture, but this file does not exist")
    );
}

#[test]
fn data_without_objects_to_learn_is_refused() {
    let folder = years_of(&[(".", "train", "a"), (".", "val", "b")]);
    let object = std::fs::read_to_string(folder.path().join("Annotations/a.xml")).unwrap();
    let without = |from: &str, to: &str| {
        put(&folder, "Annotations/a.xml", &object.replace(from, to));
        assert!(open_objects(folder.path(), Wanted::Everything).is_ok());
        open(&folder).unwrap_err()
    };
    let empty = without("object", "part");
    assert!(empty.contains("the training pictures have no objects"), "{empty}");
    let difficult = without("<bndbox>", "<difficult>1</difficult><bndbox>");
    assert!(difficult.contains("all objects of the training pictures are difficult or crowds"), "{difficult}");
    let pixels = "<xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax>";
    let shares = without(pixels, "<xmin>0.5</xmin><ymin>0.25</ymin><xmax>0.75</xmax><ymax>1</ymax>");
    assert!(shares.contains("boxes are in pixels, not in shares of the picture"), "{shares}");
}

#[test]
fn two_pictures_of_one_name_are_refused() {
    let folder = years_of(&[(".", "train", "a"), (".", "val", "b")]);
    put(&folder, "JPEGImages/a.png", "");
    let message = open(&folder).unwrap_err();
    assert!(
        message.contains("has the same name as ") && message.ends_with("except for the ending: rename one of them")
    );
}

#[test]
fn a_picture_of_another_size_than_noted_is_refused() {
    let folder = years_of(&[(".", "train", "a"), (".", "val", "b")]);
    RgbImage::new(6, 8).save(folder.path().join("JPEGImages/a.jpg")).unwrap();
    let message = open(&folder).unwrap().train.sample(0).err().unwrap().to_string();
    assert!(message.contains("a.jpg: 6 x 8 px (upright, as EXIF data say), but its annotation is for 8 x 6 px"));
}

#[test]
fn pictures_have_any_ending_and_missing_ones_are_named_when_asked_for() {
    let folder = years_of(&[(".", "train", "a.v1 b"), (".", "val", "c")]);
    std::fs::rename(folder.path().join("JPEGImages/a.v1.jpg"), folder.path().join("JPEGImages/a.v1.png")).unwrap();
    std::fs::remove_file(folder.path().join("JPEGImages/b.jpg")).unwrap();
    let data = open(&folder).unwrap();
    assert_eq!(data.train.name(0), "JPEGImages/a.v1.png");
    let error = data.train.sample(1).err().unwrap();
    assert!(matches!(&error, Error::Read { path, .. } if path.ends_with("JPEGImages/b.jpg")), "{error}");
}

#[test]
fn folders_that_are_not_vocs_are_told_the_way_out() {
    let no_lists = tree(&[]);
    annotated(&no_lists, ".", "a", "dog");
    let listed_with_endings = years_of(&[(".", "train", "a"), (".", "val", "b")]);
    put(&listed_with_endings, "ImageSets/Main/val.txt", "\n/JPEGImages/b.jpg\n");
    for (folder, problem) in [
        (tree(&[("VOCdevkit/VOC2012/JPEGImages/a.jpg", "")]), "Give the folder VOCdevkit, or one of a year"),
        (
            no_lists,
            "the list of the training pictures in ImageSets/Main is missing or empty: there is no such folder. Write \
             their names without endings to ImageSets/Main/train.txt, one a line",
        ),
        (
            years_of(&[(".", "train", "a")]),
            "the list of the validation pictures in ImageSets/Main is missing or empty: there is only train.txt. Write \
             their names without endings to ImageSets/Main/val.txt, one a line",
        ),
        (listed_with_endings, r#"line 2 is "/JPEGImages/b.jpg"; a line is a picture's name without folder and ending"#),
    ] {
        let message = open(&folder).unwrap_err();
        assert!(message.ends_with(problem), "{message}");
    }
}

/// A year with masks of 8 x 6 pixels, all of class 3 or, in SBD's copy, 4.
fn with_masks() -> TempDir {
    let folder = tree(&[
        ("VOC2007/JPEGImages/1.jpg", ""),
        ("VOC2007/ImageSets/Segmentation/train.txt", "1"),
        ("VOC2012/ImageSets/Segmentation/train.txt", "a"),
        ("VOC2012/ImageSets/Segmentation/val.txt", "b\n"),
    ]);
    for name in ["a", "b", "c"] {
        put(&folder, &format!("VOC2012/JPEGImages/{name}.jpg"), "");
        mask(&folder, "SegmentationClass", name, 3, [8, 6]);
    }
    folder
}

fn mask(folder: &TempDir, place: &str, name: &str, class: u8, [width, height]: [u32; 2]) {
    let path = folder.path().join("VOC2012").join(place);
    std::fs::create_dir_all(&path).unwrap();
    GrayImage::from_pixel(width, height, [class].into()).save(path.join(format!("{name}.png"))).unwrap();
}

#[test]
fn the_last_years_masks_are_read_and_sbds_where_they_are() {
    let spec = |folder: &TempDir| format!("voc:{}", folder.path().display());
    let folder = with_masks();
    let data = Dataset::open(&spec(&folder), TruthKind::Mask).unwrap();
    assert_eq!(names(&data), ["VOC2012/JPEGImages/a.jpg", "VOC2012/JPEGImages/b.jpg"]);
    assert_eq!((data.classes.len(), &*data.classes[0], &*data.classes[20]), (21, "background", "tvmonitor"));
    let of = |data: &Dataset, split: Split, index: usize| match data.split(split).sample(index).unwrap().truth {
        Truth::Mask(mask) => mask.get_pixel(7, 5)[0],
        other => panic!("{other:?}"),
    };
    assert_eq!((of(&data, Split::Train, 0), of(&data, Split::Val, 0)), (3, 3));

    put(&folder, "VOC2012/ImageSets/Segmentation/train_aug.txt", "a\nc");
    mask(&folder, "SegmentationClassAug", "c", 4, [8, 6]);
    mask(&folder, "SegmentationClassAug", "b", 4, [8, 6]);
    let data = Dataset::open(&spec(&folder), TruthKind::Mask).unwrap();
    assert_eq!(data.split_names, ["train_aug", "val"]);
    assert_eq!([of(&data, Split::Train, 0), of(&data, Split::Train, 1), of(&data, Split::Val, 0)], [3, 4, 3]);
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let folder = with_masks();
    mask(&folder, "SegmentationClass", "a", 21, [8, 6]);
    mask(&folder, "SegmentationClass", "b", 3, [6, 8]);
    let data = open_masks(folder.path(), Wanted::Training).unwrap();
    let message = |split: Split| data.split(split).sample(0).err().unwrap().to_string();
    assert!(message(Split::Train).contains("SegmentationClass/a.png: label 21"), "{}", message(Split::Train));
    let of_another_size = "SegmentationClass/b.png: it has 6 x 8 pixels, and its picture, turned upright, has 8 x 6";
    assert!(message(Split::Val).contains(of_another_size), "{}", message(Split::Val));
    std::fs::remove_file(folder.path().join("VOC2012/SegmentationClass/b.png")).unwrap();
    assert!(message(Split::Val).contains("SegmentationClass/b.png: "), "{}", message(Split::Val));
}
