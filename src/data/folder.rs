//! `folder:DIR`: `DIR/train/CLASS/*.jpg` and `DIR/val/CLASS/*.jpg`, decoded when asked for; also PNG and WebP.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::{ENDINGS, decode, is_picture, visible};
use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source};

/// Opens a folder of folders. Classes are the folders under `train`, sorted by name; `val` may lack some of them.
pub(super) fn open(directory: &Path) -> Result<Dataset, Error> {
    let train = subfolder(directory, "train")?;
    let classes = class_folders(&train)?;
    if classes.len() < 2 {
        let problem = "fewer than 2 folders of classes here: put pictures in train/CLASS/";
        return Err(Error::invalid(train, problem));
    }
    let val = subfolder(directory, "val")?;
    let val_classes = class_folders(&val)?;
    if val_classes.is_empty() {
        return Err(Error::invalid(val, "no folders of classes here: put pictures in val/CLASS/"));
    }
    if let Some(unknown) = val_classes.iter().find(|name| classes.binary_search(name).is_err()) {
        let problem = "is no class of the training pictures: add a folder of this name to train, or remove it here";
        return Err(Error::invalid(val.join(unknown), problem));
    }
    let (mean, std) = IMAGENET_MEAN_STD;
    Ok(Dataset {
        train: Arc::new(Folder::list(&train, &classes)?),
        val: Arc::new(Folder::list(&val, &classes)?),
        classes: classes.iter().map(|name| name.to_string_lossy().into_owned()).collect(),
        mean,
        std,
        native_res: None,
    })
}

/// One split: paths and classes.
struct Folder {
    files: Vec<(PathBuf, u32)>,
}

impl Folder {
    /// Lists a split's pictures in order of class and name.
    fn list(split: &Path, classes: &[OsString]) -> Result<Self, Error> {
        let mut files = Vec::new();
        for (label, class) in (0..).zip(classes) {
            let folder = split.join(class);
            if !folder.is_dir() {
                continue;
            }
            let names: Vec<OsString> =
                visible(&folder)?.into_iter().filter(|name| is_picture(&folder.join(name))).collect();
            if names.is_empty() {
                let problem = format!("no pictures here ({}): add some, or remove the folder", ENDINGS.join(", "));
                return Err(Error::invalid(folder, problem));
            }
            files.extend(names.into_iter().map(|name| (folder.join(name), label)));
        }
        Ok(Self { files })
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, Error> {
        let (path, label) = &self.files[index];
        Ok(Sample { image: decode(path)?, label: *label })
    }
}

fn subfolder(directory: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = directory.join(name);
    if path.is_dir() {
        return Ok(path);
    }
    let problem = format!("no folder {name} here: put pictures in train/CLASS/ and val/CLASS/");
    Err(Error::invalid(directory, problem))
}

fn class_folders(split: &Path) -> Result<Vec<OsString>, Error> {
    Ok(visible(split)?.into_iter().filter(|name| split.join(name).is_dir()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    /// Writes small pictures at these places.
    fn tree(places: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, place) in places.iter().enumerate() {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let picture = RgbImage::from_pixel(3, 2, Rgb([number as u8, 0, 0]));
            picture.save_with_format(path, ImageFormat::Png).unwrap();
        }
        folder
    }

    fn message(folder: &tempfile::TempDir) -> String {
        open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn classes_and_pictures_are_sorted_and_other_files_ignored() {
        let folder = tree(&["train/dog/b.PNG", "train/dog/a.jpg", "train/cat/z.webp", "val/dog/only.Jpeg"]);
        for ignored in ["train/dog/.hidden.png", "train/dog/notes.txt", "train/.git/a.png", "train/readme.png"] {
            let path = folder.path().join(ignored);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "no picture").unwrap();
        }
        let data = open(folder.path()).unwrap();
        assert_eq!(data.classes, ["cat", "dog"]);
        let samples: Vec<Sample> = (0..data.train.len()).map(|i| data.train.sample(i).unwrap()).collect();
        let seen: Vec<(u8, u32)> = samples.iter().map(|s| (s.image.get_pixel(0, 0)[0], s.label)).collect();
        assert_eq!(seen, [(2, 0), (1, 1), (0, 1)]);
        assert_eq!((data.val.len(), data.val.sample(0).unwrap().label, data.native_res), (1, 1, None));
    }

    #[test]
    fn incomplete_folders_are_named_with_the_way_out() {
        let cases: [(&[&str], &str); 5] = [
            (&["val/a/1.png"], "no folder train here"),
            (&["train/a/1.png", "val/a/1.png"], "train: fewer than 2 folders of classes here"),
            (&["train/a/1.png", "train/b/1.png"], "no folder val here"),
            (&["train/a/1.png", "train/b/1.png", "val/1.png"], "val: no folders of classes here"),
            (&["train/a/1.png", "train/b/1.png", "val/c/1.png"], "val/c: is no class of the training pictures"),
        ];
        for (places, expected) in cases {
            let message = message(&tree(places));
            assert!(message.contains(expected), "{message}");
        }
        let folder = tree(&["train/a/1.png", "train/b/1.gif", "val/a/1.png"]);
        assert!(message(&folder).contains("train/b: no pictures here (jpg, jpeg, png, webp)"));
    }

    #[test]
    fn a_file_that_is_no_picture_is_named_when_asked_for() {
        let folder = tree(&["train/a/1.png", "train/b/1.png", "val/a/1.png"]);
        let path = folder.path().join("train/b/1.png");
        std::fs::write(&path, "no picture").unwrap();
        let error = open(folder.path()).unwrap().train.sample(1).err().unwrap();
        assert!(matches!(&error, Error::Picture { path: p, .. } if *p == path), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(decode(&path), Err(Error::Read { .. })));
    }
}
