//! Masks: PNG files whose pixels are class numbers.

use std::path::Path;

use image::GrayImage;

use super::values::{Values, read_values};
use super::{Error, IGNORED};

/// What form a mask should have.
const FORM: &str = "a PNG with a palette or 8-bit grey whose values are class numbers";

/// Reads a mask for `classes` classes, at most 255: each pixel has a class number below that, or [`IGNORED`]. The
/// colours of a palette are not looked at.
pub(super) fn read_mask(path: &Path, classes: usize) -> Result<GrayImage, Error> {
    let mask = read_labels(path)?;
    let odd = mask.enumerate_pixels().find(|(.., label)| label[0] != IGNORED && usize::from(label[0]) >= classes);
    match odd {
        None => Ok(mask),
        Some((x, y, label)) => {
            let problem = format!(
                "label {} at column {x}, row {y}: of {classes} classes the numbers are 0 to {}, and {IGNORED} where \
                 nothing counts. If the mask is painted in greys such as 0, 128, 255, replace them by class numbers",
                label[0],
                classes.saturating_sub(1)
            );
            Err(Error::invalid(path, problem))
        }
    }
}

/// Reads a mask whose labels may be any from 0 to 255.
pub(super) fn read_labels(path: &Path) -> Result<GrayImage, Error> {
    let Values { size: (width, height), numbers, .. } = read_values(path, "mask", FORM)?;
    if let Some(at) = numbers.iter().position(|&label| label > u16::from(IGNORED)) {
        let (x, y) = (at % width as usize, at / width as usize);
        let problem = format!("label {} at column {x}, row {y}: labels are 0 to {IGNORED}", numbers[at]);
        return Err(Error::invalid(path, problem));
    }
    let labels = numbers.into_iter().map(|label| label as u8).collect();
    GrayImage::from_raw(width, height, labels).ok_or_else(|| Error::invalid(path, "a PNG without all of its rows"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{DynamicImage, GrayAlphaImage, ImageFormat, RgbImage, RgbaImage};
    use png::{BitDepth, ColorType, Encoder};

    use super::*;

    /// Reads a mask for three classes from a file with these bytes.
    fn read(bytes: &[u8]) -> Result<GrayImage, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        std::fs::write(&path, bytes).unwrap();
        read_mask(&path, 3).map_err(|error| {
            let message = error.to_string();
            message.strip_prefix(&format!("{}: ", path.display())).expect("the file is named").to_owned()
        })
    }

    /// A PNG of packed rows.
    fn png(size: (u32, u32), colours: ColorType, depth: BitDepth, rows: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(colours);
        encoder.set_depth(depth);
        if colours == ColorType::Indexed {
            // VOC's colours. As in files of others, the palette is shorter than the labels.
            encoder.set_palette(vec![0, 0, 0, 128, 0, 0, 0, 128, 0]);
        }
        encoder.write_header().unwrap().write_image_data(rows).unwrap();
        bytes
    }

    #[test]
    fn indices_are_read_whatever_their_colours_and_depth() {
        let want = |labels: &[u8]| Ok(GrayImage::from_vec(5, 2, labels.to_vec()).unwrap());
        let few = [0, 1, 1, 0, 1, 1, 0, 0, 0, 1];
        let some = [0, 1, 2, 2, 1, 2, 0, 1, 0, 2];
        for colours in [ColorType::Indexed, ColorType::Grayscale] {
            let read = |depth, rows: &[u8]| read(&png((5, 2), colours, depth, rows));
            assert_eq!(read(BitDepth::One, &[0b0110_1000, 0b1000_1000]), want(&few));
            assert_eq!(read(BitDepth::Two, &[0b0001_1010, 0b0100_0000, 0b1000_0100, 0b1000_0000]), want(&some));
            assert_eq!(read(BitDepth::Four, &[0x01, 0x22, 0x10, 0x20, 0x10, 0x20]), want(&some));
            assert_eq!(read(BitDepth::Eight, &some), want(&some));
            let mut bordered = some;
            bordered[7] = IGNORED;
            assert_eq!(read(BitDepth::Eight, &bordered), want(&bordered));
        }
        let deep: Vec<u8> = some.iter().flat_map(|label| [0, *label]).collect();
        assert_eq!(read(&png((5, 2), ColorType::Grayscale, BitDepth::Sixteen, &deep)), want(&some));
    }

    #[test]
    fn odd_labels_are_named_with_their_place() {
        let painted = read(&png((2, 2), ColorType::Grayscale, BitDepth::Eight, &[0, 1, 2, 128])).unwrap_err();
        assert!(
            painted.starts_with("label 128 at column 1, row 1: of 3 classes the numbers are 0 to 2, and 255 "),
            "{painted}"
        );
        let one_more = read(&png((2, 1), ColorType::Indexed, BitDepth::Eight, &[2, 3])).unwrap_err();
        assert!(one_more.starts_with("label 3 at column 1, row 0"), "{one_more}");
        let deep = read(&png((1, 2), ColorType::Grayscale, BitDepth::Sixteen, &[0, 2, 1, 0])).unwrap_err();
        assert_eq!(deep, "label 256 at column 0, row 1: labels are 0 to 255");
    }

    #[test]
    fn other_pictures_are_refused_with_the_way_out() {
        let file = |picture: DynamicImage, format| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format).unwrap();
            bytes.into_inner()
        };
        let grey = GrayImage::new(3, 2);
        for (bytes, expected) in [
            (file(RgbImage::new(3, 2).into(), ImageFormat::Png), "a mask with colours, Rgb, where one number"),
            (file(RgbaImage::new(3, 2).into(), ImageFormat::Png), "a mask with colours, Rgba, where one number"),
            (file(GrayAlphaImage::new(3, 2).into(), ImageFormat::Png), "a mask with alpha besides its values"),
            (file(grey.into(), ImageFormat::Jpeg), "Jpeg in place of a mask: save it as a PNG with a palette or 8-bit"),
            (b"hello".to_vec(), "a text file in place of a mask, which is a PNG with a palette"),
        ] {
            let message = read(&bytes).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
        let whole = png((5, 2), ColorType::Indexed, BitDepth::Eight, &[0; 10]);
        let message = read(&whole[..whole.len() - 20]).unwrap_err();
        assert!(message.starts_with("a PNG that cannot be decoded: "), "{message}");
    }
}
