//! Pictures with their objects: what `voc:DIR` and `coco:DIR` read their annotations into.

use std::path::{Path, PathBuf};

use super::walk::name_within;
use super::{Error, Object, Sample, Source, Truth, decode};
use crate::boxes;

/// A split of pictures with objects.
#[derive(Default)]
pub(super) struct Annotated {
    /// The folder that names are paths within.
    pub(super) folder: PathBuf,
    pub(super) pictures: Vec<Picture>,
    /// Whether boxes are cut at the edges of their picture, as for training (torchvision's `coco_utils.py`). A metric
    /// compares boxes as they are noted.
    pub(super) cut: bool,
}

/// A picture's file and what is noted on it.
pub(super) struct Picture {
    pub(super) path: PathBuf,
    /// Width and height, if they are noted.
    pub(super) size: Option<[u32; 2]>,
    /// The objects, or the file that should tell them and what is wrong with it.
    pub(super) objects: Result<Vec<Object>, (PathBuf, String)>,
}

impl Annotated {
    /// Fails if the objects of a picture are not known.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.pictures.iter().try_for_each(|picture| picture.objects().map(|_| ()))
    }

    /// Fails if there is no object that a detector can learn. `source` is the file or folder to name.
    pub(super) fn check_for_training(&self, source: &Path) -> Result<(), Error> {
        let objects = || self.pictures.iter().filter_map(|picture| picture.objects.as_ref().ok()).flatten();
        let problem = match objects().next() {
            None => "the training pictures have no objects: there is nothing to learn",
            Some(_) if !objects().any(reaches_beyond_a_pixel) => IN_SHARES,
            Some(_) if !objects().any(|object| !object.difficult && !object.crowd) => {
                "all objects of the training pictures are difficult or crowds, which are not learnt"
            }
            Some(_) => return Ok(()),
        };
        Err(Error::invalid(source, problem))
    }
}

/// The fault of boxes whose unit is not the pixel.
pub(super) const IN_SHARES: &str = "no training object reaches beyond the first pixel of its picture: boxes are in \
                                    pixels, not in shares of the picture";

/// Whether a box reaches beyond the first pixel of its picture, as no share of a side does, however it is rounded.
pub(super) fn reaches_beyond_a_pixel(object: &Object) -> bool {
    object.bounds[2].max(object.bounds[3]) > 1.5
}

impl Picture {
    fn objects(&self) -> Result<&Vec<Object>, Error> {
        self.objects.as_ref().map_err(|(path, problem)| Error::invalid(path, problem))
    }
}

impl Source for Annotated {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let image = decode(&self.pictures[index].path)?;
        Ok(Sample { truth: self.truth(index, image.dimensions().into()).unwrap_or(Ok(Truth::Unknown))?, image })
    }

    /// Refuses a picture of another size than noted: its boxes would lie in wrong places. Most often, the file says
    /// that the picture is to be turned, and whoever drew the boxes saw it unturned.
    fn truth(&self, index: usize, size: [u32; 2]) -> Option<Result<Truth, Error>> {
        let picture = &self.pictures[index];
        let seen = |object: &Object| match self.cut {
            true => Object { bounds: boxes::clip(object.bounds, [size[1] as usize, size[0] as usize]), ..*object },
            false => *object,
        };
        let objects = picture.objects().map(|objects| Truth::Objects(objects.iter().map(seen).collect()));
        Some(match picture.size {
            Some(noted) if noted != size => {
                let [[width, height], [noted_width, noted_height]] = [size, noted];
                let problem = format!(
                    "{width} x {height} px (upright, as EXIF data say), but its annotation is for {noted_width} x \
                     {noted_height} px: put the right size into the annotation, or save the picture upright"
                );
                Err(Error::invalid(&picture.path, problem))
            }
            _ => objects,
        })
    }

    fn name(&self, index: usize) -> String {
        name_within(&self.folder, &self.pictures[index].path)
    }

    fn names(&self) -> Option<Vec<String>> {
        Some((0..self.len()).map(|index| self.name(index)).collect())
    }

    fn are_files(&self) -> bool {
        true
    }

    fn bytes(&self, index: usize) -> Option<Result<Vec<u8>, Error>> {
        Some(super::decode::read(&self.pictures[index].path))
    }
}
