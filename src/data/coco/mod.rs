//! `coco:DIR`: pictures whose objects are noted in COCO's JSON, one file a split.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::annotated::{Annotated, Picture};
use super::split::{Split, Wanted};
use super::walk::{PassedOver, contents, visible};
use super::{Dataset, Error, IMAGENET_MEAN_STD};
use json::{Noted, Notes};

mod json;
#[cfg(test)]
mod tests;

/// Where Roboflow puts a split's JSON, within the folder of its pictures.
const ROBOFLOW: &str = "_annotations.coco.json";
/// What COCO's own files of boxes start with.
const INSTANCES: &str = "instances_";
/// Pictures of which one at least must be in the folder that is taken for theirs.
const TRIED: usize = 100;

/// Opens `DIR/annotations/instances_NAME.json` (or `NAME.json`) with the pictures in `DIR/NAME`, or
/// `DIR/NAME/_annotations.coco.json` beside the pictures. The classes are the categories of the training split; unless
/// it is for training, those that only the validation split has come after them.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let [train, val] = [Split::Train, Split::Val].map(|split| Place::of(directory, split));
    let [train, val] = [train?, val?];
    let may_lack_train = wanted != Wanted::Training && val.is_some();
    let may_lack_val = wanted == Wanted::Everything && train.is_some();
    if train.is_none() && !may_lack_train {
        return Err(missing(directory, Split::Train));
    }
    if val.is_none() && !may_lack_val {
        return Err(missing(directory, Split::Val));
    }
    let read = |place: &Option<Place>| place.as_ref().map(|place| json::read(&place.json)).transpose();
    let (train_notes, val_notes) = (read(&train)?, read(&val)?);
    let mut classes: Vec<String> = train_notes.iter().flat_map(|notes| notes.classes.clone()).collect();
    if wanted != Wanted::Training {
        let of_val = val_notes.iter().flat_map(|notes| &notes.classes);
        let new: Vec<String> = of_val.filter(|name| !classes.contains(name)).cloned().collect();
        classes.extend(new);
    }
    let mut passed_over = PassedOver::default();
    let mut list = |place: &Option<Place>, notes: Option<Notes>, cut: bool| match (place, notes) {
        (Some(place), Some(notes)) => {
            if let Some(first) = notes.degenerate.first() {
                let what = format!("boxes without area within their picture (such as {first} in {})", place.name);
                passed_over.add(&what, notes.degenerate.len());
            }
            place.list(directory, renumbered(notes, &classes, &place.json)?, cut)
        }
        _ => Ok(Annotated::default()),
    };
    let (train_list, val_list) =
        (list(&train, train_notes, wanted == Wanted::Training)?, list(&val, val_notes, false)?);
    let empty_split =
        [(&train, &train_list, wanted == Wanted::Training), (&val, &val_list, wanted != Wanted::Everything)];
    for (place, list, needed) in empty_split {
        if let (Some(place), true, true) = (place, needed, list.pictures.is_empty()) {
            return Err(Error::invalid(&place.json, "it lists no pictures: add them to its images"));
        }
    }
    if let (Some(place), Wanted::Training) = (&train, wanted) {
        train_list.check_for_training(&place.json)?;
    }
    let name = |place: Option<Place>, split: Split| place.map_or_else(|| split.name().to_owned(), |place| place.name);
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(train_list),
        val: Arc::new(val_list),
        classes,
        mean,
        std,
        native_res: None,
        mirrored: true,
        passed_over,
        split_names: [name(train, Split::Train), name(val, Split::Val)],
    })
}

fn missing(directory: &Path, split: Split) -> Error {
    let annotations = directory.join("annotations");
    let (place, there) = match annotations.is_dir() {
        true => ("in annotations ", contents(&annotations)),
        false => ("", contents(directory)),
    };
    let name = split.name();
    let problem = format!(
        "no JSON of the {} pictures' boxes here: {place}{there}. Give annotations/instances_{name}.json with the \
         pictures in {name}/, or {name}/{ROBOFLOW} beside them",
        if split == Split::Train { "training" } else { "validation" },
    );
    Error::invalid(directory, problem)
}

/// Where a split is.
struct Place {
    json: PathBuf,
    /// The data's own name of the split, such as `train2017`.
    name: String,
    /// The split's name without its year.
    plain: &'static str,
}

impl Place {
    /// The first of the split's names for which there is a file, and of several years the last.
    fn of(directory: &Path, split: Split) -> Result<Option<Self>, Error> {
        let annotations = directory.join("annotations");
        let files = if annotations.is_dir() { visible(&annotations)? } else { vec![] };
        let folders = super::walk::folders(directory)?;
        for &plain in split.names() {
            let in_annotations = files.iter().rev().filter_map(|path| Some((path, split_of(path)?)));
            let beside =
                folders.iter().filter_map(|folder| Some((folder.join(ROBOFLOW), folder.file_name()?.to_str()?)));
            let beside = beside.filter(|(json, _)| json.is_file());
            let mut places = in_annotations.map(|(path, name)| (path.clone(), name)).chain(beside);
            let is_it = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).eq_ignore_ascii_case(plain);
            if let Some((json, name)) = places.find(|(_, name)| is_it(name)) {
                return Ok(Some(Self { json, name: name.to_owned(), plain }));
            }
        }
        Ok(None)
    }

    /// The pictures with their paths; `cut` is [`Annotated::cut`].
    fn list(&self, directory: &Path, notes: Notes, cut: bool) -> Result<Annotated, Error> {
        let folder = self.folder(directory, &notes.pictures)?;
        let picture = |Noted { file_name, size, objects }| Picture {
            path: folder.join(file_name),
            size: Some(size),
            objects: Ok(objects),
        };
        let pictures = notes.pictures.into_iter().map(picture).collect();
        Ok(Annotated { pictures, folder, cut })
    }

    /// The folder that the files' names are paths within: the first that holds one of them.
    fn folder(&self, directory: &Path, pictures: &[Noted]) -> Result<PathBuf, Error> {
        let images = directory.join("images");
        let own = [directory, &images].map(|above| [above.join(&self.name), above.join(self.plain)]);
        let candidates = own.into_iter().flatten().chain([images, directory.to_owned()]);
        let mut candidates: Vec<PathBuf> = candidates.collect();
        candidates.dedup();
        let holds_some =
            |folder: &&PathBuf| pictures.iter().take(TRIED).any(|picture| folder.join(&picture.file_name).is_file());
        let folder = candidates.iter().filter(|folder| folder.is_dir()).find(holds_some);
        let Some(first) = pictures.first() else { return Ok(candidates.swap_remove(0)) };
        folder.cloned().ok_or_else(|| {
            let places: Vec<String> = candidates.iter().map(|folder| folder.display().to_string()).collect();
            let places = places.join(", ");
            let problem = format!("its pictures, such as {}, are in none of these folders: {places}", first.file_name);
            Error::invalid(&self.json, problem)
        })
    }
}

/// The split that a file of annotations is of, by its name: `val2017` for `instances_val2017.json`.
fn split_of(json: &Path) -> Option<&str> {
    let name = json.file_name()?.to_str()?.strip_suffix(".json")?;
    Some(name.strip_prefix(INSTANCES).unwrap_or(name))
}

/// The notes with their classes renumbered to places in `classes`, by name.
fn renumbered(mut notes: Notes, classes: &[String], json: &Path) -> Result<Notes, Error> {
    let place = |name: &String| classes.iter().position(|class| class == name).map(|place| place as u32);
    let places: Vec<Option<u32>> = notes.classes.iter().map(place).collect();
    let objects = notes.pictures.iter_mut().flat_map(|picture| &mut picture.objects);
    for object in objects {
        object.class = places[object.class as usize].ok_or_else(|| {
            let name = &notes.classes[object.class as usize];
            let problem = format!("its category {name} is none of the training split: add it to the categories there");
            Error::invalid(json, problem)
        })?;
    }
    Ok(notes)
}
