//! Answers as files beside each other in a folder.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use png::{BitDepth, ColorType, Encoder, EncodingError};

use super::super::Error;
use super::answers::{Numbers, Shown, Wishes};
use crate::data::decode;
use crate::drawing::{self, overlay};
use crate::files;

/// A folder of drawings.
pub(super) struct Drawings {
    folder: PathBuf,
    /// Names of the pictures so far, without endings.
    names: HashSet<String>,
}

impl Drawings {
    /// Creates the folder.
    pub(super) fn new(folder: &Path) -> Result<Self, Error> {
        files::create_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), names: HashSet::new() })
    }

    /// Writes the drawing of an answer, `NAME.drawn.png` for the picture `NAME.jpg`, and its numbers, `NAME.mask.png`
    /// or `NAME.depth.png`. Returns the paths with their keys for a line of JSON.
    pub(super) fn write<A: Shown>(
        &mut self,
        picture: &Path,
        answer: &A,
        wishes: Wishes,
    ) -> Result<Vec<(&'static str, PathBuf)>, Error> {
        let name = self.name(picture);
        let drawn = drawing::png(&answer.drawn(decode(picture)?, wishes)?)?;
        let mut contents = vec![("drawn", drawn)];
        if let Some((key, numbers)) = answer.numbers() {
            contents.push((key, png(&numbers)?));
        }
        let mut written = Vec::new();
        for (key, bytes) in contents {
            let path = self.folder.join(format!("{name}.{key}.png"));
            files::write_atomic(&path, |file| file.write_all(&bytes))?;
            written.push((key, path));
        }
        Ok(written)
    }

    /// The picture's name without its ending, and a number if another picture has the same.
    fn name(&mut self, picture: &Path) -> String {
        let stem = picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let free = std::iter::once(stem.clone()).chain(numbered).find(|name| !self.names.contains(name));
        let name = free.unwrap_or(stem);
        self.names.insert(name.clone());
        name
    }
}

/// Numbers as a PNG: class numbers with VOC's palette, or 16 bits of grey.
fn png(numbers: &Numbers) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    match numbers {
        Numbers::Mask(mask) => {
            let mut encoder = Encoder::new(&mut bytes, mask.width(), mask.height());
            encoder.set_color(ColorType::Indexed);
            encoder.set_palette((0..=255).flat_map(|class| overlay::class_colour(class).0).collect::<Vec<u8>>());
            encoder.write_header()?.write_image_data(mask)?;
        }
        Numbers::Deep(width, height, numbers) => {
            let mut encoder = Encoder::new(&mut bytes, *width, *height);
            encoder.set_color(ColorType::Grayscale);
            encoder.set_depth(BitDepth::Sixteen);
            let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            encoder.write_header()?.write_image_data(&data)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_do_not_overwrite_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut drawings = Drawings::new(&folder.path().join("new")).unwrap();
        let names = ["a/x.jpg", "b/x.png", "x-2.jpg", "c/x.jpg", "y"].map(|path| drawings.name(path.as_ref()));
        assert_eq!(names, ["x", "x-2", "x-2-2", "x-3", "y"]);
    }
}
