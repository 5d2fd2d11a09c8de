//! `voc:DIR`: pictures with objects or masks in the layout of the Pascal VOC challenges.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pairs::same_name;
use super::split::{Split, Wanted};
use super::walk::{self, Kind, PassedOver, contents};
use super::{Dataset, Error, IMAGENET_MEAN_STD};
use crate::files;

pub(super) use masks::open as open_masks;
pub(super) use objects::open as open_objects;

mod masks;
mod objects;
#[cfg(test)]
mod tests;
mod xml;

/// VOC's classes in their order.
const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];
const PICTURES: &str = "JPEGImages";
const LISTS: &str = "ImageSets";

/// A year of the challenge: a folder with `JPEGImages` and the like.
struct Year {
    folder: PathBuf,
    /// The pictures by their names without ending.
    pictures: HashMap<OsString, PathBuf>,
}

/// The years in a folder, in order: itself, or those in it such as `VOC2007`.
fn years(directory: &Path) -> Result<Vec<Year>, Error> {
    let is_year = |folder: &Path| folder.join(PICTURES).is_dir();
    let folders = match is_year(directory) {
        true => vec![directory.to_owned()],
        false => walk::folders(directory)?.into_iter().filter(|folder| is_year(folder)).collect(),
    };
    if folders.is_empty() {
        let problem = format!(
            "no {PICTURES} here, nor in a folder here such as VOC2012: {}. Give the folder VOCdevkit, or one of a year",
            contents(directory)
        );
        return Err(Error::invalid(directory, problem));
    }
    let year = |folder: PathBuf| {
        let mut pictures = HashMap::new();
        for item in walk::items(&folder.join(PICTURES))?.into_iter().filter(|item| item.kind == Kind::Picture) {
            let Some(name) = item.path.file_stem() else { continue };
            if let Some(other) = pictures.insert(name.to_owned(), item.path.clone()) {
                return Err(same_name(&item.path, &other));
            }
        }
        Ok(Year { folder, pictures })
    };
    folders.into_iter().map(year).collect()
}

impl Year {
    /// Where a list of names is. `kind` is `Main` for objects.
    fn list(&self, kind: &str, name: &str) -> PathBuf {
        self.folder.join(LISTS).join(kind).join(name).with_extension("txt")
    }

    /// The names in a list; none if there is no such list.
    fn names(&self, kind: &str, name: &str) -> Result<Vec<String>, Error> {
        let path = self.list(kind, name);
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for (line, name) in (1..).zip(files::lines(&path)?) {
            let name = name.trim();
            if name.contains(['/', '\\']) {
                let problem = format!("line {line} is {name:?}; a line is a picture's name without folder and ending");
                return Err(Error::invalid(path, problem));
            }
            if !name.is_empty() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The file of a picture; where there is none, where it should be.
    fn picture(&self, name: &str) -> PathBuf {
        let missing = || self.folder.join(PICTURES).join(format!("{name}.jpg"));
        self.pictures.get(&OsString::from(name)).cloned().unwrap_or_else(missing)
    }
}

/// The error for a split whose list is missing or empty.
fn missing_list(directory: &Path, years: &[Year], kind: &str, split: Split) -> Error {
    let folder = Path::new(LISTS).join(kind);
    let there = match years.iter().map(|year| year.folder.join(&folder)).find(|folder| folder.is_dir()) {
        Some(folder) => contents(&folder),
        None => "there is no such folder".to_owned(),
    };
    let (name, pictures) = match split {
        Split::Train => ("train", "training"),
        Split::Val => ("val", "validation"),
    };
    let problem = format!(
        "the list of the {pictures} pictures in {} is missing or empty: {there}. Write their names without endings to \
         {}, one a line",
        folder.display(),
        folder.join(name).with_extension("txt").display()
    );
    Error::invalid(directory, problem)
}

/// Fails if the splits that are wanted have no pictures.
fn check_lists(
    directory: &Path,
    years: &[Year],
    kind: &str,
    [train, val]: [usize; 2],
    wanted: Wanted,
) -> Result<(), Error> {
    let missing = match wanted {
        Wanted::Training if train == 0 => Some(Split::Train),
        Wanted::Training | Wanted::Validation if val == 0 => Some(Split::Val),
        Wanted::Everything if train + val == 0 => Some(Split::Train),
        _ => None,
    };
    missing.map_or(Ok(()), |split| Err(missing_list(directory, years, kind, split)))
}
