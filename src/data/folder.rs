//! `folder:DIR`: `DIR/train/CLASS/*.jpg` and `DIR/val/CLASS/*.jpg`, decoded when asked for; also PNG and WebP.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::{Dataset, Error, IMAGENET_MEAN_STD, Sample, Source};

/// Endings of files that count as pictures, in any case.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// The largest picture that is decoded, in pixels a side and in bytes as its file stores them (RGB: 3 a pixel).
const MAX_SIDE: u32 = 32_768;
const MAX_BYTES: u64 = 512 << 20;

/// Opens a folder of folders. Classes are the folders under `train`, sorted by name; `val` may lack some of them.
pub(super) fn open(directory: &Path) -> Result<Dataset, Error> {
    let train = subfolder(directory, "train")?;
    let classes = class_folders(&train)?;
    if classes.len() < 2 {
        let problem = format!("{} folders of classes here, at least 2 are needed: put pictures in train/CLASS/", classes.len());
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
            let names: Vec<OsString> = visible(&folder)?.into_iter().filter(|name| is_picture(&folder.join(name))).collect();
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

/// Names in a folder, sorted; hidden ones left out.
fn visible(folder: &Path) -> Result<Vec<OsString>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::read(folder))?;
    let names = entries.map(|entry| entry.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>();
    let mut names = names.map_err(Error::read(folder))?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    Ok(names)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) && path.is_file()
}

/// Decodes a JPEG, PNG or WebP file, whatever its name, to 8-bit RGB: upright as its EXIF says, alpha left out.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Picture`] if it is no such picture, is damaged, has more than
/// 32,768 pixels a side or takes more than 512 MiB decoded.
pub fn decode(path: &Path) -> Result<RgbImage, Error> {
    let unusable = |problem: String| Error::Picture { path: path.to_owned(), problem };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::read(path))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unusable(format!("its file is larger than {} MiB", MAX_BYTES >> 20)));
    }
    decode_bytes(&bytes).map_err(unusable)
}

fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        return Err("neither JPEG nor PNG nor WebP by its content".to_owned());
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE || decoder.total_bytes() > MAX_BYTES {
        let (size, limit) = (decoder.total_bytes() >> 20, MAX_BYTES >> 20);
        return Err(format!(
            "{width} x {height} pixels, {size} MiB decoded; at most {MAX_SIDE} a side and {limit} MiB are"
        ));
    }
    // A damaged note on orientation does not spoil the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}
