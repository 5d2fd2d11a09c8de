//! VOC for segmentation: `SegmentationClass/NAME.png` holds the classes of a picture's pixels as palette indices.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::mask::read_mask;
use super::super::pairs::{Paired, Read};
use super::super::{Source, Truth};
use super::{CLASSES, Dataset, Error, IMAGENET_MEAN_STD, LISTS, PassedOver, Wanted, Year, check_lists, years};

const KIND: &str = "Segmentation";
/// The lists of training pictures; the first that exists counts. SBD's list has two names.
const TRAIN_LISTS: [&str; 3] = ["train_aug", "trainaug", "train"];
const VAL_LIST: &str = "val";
/// VOC's own masks, and the folder in which the copy of SBD's masks comes.
const MASKS: &str = "SegmentationClass";
const SBD_MASKS: &str = "SegmentationClassAug";

/// Opens a year, or the last year in a folder that has lists for segmentation: VOC 2012 holds the pictures of the years
/// before under other names. The classes are the background and VOC's twenty.
pub(in super::super) fn open(directory: &Path, wanted: Wanted) -> Result<Dataset, Error> {
    let mut years = years(directory)?;
    let last = years.iter().rposition(|year| year.folder.join(LISTS).join(KIND).is_dir());
    years = vec![years.swap_remove(last.unwrap_or(0))];
    let year = &years[0];
    let train_list = TRAIN_LISTS.into_iter().find(|list| year.list(KIND, list).is_file()).unwrap_or("train");
    let classes: Vec<String> = std::iter::once("background").chain(CLASSES).map(str::to_owned).collect();
    let number = classes.len();
    let read: Read = Arc::new(move |path| Ok(Truth::Mask(read_mask(path, number)?)));
    let paired = |list: &str, folders: [&str; 2]| -> Result<Paired, Error> {
        let one = |name: String| [year.picture(&name), mask(year, &name, folders)];
        let files = year.names(KIND, list)?.into_iter().map(one).collect();
        Ok(Paired { folder: directory.to_owned(), files, read: read.clone() })
    };
    let train_folders = if train_list == "train" { [MASKS, SBD_MASKS] } else { [SBD_MASKS, MASKS] };
    let (train, val) = (paired(train_list, train_folders)?, paired(VAL_LIST, [MASKS, SBD_MASKS])?);
    check_lists(directory, &years, KIND, [train.len(), val.len()], wanted)?;
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(train),
        val: Arc::new(val),
        classes,
        mean,
        std,
        native_res: None,
        mirrored: true,
        passed_over: PassedOver::default(),
        split_names: [train_list, VAL_LIST].map(str::to_owned),
    })
}

/// The file of a mask: in the first of these folders that has it.
fn mask(year: &Year, name: &str, folders: [&str; 2]) -> PathBuf {
    let [first, second] = folders.map(|folder| year.folder.join(folder).join(format!("{name}.png")));
    if !first.is_file() && second.is_file() { second } else { first }
}
