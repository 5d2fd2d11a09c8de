//! `masks:DIR`: pictures and masks of the same names. `ade20k:DIR`: the same, with ADE20K's numbers.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::mask::{read_labels, read_mask};
use super::pairs::{self, Files, Pairs};
use super::split::Wanted;
use super::{Dataset, Error, IGNORED, Truth};
use crate::files;
use crate::words::listed;

const MASKS: Files = Files { thing: "mask", folders: &["masks", "labels", "annotations"] };

/// The most labels that a message lists.
const MOST_LABELS: usize = 10;

/// The most numbers that are classes without names. Greys of a picture that was resized are more.
const MOST_NUMBERS: usize = 64;

/// Opens a folder of pictures and masks. The lines of `classes.txt` name the classes; without that file, every mask is
/// read once, and the classes are the numbers from 0 to the largest label.
pub(super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let pairs = pairs::find(directory, &MASKS, wanted)?;
    let listed = directory.join("classes.txt");
    let (classes, source) = match listed.exists() {
        true => (files::lines(&listed)?, listed.as_path()),
        false => (numbered(&pairs, directory, wanted)?, directory),
    };
    let number = classes.len();
    // Whatever its masks are, the network of a validation knows its classes.
    let strict = wanted != Wanted::Validation;
    if number > usize::from(IGNORED) || (number < 2 && strict) {
        let problem = format!(
            "{number} classes, where masks need 2 to {IGNORED}, such as the background (0) and one kind of thing (1); \
             {IGNORED} does not count"
        );
        return Err(Error::invalid(source, problem));
    }
    // Here a mask that cannot be read is passed over: reading its picture reports it.
    if strict && number == 2 && labels(&pairs).is_ok_and(|labels| labels == [0, IGNORED]) {
        let problem = format!(
            "the masks have the labels 0 and {IGNORED} alone, and {IGNORED} does not count: give pixels of {} the \
             label 1",
            classes[1]
        );
        return Err(Error::invalid(directory, problem));
    }
    Ok(pairs::dataset(pairs, classes, Arc::new(move |path| Ok(Truth::Mask(read_mask(path, number)?)))))
}

/// The numbers of the classes in all masks. Masks that were painted in greys, such as 0 and 128, or resized with their
/// edges blurred, would make classes that nobody meant: most numbers must occur, and be few, except in a validation.
fn numbered(pairs: &[Pairs; 2], directory: &Path, wanted: Wanted) -> Result<Vec<String>, Error> {
    let mut found = labels(pairs)?;
    found.retain(|label| *label != IGNORED);
    let classes = found.last().map_or(0, |largest| usize::from(*largest) + 1);
    if wanted != Wanted::Validation && (2 * found.len() < classes || found.len() > MOST_NUMBERS) {
        let problem = format!(
            "the masks have {} labels from 0 to {}: {}. If these are greys, replace them by 0, 1 and so on; if they \
             are classes, name all of them in classes.txt, one a line",
            found.len(),
            classes - 1,
            listed(found.iter(), MOST_LABELS)
        );
        return Err(Error::invalid(directory, problem));
    }
    Ok((0..classes).map(|class| class.to_string()).collect())
}

/// The labels that occur in the masks of both splits, in order.
fn labels(pairs: &[Pairs; 2]) -> Result<Vec<u8>, Error> {
    let masks: Vec<&Path> = pairs.iter().flat_map(|pairs| &pairs.files).map(|[_, mask]| mask.as_path()).collect();
    let of_mask = |mask: &&Path| -> Result<[bool; 256], Error> {
        let mut occurs = [false; 256];
        read_labels(mask)?.iter().for_each(|&label| occurs[usize::from(label)] = true);
        Ok(occurs)
    };
    let each = masks.par_iter().map(of_mask).collect::<Result<Vec<_>, _>>()?;
    Ok((0..=u8::MAX).filter(|label| each.iter().any(|mask| mask[usize::from(*label)])).collect())
}

/// Classes of ADE20K's scene parsing challenge.
const ADE_CLASSES: usize = 150;

/// Opens ADE20K's scene parsing data (ADEChallengeData2016: `images/training`, `annotations/training`, and the same for
/// `validation`). Its 0 does not count, and its 1 to 150 become 0 to 149, as in CSAILVision's code. `objectInfo150.txt`
/// names the classes, if it is there.
pub(super) fn open_ade20k(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let pairs = pairs::find(directory, &MASKS, wanted)?;
    let info = directory.join("objectInfo150.txt");
    let classes = match info.exists() {
        true => ade_names(&info)?,
        false => (0..ADE_CLASSES).map(|class| class.to_string()).collect(),
    };
    let read = |path: &Path| {
        let mut mask = read_mask(path, ADE_CLASSES + 1)?;
        let renumbered = |label: u8| if matches!(label, 0 | IGNORED) { IGNORED } else { label - 1 };
        mask.iter_mut().for_each(|label| *label = renumbered(*label));
        Ok(Truth::Mask(mask))
    };
    Ok(pairs::dataset(pairs, classes, Arc::new(read)))
}

/// The first of the names in the last column of each line but the first.
fn ade_names(info: &Path) -> Result<Vec<String>, Error> {
    let name =
        |line: &String| line.rsplit('\t').next().and_then(|names| Some(names.split(',').next()?.trim().to_owned()));
    let names: Vec<String> = files::lines(info)?.iter().skip(1).filter_map(name).collect();
    if names.len() != ADE_CLASSES {
        let problem = format!("{} classes, where ADE20K's challenge has {ADE_CLASSES}: take its own file", names.len());
        return Err(Error::invalid(info, problem));
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{GrayImage, RgbImage};

    use super::*;

    /// Writes pictures of 2 x 1 pixels with these labels to `images/SPLIT/N.png` and `annotations/SPLIT/N.png`.
    fn folder(masks: &[(&str, [u8; 2])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, (split, labels)) in masks.iter().enumerate() {
            for kind in ["images", "annotations"] {
                let path = folder.path().join(kind).join(split);
                std::fs::create_dir_all(&path).unwrap();
                let path = path.join(format!("{number}.png"));
                match kind {
                    "images" => RgbImage::new(2, 1).save(path).unwrap(),
                    _ => GrayImage::from_vec(2, 1, labels.to_vec()).unwrap().save(path).unwrap(),
                }
            }
        }
        folder
    }

    fn labels_of(data: &Dataset, index: usize) -> Vec<u8> {
        let Truth::Mask(mask) = data.train.sample(index).unwrap().truth else { panic!("a mask") };
        mask.into_raw()
    }

    #[test]
    fn classes_are_listed_or_counted() {
        let folder = folder(&[("train", [0, 2]), ("train", [1, 255]), ("val", [3, 0])]);
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!((data.classes.len(), &*data.classes[3]), (4, "3"), "val has the largest label");
        assert_eq!([0, 1].map(|index| labels_of(&data, index)), [[0, 2], [1, 255]]);
        std::fs::write(folder.path().join("classes.txt"), "ground\ncat\ndog\nowl\nemu\n").unwrap();
        assert_eq!(open(folder.path(), Wanted::Training).unwrap().classes, ["ground", "cat", "dog", "owl", "emu"]);
        // A label without a class is found when its mask is read.
        std::fs::write(folder.path().join("classes.txt"), "ground\ncat").unwrap();
        let error = open(folder.path(), Wanted::Training).unwrap().train.sample(0).err().unwrap().to_string();
        assert!(error.contains("0.png: label 2 at column 1, row 0: of 2 classes"), "{error}");
    }

    #[test]
    fn masks_without_classes_are_refused() {
        let greys = [("train", [0, 128]), ("train", [255, 128]), ("val", [0, 128])];
        for wanted in [Wanted::Training, Wanted::Everything] {
            let message = |masks: &[_]| open(folder(masks).path(), wanted).unwrap_err().to_string();
            let one = message(&[("train", [0, 0]), ("val", [255, 0])]);
            assert!(one.contains(": 1 classes, where masks need 2 to 255, such as"), "{one}");
            let greys = message(&greys);
            assert!(greys.contains("the masks have 2 labels from 0 to 128: 0, 128. If these are greys"), "{greys}");
            let blurred: Vec<(&str, [u8; 2])> = (0..65).map(|grey| ("train", [grey, 0])).collect();
            let blurred = message(&[&blurred[..], &[("val", [0, 1])]].concat());
            assert!(blurred.contains("the masks have 65 labels from 0 to 64: 0, 1, 2"), "{blurred}");
        }
        assert_eq!(open(folder(&greys).path(), Wanted::Validation).unwrap().classes.len(), 129, "the network decides");
        // A list of two classes, and the second painted in white.
        let white = folder(&[("train", [0, 255]), ("val", [255, 0])]);
        std::fs::write(white.path().join("classes.txt"), "ground\ncat").unwrap();
        let refused = open(white.path(), Wanted::Training).unwrap_err().to_string();
        assert!(refused.contains("255 does not count: give pixels of cat the label 1"), "{refused}");
        let folder = folder(&[("train", [0, 1]), ("val", [0, 1])]);
        let path = folder.path().join("annotations/val/1.png");
        RgbImage::new(2, 1).save(&path).unwrap();
        let colours = open(folder.path(), Wanted::Training).unwrap_err().to_string();
        assert!(colours.contains("1.png: a mask with colours, Rgb, "), "{colours}");
        GrayImage::new(3, 1).save(&path).unwrap();
        let data = open(folder.path(), Wanted::Training).unwrap();
        let size = data.val.sample(0).err().unwrap().to_string();
        assert!(size.contains("it has 3 x 1 pixels, and its picture, turned upright, has 2 x 1"), "{size}");
    }

    #[test]
    fn ade20ks_numbers_start_at_one() {
        let folder =
            folder(&[("training", [0, 1]), ("training", [150, 2]), ("training", [151, 2]), ("validation", [9, 9])]);
        let data = open_ade20k(folder.path(), Wanted::Training).unwrap();
        assert_eq!([0, 1].map(|index| labels_of(&data, index)), [[255, 0], [149, 1]]);
        let error = data.train.sample(2).err().unwrap().to_string();
        assert!(error.contains("label 151 at column 0, row 0"), "{error}");
        assert_eq!((data.classes.len(), &*data.classes[149], &*data.split_names[1]), (150, "149", "validation"));
        let line = |number| format!("{number}\t0.1\t11\t12\tthing {number} , another\n");
        let info = folder.path().join("objectInfo150.txt");
        let write = |lines| {
            std::fs::write(
                &info,
                "Idx\tRatio\tTrain\tVal\tName\n".to_owned() + &(1..=lines).map(line).collect::<String>(),
            )
        };
        write(150).unwrap();
        assert_eq!(open_ade20k(folder.path(), Wanted::Training).unwrap().classes[149], "thing 150");
        write(149).unwrap();
        let error = open_ade20k(folder.path(), Wanted::Training).unwrap_err().to_string();
        assert!(error.contains("objectInfo150.txt: 149 classes, where ADE20K's challenge has 150"), "{error}");
    }
}
