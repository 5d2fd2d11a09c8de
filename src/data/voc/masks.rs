//! VOC for segmentation: `SegmentationClass/NAME.png` holds the classes of a picture's pixels as palette indices.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::mask::read_mask;
use super::super::walk::name_within;
use super::super::{Sample, Source, Truth, decode};
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
    let list = |list: &str, folders: [&str; 2]| -> Result<Masked, Error> {
        let one = |name: String| (year.picture(&name), mask(year, &name, folders));
        let files = year.names(KIND, list)?.into_iter().map(one).collect();
        Ok(Masked { folder: directory.to_owned(), files, classes: classes.len() })
    };
    let train_folders = if train_list == "train" { [MASKS, SBD_MASKS] } else { [SBD_MASKS, MASKS] };
    let (train, val) = (list(train_list, train_folders)?, list(VAL_LIST, [MASKS, SBD_MASKS])?);
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

/// A split of pictures with masks.
struct Masked {
    /// The folder that names are paths within.
    folder: PathBuf,
    /// Pictures and masks.
    files: Vec<(PathBuf, PathBuf)>,
    classes: usize,
}

impl Source for Masked {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let image = decode(&self.files[index].0)?;
        Ok(Sample { truth: self.truth(index, image.dimensions().into()).unwrap_or(Ok(Truth::Unknown))?, image })
    }

    fn truth(&self, index: usize, size: [u32; 2]) -> Option<Result<Truth, Error>> {
        let path = &self.files[index].1;
        Some(read_mask(path, self.classes).and_then(|mask| match <[u32; 2]>::from(mask.dimensions()) == size {
            true => Ok(Truth::Mask(mask)),
            false => {
                let [width, height] = size;
                let problem = format!(
                    "{} x {} px, but its picture has {width} x {height} px (upright, as EXIF data say)",
                    mask.width(),
                    mask.height()
                );
                Err(Error::invalid(path, problem))
            }
        }))
    }

    fn name(&self, index: usize) -> String {
        name_within(&self.folder, &self.files[index].0)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some((0..self.len()).map(|index| self.name(index)).collect())
    }

    fn are_files(&self) -> bool {
        true
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        Some(super::super::decode::read(&self.files[index].0))
    }
}
