#![allow(clippy::unwrap_used)]

use std::path::Path;

use image::{Rgb, RgbImage};

use super::*;

fn picture(value: u8, [width, height]: [u32; 2]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([value, x as u8, y as u8]))
}

fn put(folder: &Path, place: &str, picture: &RgbImage) {
    let path = folder.join(place);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn look_at(folder: &Path) -> Inspection {
    let dataset = Dataset::open_for_inspection(&format!("folder:{}", folder.display()), TruthKind::Class).unwrap();
    inspect(&dataset, TruthKind::Class, &|_, _| ())
}

#[test]
fn sound_data_has_no_faults() {
    let folder = tempfile::tempdir().unwrap();
    for (at, place) in ["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"].iter().enumerate() {
        put(folder.path(), place, &picture(at as u8, [8, 6 + at as u32]));
    }
    let found = look_at(folder.path());
    assert_eq!((found.faults(), found.remarks()), (vec![], vec![]));
    let class = |name: &str| ClassCounts { name: name.into(), train: 1, val: 1 };
    assert_eq!(found.classes, [class("a"), class("b")]);
    let sizes = found.sizes.unwrap();
    assert_eq!((sizes.smallest, sizes.median), (("train/a/1.png".into(), [8, 6]), [8, 8]));
    assert_eq!(sizes.largest, ("val/b/1.png".into(), [8, 9]));
    assert_eq!(found.formats, BTreeMap::from([("PNG", 4)]));
}

#[test]
fn folders_of_classes_alone_are_told_where_to_go() {
    let folder = tempfile::tempdir().unwrap();
    for (class, value) in [("cat", 1), ("dog", 2)] {
        put(folder.path(), &format!("{class}/{value}.png"), &picture(value, [8, 8]));
    }
    assert_eq!(look_at(folder.path()).faults(), [lines::NOTHING_TO_LEARN]);
}

#[test]
fn every_fault_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let [one, two, three] = [1, 2, 3].map(|value| picture(value, [8, 8]));
    for (place, picture) in [
        // In both splits, whatever the format.
        ("train/a/1.png", &one),
        ("val/a/copy.bmp", &one),
        // In two classes.
        ("train/a/2.png", &two),
        ("train/b/2.png", &two),
        // Twice in one.
        ("train/b/3.png", &three),
        ("train/b/deeper/4.png", &three),
        ("val/only-here/5.png", &picture(5, [8, 8])),
        ("train/a/long.png", &picture(6, [50, 10])),
    ] {
        put(path, place, picture);
    }
    image::GrayImage::new(8, 8).save(path.join("train/a/grey.png")).unwrap();
    std::fs::write(path.join("train/a/broken.jpg"), "").unwrap();
    std::fs::write(path.join("train/a/notes.txt"), "").unwrap();
    std::fs::create_dir(path.join("train/never")).unwrap();
    let found = look_at(path);
    assert_eq!(found.broken.len(), 1);
    assert_eq!(found.broken[0].picture, "train/a/broken.jpg");
    assert_eq!(
        found.faults(),
        [
            "no training pictures of never, only-here",
            "1 picture cannot be read",
            "1 picture in both splits, so that the validation is too good",
            "1 picture in several classes, of which one at most is right",
        ]
    );
    assert_eq!(
        found.remarks(),
        [
            "no validation pictures of b",
            "1 picture repeated within a class of a split",
            "1 picture more than 4 times as long as wide: a square crop sees little of them",
            "1 picture grey among coloured ones",
            "passed over: 1 .txt",
        ]
    );
    let pictures: Vec<&[String]> = found.duplicates.iter().map(|group| &group.pictures[..]).collect();
    assert_eq!(
        pictures,
        [
            &["train/a/1.png", "val/a/copy.bmp"].map(String::from)[..],
            &["train/a/2.png", "train/b/2.png"].map(String::from),
            &["train/b/3.png", "train/b/deeper/4.png"].map(String::from),
        ]
    );
    assert_eq!(found.odd_shapes[0], Named { picture: "train/a/long.png".into(), note: "50 x 10 px".into() });
}
