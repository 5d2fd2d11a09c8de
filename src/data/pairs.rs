//! Pictures, and files of the same names with their truths, such as masks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::split::{Split, Wanted};
use super::walk::{ENDINGS, Found, PassedOver, contents, folders, name_within, pictures_in};
use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source, Truth, dataset, decode};
use crate::words::count;

/// The folder with pictures.
const PICTURES: &[&str] = &["images"];

/// The files that hold truths.
pub(super) struct Files {
    /// What one is called.
    pub(super) thing: &'static str,
    /// Names of their folder, in upper or lower case; the first that exists counts.
    pub(super) folders: &'static [&'static str],
}

/// The pairs of one split.
#[derive(Default)]
pub(super) struct Pairs {
    /// The split's own name.
    split: String,
    /// The folder with the pictures.
    folder: PathBuf,
    /// The files: a picture and its truth.
    pub(super) files: Vec<[PathBuf; 2]>,
    passed_over: PassedOver,
}

/// The pairs of the training and of the validation split. The splits lie within the folders of pictures and of truths,
/// or the other way round: `images/train` and `masks/train`, or `train/images` and `train/masks`. For validation alone
/// the training pairs are not looked for.
pub(super) fn find(directory: &Path, files: &Files, wanted: Wanted) -> Result<[Pairs; 2], Error> {
    let of_split = |split| {
        if (wanted, split) == (Wanted::Validation, Split::Train) {
            return Ok(Pairs::default());
        }
        let must_have_pictures = wanted != Wanted::Everything;
        let Some([pictures, truths]) = places(directory, files, split)? else {
            return if must_have_pictures { Err(missing_split(directory, files, split)) } else { Ok(Pairs::default()) };
        };
        let pairs = Pairs::of(&pictures, &truths, split_name(directory, &pictures), files.thing)?;
        if pairs.files.is_empty() && must_have_pictures {
            let problem = format!("no pictures here ({}): {}", ENDINGS.join(", "), contents(&pictures));
            return Err(Error::invalid(pictures, problem));
        }
        Ok(pairs)
    };
    Ok([of_split(Split::Train)?, of_split(Split::Val)?])
}

/// The folders of a split's pictures and truths, if there is such a split.
fn places(directory: &Path, files: &Files, split: Split) -> Result<Option<[PathBuf; 2]>, Error> {
    let both = |above: &Path| -> Result<[PathBuf; 2], Error> {
        Ok([named(above, PICTURES, "picture")?, named(above, files.folders, files.thing)?])
    };
    if find_named(directory, PICTURES)?.is_none() {
        return split.folder(directory)?.map(|folder| both(&folder)).transpose();
    }
    let [pictures, truths] = both(directory)?;
    match [split.folder(&pictures)?, split.folder(&truths)?] {
        [Some(pictures), Some(truths)] => Ok(Some([pictures, truths])),
        [None, None] => Ok(None),
        [None, Some(_)] => Err(missing_split(&pictures, files, split)),
        [Some(_), None] => Err(missing_split(&truths, files, split)),
    }
}

/// The folder with one of these names, in upper or lower case.
fn find_named(above: &Path, names: &[&str]) -> Result<Option<PathBuf>, Error> {
    let folders = folders(above)?;
    let is = |path: &&PathBuf, name: &str| path.file_name().is_some_and(|own| own.eq_ignore_ascii_case(name));
    Ok(names.iter().find_map(|name| folders.iter().find(|path| is(path, name))).cloned())
}

fn named(above: &Path, names: &[&str], thing: &str) -> Result<PathBuf, Error> {
    let problem = || format!("no folder of {thing}s here ({}): {}", names.join(", "), contents(above));
    find_named(above, names)?.ok_or_else(|| Error::invalid(above, problem()))
}

fn missing_split(above: &Path, files: &Files, split: Split) -> Error {
    let (names, folder) = (split.names().join(", "), files.folders[0]);
    let problem = format!(
        "no folder for the {} pictures here ({names}): {}. Put pictures in images/train and images/val, and {}s of the \
         same names in {folder}/train and {folder}/val",
        if split == Split::Train { "training" } else { "validation" },
        contents(above),
        files.thing
    );
    Error::invalid(above, problem)
}

/// The name of a split whose pictures are in `SPLIT/images` or `images/SPLIT`.
fn split_name(directory: &Path, pictures: &Path) -> String {
    let parts = pictures.strip_prefix(directory).unwrap_or(pictures).iter().map(|part| part.to_string_lossy());
    let mut parts = parts.filter(|part| !PICTURES.iter().any(|name| part.eq_ignore_ascii_case(name)));
    parts.next().unwrap_or_default().into_owned()
}

impl Pairs {
    /// The pictures in a folder with the truths of the same names in another, at any depth.
    fn of(pictures: &Path, truths: &Path, split: String, thing: &str) -> Result<Self, Error> {
        let (of_pictures, of_truths) = (pictures_in(pictures)?, pictures_in(truths)?);
        let mut passed_over = of_pictures.passed_over.clone();
        passed_over.extend(&of_truths.passed_over);
        let by_name = by_name(pictures, &of_pictures)?;
        let mut truth_of = self::by_name(truths, &of_truths)?;
        let mut pairs = Self { split, folder: pictures.to_owned(), files: Vec::new(), passed_over };
        let mut alone = Vec::new();
        for (name, picture) in by_name {
            match truth_of.remove(&name) {
                Some(truth) => pairs.files.push([picture, truth]),
                None => alone.push((name, picture)),
            }
        }
        if let Some((name, picture)) = alone.first() {
            let problem = format!(
                "there is no {thing} of its name in {}: add {}.png there, or take the picture away{}",
                truths.display(),
                name.display(),
                more(alone.len(), "picture", &format!("without a {thing}"))
            );
            return Err(Error::invalid(picture, problem));
        }
        if let Some(truth) = truth_of.values().next() {
            let problem = format!(
                "there is no picture of its name in {}: add it there, or take the {thing} away{}",
                pictures.display(),
                more(truth_of.len(), thing, "without a picture")
            );
            return Err(Error::invalid(truth, problem));
        }
        Ok(pairs)
    }
}

/// Files by their paths within a folder, without endings.
fn by_name(folder: &Path, found: &Found) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
    let mut by_name = BTreeMap::new();
    for path in &found.pictures {
        let name = path.strip_prefix(folder).unwrap_or(path).with_extension("");
        if let Some(other) = by_name.insert(name, path.clone()) {
            return Err(same_name(path, &other));
        }
    }
    Ok(by_name)
}

/// The error for two pictures whose names differ in their endings alone.
pub(super) fn same_name(path: &Path, other: &Path) -> Error {
    Error::invalid(path, format!("has the same name as {} except for the ending: rename one of them", other.display()))
}

/// How many others have a fault, in words.
fn more(number: usize, thing: &str, fault: &str) -> String {
    match number {
        1 => String::new(),
        _ => format!(". There are {} {fault}", count(number, thing)),
    }
}

/// Reads a truth's file.
pub(super) type Read = Arc<dyn Fn(&Path) -> Result<Truth, Error> + Send + Sync>;

/// The data set of pairs whose truths `read` reads. Colours are standardised as ImageNet's.
pub(super) fn dataset(pairs: [Pairs; 2], classes: Vec<String>, read: Read) -> Dataset {
    let mut passed_over = PassedOver::default();
    pairs.iter().for_each(|pairs| passed_over.extend(&pairs.passed_over));
    let name = |pairs: &Pairs, split: Split| match pairs.split.is_empty() {
        true => split.name().to_owned(),
        false => pairs.split.clone(),
    };
    let split_names = [name(&pairs[0], Split::Train), name(&pairs[1], Split::Val)];
    let source = |Pairs { folder, files, .. }: Pairs| -> Arc<dyn Source> {
        match files.is_empty() {
            true => Arc::new(dataset::Nothing),
            false => Arc::new(Paired { folder, files, read: read.clone() }),
        }
    };
    let [train, val] = pairs.map(source);
    let (mean, std) = IMAGENET_MEAN_STD;
    Dataset { train, val, classes, mean, std, native_res: None, mirrored: true, passed_over, split_names }
}

/// A split of pictures whose truths are files of the pictures' sizes.
pub(super) struct Paired {
    /// The folder that names are paths within.
    pub(super) folder: PathBuf,
    /// Pictures and truths.
    pub(super) files: Vec<[PathBuf; 2]>,
    pub(super) read: Read,
}

impl Source for Paired {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let image = decode(&self.files[index][0])?;
        Ok(Sample { truth: self.truth_of_size(index, image.dimensions())?, image })
    }

    fn truth(&self, index: usize, [width, height]: [u32; 2]) -> Option<Result<Truth, Error>> {
        Some(self.truth_of_size(index, (width, height)))
    }

    fn name(&self, index: usize) -> String {
        name_within(&self.folder, &self.files[index][0])
    }

    fn names(&self) -> Option<Vec<String>> {
        Some((0..self.len()).map(|index| self.name(index)).collect())
    }

    fn are_files(&self) -> bool {
        true
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        Some(super::decode::read(&self.files[index][0]))
    }
}

impl Paired {
    fn truth_of_size(&self, index: usize, picture: (u32, u32)) -> Result<Truth, Error> {
        let [_, path] = &self.files[index];
        let truth = (self.read)(path).map_err(|error| self.of_truth(index, error))?;
        let size = match &truth {
            Truth::Mask(mask) => mask.dimensions(),
            Truth::Depth(depth) => depth.dimensions(),
            _ => picture,
        };
        if size == picture {
            return Ok(truth);
        }
        let ((w, h), (wide, high)) = (size, picture);
        let problem = format!(
            "it has {w} x {h} pixels, and its picture, turned upright, has {wide} x {high}: save both in one size"
        );
        Err(self.of_truth(index, Error::invalid(path, problem)))
    }

    /// The error of a picture for that of its truth, whose name may be the same.
    fn of_truth(&self, index: usize, error: Error) -> Error {
        match error {
            Error::Invalid { .. } => Error::invalid(&self.files[index][0], format!("its mask or depths: {error}")),
            other => other,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILES: Files = Files { thing: "mask", folders: &["masks", "labels"] };

    fn tree(places: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for place in places {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    /// The names of both splits' pictures and truths within the data's folder.
    fn found(places: &[&str], wanted: Wanted) -> Result<[Vec<[String; 2]>; 2], String> {
        let folder = tree(places);
        let short = |path: &PathBuf| name_within(folder.path(), path);
        let names = |pairs: Pairs| pairs.files.iter().map(|pair| pair.each_ref().map(short)).collect();
        let here = format!("{}/", folder.path().display());
        let message = |error: Error| error.to_string().replace(&here, "").replace(&here[..here.len() - 1], "DIR");
        Ok(find(folder.path(), &FILES, wanted).map_err(message)?.map(names))
    }

    #[test]
    fn both_layouts_are_found_by_the_names_that_others_give_them() {
        let [train, val] = found(
            &["train/images/b.jpg", "train/images/a/b.png", "train/masks/a/b.png", "train/masks/b.png"]
                .iter()
                .chain(&["val/images/c.jpeg", "val/masks/c.png", "val/masks/notes.txt"])
                .copied()
                .collect::<Vec<_>>(),
            Wanted::Training,
        )
        .unwrap();
        assert_eq!(
            train,
            [["train/images/a/b.png", "train/masks/a/b.png"], ["train/images/b.jpg", "train/masks/b.png"]]
        );
        assert_eq!(val, [["val/images/c.jpeg", "val/masks/c.png"]]);
        let places = ["images/Training/1.jpg", "LABELS/Training/1.png", "images/validation/2.v1.jpg"];
        let other = [&places[..], &["LABELS/validation/2.v1.png"]].concat();
        let [train, val] = found(&other, Wanted::Training).unwrap();
        assert_eq!(train, [["images/Training/1.jpg", "LABELS/Training/1.png"]]);
        assert_eq!(val, [["images/validation/2.v1.jpg", "LABELS/validation/2.v1.png"]]);
    }

    #[test]
    fn validation_needs_its_own_pairs_alone() {
        let places = ["images/val/1.jpg", "masks/val/1.png", "images/train/2.jpg", "masks/train/3.png"];
        assert_eq!(found(&places, Wanted::Validation).unwrap()[0].len(), 0, "training pairs may be incomplete");
        assert_eq!(found(&places[..2], Wanted::Everything).unwrap()[1].len(), 1);
        let data = dataset(
            find(tree(&places[..2]).path(), &FILES, Wanted::Validation).unwrap(),
            Vec::new(),
            Arc::new(|_: &Path| Ok(Truth::Unknown)),
        );
        assert_eq!(
            (data.train.len(), data.val.names(), data.split_names),
            (0, Some(vec!["1.jpg".into()]), ["train", "val"].map(String::from))
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_out() {
        let whole = ["images/train/1.jpg", "masks/train/1.png", "images/val/2.jpg", "masks/val/2.png"];
        assert!(found(&whole, Wanted::Training).is_ok());
        let without = |word: &str| -> Vec<&str> { whole.iter().filter(|p| !p.contains(word)).copied().collect() };
        let with = |more: &[&'static str]| [&whole[..], more].concat();
        for (places, expected) in [
            (
                vec![],
                "DIR: no folder for the training pictures here (train, training): it is empty. Put pictures in \
                 images/train and images/val, and masks of the same names in masks/train and masks/val",
            ),
            (without("train"), "DIR: no folder for the training pictures here (train, training): there are images,"),
            (without("masks/train"), "masks: no folder for the training pictures here (train, training): there is"),
            (without("images/val"), "images: no folder for the validation pictures here (val, "),
            (without("masks"), "DIR: no folder of masks here (masks, labels): there is only images"),
            (vec!["train/masks/1.png"], "train: no folder of pictures here (images): there is only masks"),
            (
                with(&["images/val/x/3.jpg", "images/val/x/4.jpg"]),
                "images/val/x/3.jpg: there is no mask of its name in masks/val: add x/3.png there, or take the \
                 picture away. There are 2 pictures without a mask",
            ),
            (
                with(&["masks/val/5.png"]),
                "masks/val/5.png: there is no picture of its name in images/val: add it there, or take the mask away",
            ),
            (
                with(&["images/val/2.png"]),
                "images/val/2.png: has the same name as images/val/2.jpg except for the ending: rename one of them",
            ),
            (
                [without("val/2"), vec!["images/val/notes.txt", "masks/val/notes.txt"]].concat(),
                "images/val: no pictures here (bmp, gif, jfif, jpe, jpeg, jpg, png, tif, tiff, webp): there is only",
            ),
        ] {
            let message = found(&places, Wanted::Training).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
