//! Picture files.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::Error;

/// The largest picture that is decoded, in pixels a side and in bytes as its file stores them (RGB: 3 a pixel).
const MAX_SIDE: u32 = 32_768;
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// Decodes a JPEG, PNG or WebP file, whatever its name, to 8-bit RGB: upright as its EXIF says, alpha left out.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Picture`] if it is no such picture, is damaged, has more than
/// 32,768 pixels a side or takes more than 512 MiB decoded.
pub fn decode(path: &Path) -> Result<RgbImage, Error> {
    let unusable = |problem: String| Error::Picture { path: path.to_owned(), problem };
    let bytes = read(path)?;
    // What is damaged may make a decoder panic, and must not end more than its own reading.
    let decoded = catch_unwind(|| decode_bytes(&bytes)).unwrap_or_else(|_| Err("its decoder fails on it".to_owned()));
    decoded.map_err(unusable)
}

/// The bytes of a picture's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::read(path))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let problem = format!("its file is larger than {} MiB", MAX_BYTES >> 20);
        return Err(Error::Picture { path: path.to_owned(), problem });
    }
    Ok(bytes)
}

pub(super) fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    match reader.format() {
        None => return Err("neither JPEG nor PNG nor WebP by its content".to_owned()),
        Some(ImageFormat::Jpeg) if is_cut_short(bytes) => return Err("cut short: a JPEG without an end".to_owned()),
        Some(_) => {}
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

/// Whether a JPEG's scans break off. The decoder would fill what is missing with grey and say nothing.
fn is_cut_short(jpeg: &[u8]) -> bool {
    let mut at = 2;
    // Past the segments before the first scan (FF, kind, length): a thumbnail in one of them has an end of its own.
    while let Some(&[0xFF, 0x00..=0xD9 | 0xDB..=0xFE, high, low]) = jpeg.get(at..at + 4) {
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    !jpeg.get(at..).unwrap_or_default().windows(2).rev().any(|pair| pair == [0xFF, 0xD9])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, Rgba};

    use super::*;

    fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb() {
        let first = |picture: DynamicImage, format| decode_bytes(&encoded(picture, format)).unwrap().get_pixel(0, 0).0;
        let (png, webp) = (ImageFormat::Png, ImageFormat::WebP);
        assert_eq!(first(ImageBuffer::from_pixel(1, 1, Luma([70u8])).into(), png), [70; 3]);
        assert_eq!(first(ImageBuffer::from_pixel(1, 1, LumaA([70u8, 9])).into(), png), [70; 3]);
        assert_eq!(first(ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 4])).into(), png), [1, 2, 3]);
        assert_eq!(first(ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 255])).into(), webp), [1, 2, 3]);
        // 16 bits: 257 times the value of 8.
        assert_eq!(first(ImageBuffer::from_pixel(1, 1, Rgb([257u16, 514, 65_535])).into(), png), [1, 2, 255]);
        // JPEG keeps a grey of one pixel to within its rounding.
        let grey = first(ImageBuffer::from_pixel(1, 1, Luma([70u8])).into(), ImageFormat::Jpeg);
        assert!(grey.iter().all(|v| v.abs_diff(70) <= 1), "{grey:?}");
    }

    #[test]
    fn exif_turns_the_picture_upright() {
        // A little-endian TIFF header and one entry: orientation (0x0112), a short, once, 6: turn a quarter clockwise.
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let picture = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 0 } else { 255 }; 3]));
        let jpeg = |exif: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
            encoder.set_exif_metadata(exif.to_vec()).unwrap();
            encoder.write_image(&picture, 16, 8, ExtendedColorType::Rgb8).unwrap();
            decode_bytes(&bytes).unwrap()
        };
        let upright = jpeg(&exif);
        assert_eq!(upright.dimensions(), (8, 16));
        assert!(upright.get_pixel(0, 0)[0] < 10 && upright.get_pixel(0, 15)[0] > 245);
        exif[18] = 99;
        assert_eq!(jpeg(&exif).dimensions(), (16, 8), "an orientation that does not exist");
    }

    /// A PNG of one chunk that promises a size and holds no pixels.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        chunk.extend([8, 2, 0, 0, 0]);
        let mut checksum = flate2::Crc::new();
        checksum.update(&chunk);
        let data = [0, 0, 0, 1, b'I', b'D', b'A', b'T', 0];
        [&b"\x89PNG\r\n\x1a\n\0\0\0\x0D"[..], &chunk, &checksum.sum().to_be_bytes(), &data].concat()
    }

    #[test]
    fn huge_pictures_are_refused_by_size() {
        let message = |width, height| decode_bytes(&png_header(width, height)).unwrap_err();
        let limit = "at most 32768 a side and 512 MiB are";
        assert_eq!(message(20_000, 20_000), format!("20000 x 20000 pixels, 1144 MiB decoded; {limit}"));
        assert_eq!(message(40_000, 1), format!("40000 x 1 pixels, 0 MiB decoded; {limit}"));
        assert!(!message(10, 10).contains(limit));
    }

    #[test]
    fn damaged_pictures_are_errors() {
        let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x * 37) as u8, (y * 91) as u8]));
        for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
            let bytes = encoded(picture.clone(), format);
            for length in [0, 1, 3, 8, 30, bytes.len() / 2, bytes.len() - 20] {
                assert!(decode_bytes(&bytes[..length]).is_err(), "{format:?}, {length} of {} bytes", bytes.len());
            }
        }
        // A thumbnail's end is not the picture's, and what follows the picture's end does no harm.
        let whole = encoded(picture, ImageFormat::Jpeg);
        let with_thumbnail = [&whole[..2], &[0xFF, 0xE1, 0, 4, 0xFF, 0xD9], &whole[2..]].concat();
        assert!(decode_bytes(&with_thumbnail[..whole.len() / 2]).is_err());
        assert!(decode_bytes(&[&with_thumbnail[..], &[0; 9]].concat()).is_ok());
    }
}
