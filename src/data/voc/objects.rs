//! VOC for detection: `Annotations/NAME.xml` notes the objects of a picture.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::super::annotated::{Annotated, Picture};
use super::super::{Object, classes};
use super::xml::{self, Annotation};
use super::{CLASSES, Dataset, Error, IMAGENET_MEAN_STD, PassedOver, Wanted, Year, check_lists, years};
use crate::boxes::area;
use crate::files;

const KIND: &str = "Main";
/// The list of a year's test.
const TEST: &str = "test";

/// Opens a year, or a folder of years, which join. Where there is `test.txt` with its annotations, `trainval.txt` of
/// all years trains and such tests validate, as usual for VOC 2007 and 2012; else `train.txt` and `val.txt` do.
///
/// The classes are VOC's twenty if all objects are of them, else those of the training pictures, sorted.
pub(in super::super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let years = years(directory)?;
    let (train_list, val_list) = lists(&years)?;
    let read = |list: &str| -> Result<Vec<Read>, Error> {
        let mut read = Vec::new();
        for year in &years {
            let names = year.names(KIND, list)?;
            if list == TEST && !is_annotated(year, &names) {
                continue;
            }
            read.par_extend(names.par_iter().map(|name| Read::of(year, name)));
        }
        Ok(read)
    };
    let (train, val) = (read(train_list)?, read(val_list)?);
    check_lists(directory, &years, KIND, [train.len(), val.len()], wanted)?;
    let mut names = class_names(&train);
    if wanted != Wanted::Training || names.is_empty() {
        names.extend(class_names(&val));
    }
    let mut names: Vec<String> = names.into_iter().collect();
    if names.iter().all(|name| CLASSES.contains(&name.as_str())) {
        names = CLASSES.map(str::to_owned).to_vec();
    } else {
        classes::sort(&mut names);
    }
    let list = |read: Vec<Read>, cut: bool| Annotated {
        cut,
        folder: directory.to_owned(),
        pictures: read.into_iter().map(|read| read.with_classes(&names)).collect(),
    };
    let (train, val) = (list(train, wanted == Wanted::Training), list(val, false));
    if wanted == Wanted::Training {
        train.check()?;
        train.check_for_training(directory)?;
    }
    if wanted != Wanted::Everything {
        val.check()?;
    }
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(train),
        val: Arc::new(val),
        classes: names,
        mean,
        std,
        native_res: None,
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: [train_list, val_list].map(str::to_owned),
    })
}

/// The lists of the training and of the validation pictures.
fn lists(years: &[Year]) -> Result<(&'static str, &'static str), Error> {
    let has = |name: &str| years.iter().any(|year| year.list(KIND, name).is_file());
    let mut tested = false;
    for year in years {
        tested |= is_annotated(year, &year.names(KIND, TEST)?);
    }
    Ok(match () {
        () if tested && has("trainval") => ("trainval", TEST),
        () if tested && !has("val") => ("train", TEST),
        () => ("train", "val"),
    })
}

/// Whether the objects of a list's pictures are noted. VOC's tests since 2008 have lists, and no annotations that are
/// public.
fn is_annotated(year: &Year, names: &[String]) -> bool {
    names.first().is_some_and(|name| annotation(year, name).is_file())
}

fn annotation(year: &Year, name: &str) -> std::path::PathBuf {
    year.folder.join("Annotations").join(format!("{name}.xml"))
}

/// A picture whose annotation was read.
struct Read {
    picture: std::path::PathBuf,
    annotation: std::path::PathBuf,
    noted: Result<Annotation, String>,
}

impl Read {
    fn of(year: &Year, name: &str) -> Self {
        let path = annotation(year, name);
        let noted = match path.exists() {
            true => files::read_text(&path).map_err(|error| error.to_string()).and_then(|text| xml::parse(&text)),
            false => Err("a list in ImageSets/Main names this picture, but this file does not exist".to_owned()),
        };
        Self { picture: year.picture(name), annotation: path, noted }
    }

    /// The picture with its objects' classes as places in `names`.
    fn with_classes(self, names: &[String]) -> Picture {
        let place = |name: &str| names.iter().position(|known| known == name);
        let objects = self.noted.and_then(|noted| {
            let object = |(number, xml::Noted { class, bounds, difficult }): (usize, xml::Noted)| {
                let unknown = || format!("object {number} is a {class}, which no training picture shows");
                let class = place(&class).ok_or_else(unknown)? as u32;
                Ok(Object { class, bounds, area: area(bounds), difficult, crowd: false })
            };
            let objects: Result<Vec<Object>, String> = (1..).zip(noted.objects).map(object).collect();
            Ok((noted.size, objects?))
        });
        let (size, objects) = match objects {
            Ok((size, objects)) => (size, Ok(objects)),
            Err(problem) => (None, Err((self.annotation, problem))),
        };
        Picture { path: self.picture, size, objects }
    }
}

fn class_names(read: &[Read]) -> BTreeSet<String> {
    let noted = read.iter().filter_map(|read| read.noted.as_ref().ok());
    noted.flat_map(|noted| &noted.objects).map(|object| object.class.clone()).collect()
}
