//! The JSON files in which COCO notes the objects of pictures.

use std::collections::{HashMap, HashSet};
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::super::{Error, Object};
use crate::boxes::{area, clip};
use crate::files;

/// A file as it is written. Outlines and what else there is are passed over, so that COCO's 450 MB take little memory.
#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    categories: Vec<Category>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    id: Option<i64>,
    image_id: i64,
    category_id: i64,
    /// Left, top, width and height.
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

/// What a file notes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Notes {
    /// The names of its categories in the order of their ids.
    pub(super) classes: Vec<String>,
    /// Its pictures, in its order.
    pub(super) pictures: Vec<Noted>,
    /// The annotations whose boxes have no area within their picture.
    pub(super) degenerate: Vec<String>,
}

/// A picture.
#[derive(Debug, PartialEq)]
pub(super) struct Noted {
    /// Its path as noted.
    pub(super) file_name: String,
    /// Width and height in pixels.
    pub(super) size: [u32; 2],
    /// Its objects, whose classes are places in [`Notes::classes`].
    pub(super) objects: Vec<Object>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Notes, Error> {
    let (file, _) = files::open(path)?;
    let file = serde_json::from_reader(BufReader::with_capacity(1 << 20, file));
    let file = file.map_err(|error: serde_json::Error| match error.is_io() {
        true => Error::read(path)(error.into()),
        false => Error::invalid(path, format!("is no COCO JSON of boxes: {error}")),
    });
    notes(file?).map_err(|problem| Error::invalid(path, problem))
}

/// Joins pictures and objects.
fn notes(file: File) -> Result<Notes, String> {
    let File { images, mut categories, annotations } = file;
    categories.sort_by_key(|category| category.id);
    let mut names = HashSet::new();
    if let Some(pair) = categories.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(format!("two categories have the id {}: {} and {}", pair[0].id, pair[0].name, pair[1].name));
    }
    if let Some(twice) = categories.iter().find(|category| !names.insert(&category.name)) {
        return Err(format!("two categories are called {}: rename or remove one of them", twice.name));
    }
    let classes: HashMap<i64, u32> = categories.iter().map(|category| category.id).zip(0..).collect();
    let mut places = HashMap::with_capacity(images.len());
    if let Some(twice) = images.iter().enumerate().find_map(|(at, image)| places.insert(image.id, at).map(|_| image)) {
        return Err(format!("two pictures have the id {}; the second is {}", twice.id, twice.file_name));
    }
    let mut files = HashSet::new();
    if let Some(twice) = images.iter().find(|image| !files.insert(&image.file_name)) {
        return Err(format!(
            "{} is listed twice, the second time with the id {}: each would take the other's objects for background. \
             Give all of its annotations one image_id",
            twice.file_name, twice.id
        ));
    }
    let noted = |Image { file_name, width, height, .. }| Noted { file_name, size: [width, height], objects: vec![] };
    let mut notes = Notes {
        pictures: images.into_iter().map(noted).collect(),
        classes: categories.into_iter().map(|category| category.name).collect(),
        degenerate: vec![],
    };
    for (at, annotation) in annotations.into_iter().enumerate() {
        let name = || match annotation.id {
            Some(id) => format!("annotation {id}"),
            None => format!("annotation number {} of the list", at + 1),
        };
        let missing = |key: &str, id: i64, list: &str| {
            format!("{}: its {key} {id} is not among the {list}: add it there, or remove the annotation", name())
        };
        let place = places.get(&annotation.image_id);
        let place = place.ok_or_else(|| missing("image_id", annotation.image_id, "images"))?;
        let class = classes.get(&annotation.category_id);
        let class = class.ok_or_else(|| missing("category_id", annotation.category_id, "categories"))?;
        let picture = &mut notes.pictures[*place];
        match object(&annotation, *class, picture.size) {
            Some(object) => picture.objects.push(object),
            None => notes.degenerate.push(name()),
        }
    }
    Ok(notes)
}

/// The object, unless its box has no area within the picture. The box is as noted, even where it reaches over the
/// picture's edges, since COCO's evaluation compares such boxes whole.
fn object(annotation: &Annotation, class: u32, [width, height]: [u32; 2]) -> Option<Object> {
    let [left, top, across, down] = annotation.bbox;
    let bounds = [left, top, left + across, top + down].map(|place| place as f32);
    let seen = clip(bounds, [height as usize, width as usize]);
    (bounds.iter().all(|place| place.is_finite()) && area(seen) > 0.0 && across > 0.0 && down > 0.0).then(|| Object {
        class,
        bounds,
        area: annotation.area.map_or_else(|| area(bounds), |area| area as f32),
        difficult: false,
        crowd: annotation.iscrowd != 0,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Two pictures and two categories with a gap between their ids, out of order.
    fn with(annotations: Value) -> Value {
        json!({
            "info": { "year": 2017 },
            "images": [
                { "id": 9, "file_name": "b.jpg", "width": 40, "height": 30, "license": 1 },
                { "id": 2, "file_name": "a.jpg", "width": 20, "height": 20 },
            ],
            "categories": [{ "id": 90, "name": "dog" }, { "id": 7, "name": "cat", "supercategory": "animal" }],
            "annotations": annotations,
        })
    }

    fn read_text(text: &str) -> Result<Notes, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("val.json");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string().strip_prefix(&format!("{}: ", path.display())).unwrap().into())
    }

    fn read_value(value: &Value) -> Result<Notes, String> {
        read_text(&value.to_string())
    }

    #[test]
    fn ids_with_gaps_become_classes_in_their_order() {
        let notes = read_value(&with(json!([
            { "id": 1, "image_id": 2, "category_id": 90, "bbox": [1.5, 2.0, 3.0, 4.25], "area": 5.5, "iscrowd": 0,
              "segmentation": [[1.0, 2.0, 3.0]] },
            { "id": 2, "image_id": 9, "category_id": 7, "bbox": [0, 0, 40, 10], "area": 100, "iscrowd": 1,
              "segmentation": { "counts": "abc", "size": [30, 40] } },
            { "image_id": 2, "category_id": 7, "bbox": [10, 10, 5, 2] },
        ])))
        .unwrap();
        assert_eq!(notes.classes, ["cat", "dog"]);
        let object = |class, bounds, area, crowd| Object { class, bounds, area, difficult: false, crowd };
        let noted = |name: &str, size, objects| Noted { file_name: name.into(), size, objects };
        assert_eq!(
            notes.pictures,
            [
                noted("b.jpg", [40, 30], vec![object(0, [0.0, 0.0, 40.0, 10.0], 100.0, true)]),
                noted(
                    "a.jpg",
                    [20, 20],
                    vec![
                        object(1, [1.5, 2.0, 4.5, 6.25], 5.5, false),
                        object(0, [10.0, 10.0, 15.0, 12.0], 10.0, false)
                    ]
                ),
            ]
        );
    }

    #[test]
    fn boxes_stay_as_they_are_and_those_without_area_are_named() {
        let boxes = json!([
            [-3, 5, 9, 50],
            [1, 1, 0, 5],
            [1, 1, 5, -2],
            [20, 0, 5, 5],
            [0, -9, 5, 9],
            [19, 19, 9, 9],
            [0, 0, 1e39, 1],
            [15, 1, 1e-9, 5]
        ]);
        let annotations: Vec<Value> = boxes
            .as_array()
            .unwrap()
            .iter()
            .map(|bbox| json!({ "image_id": 2, "category_id": 7, "bbox": bbox }))
            .collect();
        let notes = read_value(&with(annotations.into())).unwrap();
        let kept: Vec<[f32; 4]> = notes.pictures[1].objects.iter().map(|object| object.bounds).collect();
        assert_eq!(kept, [[-3.0, 5.0, 6.0, 55.0], [19.0, 19.0, 28.0, 28.0]]);
        let dropped = [2, 3, 4, 5, 7, 8].map(|number| format!("annotation number {number} of the list"));
        assert_eq!(notes.degenerate, dropped);
        assert!(notes.pictures[0].objects.is_empty(), "a picture without boxes is kept");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let annotation = |id: Value, image: i64, category: i64| {
            with(json!([{ "id": id, "image_id": image, "category_id": category, "bbox": [0, 0, 1, 1] }]))
        };
        let mut twice_id = with(json!([]));
        twice_id["categories"][0]["id"] = 7.into();
        let mut twice_name = with(json!([]));
        twice_name["categories"][0]["name"] = "cat".into();
        let mut twice_picture = with(json!([]));
        twice_picture["images"][1]["id"] = 9.into();
        let mut twice_file = with(json!([]));
        twice_file["images"][1]["file_name"] = twice_file["images"][0]["file_name"].clone();
        for (file, problem) in [
            (
                annotation(17.into(), 5, 7),
                "annotation 17: its image_id 5 is not among the images: add it there, or remove the annotation",
            ),
            (
                annotation(17.into(), 2, 8),
                "annotation 17: its category_id 8 is not among the categories: add it there, or remove the annotation",
            ),
            (
                annotation(Value::Null, 5, 7),
                "annotation number 1 of the list: its image_id 5 is not among the images: add it there, or remove the \
                 annotation",
            ),
            (twice_id, "two categories have the id 7: dog and cat"),
            (twice_name, "two categories are called cat: rename or remove one of them"),
            (twice_picture, "two pictures have the id 9; the second is a.jpg"),
            (
                twice_file,
                "b.jpg is listed twice, the second time with the id 2: each would take the other's objects for \
                 background. Give all of its annotations one image_id",
            ),
        ] {
            assert_eq!(read_value(&file).unwrap_err(), problem);
        }
        for (text, problem) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"images\": []}", "missing field `categories` at line 1"),
            ("[]", "invalid length 0, expected struct File with 3 elements"),
        ] {
            let message = read_text(text).unwrap_err();
            assert!(message.starts_with(&format!("is no COCO JSON of boxes: {problem}")), "{message}");
        }
        let three = with(json!([{ "image_id": 2, "category_id": 7, "bbox": [1, 2, 3] }]));
        let message = read_value(&three).unwrap_err();
        assert!(message.contains("invalid length 3, expected an array of length 4"), "{message}");
    }
}
