//! Picture files.

use std::cell::Cell;
use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::jpeg::{Colours, Jpeg};
use super::orientation::Notes;
use super::{Error, content, gif, tiff};

/// The largest picture that is decoded, in pixels a side and in bytes as its file stores them (RGB: 3 a pixel).
const MAX_SIDE: u32 = 32_768;
pub(super) const MAX_BYTES: u64 = 512 << 20;
/// A picture larger than this has a file of a thousandth of its size at least. Photographs are compressed to a hundredth at best; a page of
/// text in fax coding may reach a thousandth, and stays below this.
const FREE_BYTES: u64 = 128 << 20;
const MAX_RATIO: u64 = 1000;

/// Decodes a picture file, whatever its name, to 8-bit RGB: JPEG, PNG, WebP, GIF, BMP or TIFF, of moving ones the first picture; upright
/// as its EXIF data or XMP say, alpha left out.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Picture`] if it is no such picture, is damaged, has more than
/// 32,768 pixels a side or takes more than 512 MiB decoded.
pub fn decode(path: &Path) -> Result<RgbImage, Error> {
    let unusable = |problem: String| Error::Picture { path: path.to_owned(), problem };
    decode_bytes(&read(path)?).map_err(unusable)
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

/// What a picture file held before it became RGB of 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The format's name.
    pub format: &'static str,
    /// It has brightness and no colours.
    pub grey: bool,
    /// It has four inks.
    pub cmyk: bool,
    /// It has more than 8 bits a channel.
    pub deep: bool,
    /// It has an alpha channel, or one colour that is transparent.
    pub alpha: bool,
}

/// As [`decode`], of a file's content.
pub(crate) fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, String> {
    Ok(decode_bytes_with_facts(bytes)?.0)
}

/// As [`decode_bytes`], with what the file held.
pub(crate) fn decode_bytes_with_facts(bytes: &[u8]) -> Result<(RgbImage, Facts), String> {
    let format = match bytes {
        // BigTIFF, which `image` decodes and does not recognise.
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => Some(ImageFormat::Tiff),
        _ => image::guess_format(bytes).ok(),
    };
    without_panics(|| match format {
        Some(ImageFormat::Jpeg) => decode_jpeg(bytes),
        Some(ImageFormat::Gif) => gif::decode(bytes),
        Some(ImageFormat::Png) => decode_with_image(bytes, ImageFormat::Png, "PNG", &Notes::of_png(bytes)),
        Some(ImageFormat::WebP) => decode_with_image(bytes, ImageFormat::WebP, "WebP", &Notes::of_webp(bytes)),
        Some(ImageFormat::Bmp) => decode_with_image(bytes, ImageFormat::Bmp, "BMP", &Notes::default()),
        Some(ImageFormat::Tiff) => tiff::decode(bytes),
        _ => Err(content::name(bytes)),
    })
}

fn decode_jpeg(bytes: &[u8]) -> Result<(RgbImage, Facts), String> {
    let jpeg = Jpeg::new(bytes)?;
    let facts = Facts {
        format: "JPEG",
        grey: jpeg.colours == Colours::Grey,
        cmyk: matches!(jpeg.colours, Colours::Cmyk | Colours::Ycck),
        deep: false,
        alpha: false,
    };
    check_size(jpeg.size(), 0, bytes)?;
    let notes = Notes { exif: jpeg.exif.map(Into::into), xmp: jpeg.xmp.map(Into::into) };
    let mut picture = DynamicImage::from(jpeg.decode()?);
    picture.apply_orientation(notes.orientation());
    Ok((picture.into_rgb8(), facts))
}

/// Decodes a file by `image`.
fn decode_with_image(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    notes: &Notes,
) -> Result<(RgbImage, Facts), String> {
    let (mut picture, facts) = stored_by_image(bytes, format, name)?;
    picture.apply_orientation(notes.orientation());
    Ok((rgb(picture), facts))
}

/// The picture as it is stored, in a file that `image` decodes.
pub(super) fn stored_by_image(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<(DynamicImage, Facts), String> {
    let damaged = |error: image::ImageError| format!("a {name} that cannot be decoded: {error}");
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    check_size(decoder.dimensions().into(), decoder.total_bytes(), bytes)?;
    let (colours, stored) = (decoder.color_type(), decoder.original_color_type());
    let facts = Facts {
        format: name,
        grey: !colours.has_color(),
        cmyk: matches!(stored, ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16),
        deep: colours.bytes_per_pixel() > colours.channel_count(),
        alpha: colours.has_alpha(),
    };
    Ok((DynamicImage::from_decoder(decoder).map_err(damaged)?, facts))
}

/// Of 16 bits the upper 8, as Pillow takes them; alpha left out.
pub(super) fn rgb(picture: DynamicImage) -> RgbImage {
    match picture.color().bytes_per_pixel() / picture.color().channel_count() {
        1 => picture.into_rgb8(),
        _ => {
            let deep = picture.into_rgb16();
            let pixels = deep.pixels().flat_map(|pixel| pixel.0.map(|v| (v >> 8) as u8)).collect();
            RgbImage::from_raw(deep.width(), deep.height(), pixels).unwrap_or_default()
        }
    }
}

/// Refuses a picture that is too large, as it is decoded or as RGB, or larger than such a file plausibly holds.
pub(super) fn check_size([width, height]: [u32; 2], decoded_bytes: u64, file: &[u8]) -> Result<(), String> {
    let bytes = decoded_bytes.max(3 * u64::from(width) * u64::from(height));
    let size = bytes >> 20;
    if width.max(height) > MAX_SIDE || bytes > MAX_BYTES {
        let limit = MAX_BYTES >> 20;
        return Err(format!(
            "{width} x {height} pixels, {size} MiB decoded; at most {MAX_SIDE} a side and {limit} MiB are"
        ));
    }
    let file_bytes = file.len() as u64;
    if bytes > FREE_BYTES && bytes / MAX_RATIO > file_bytes {
        return Err(format!(
            "{width} x {height} pixels, {size} MiB decoded, out of a file of {file_bytes} bytes: no photograph is so small"
        ));
    }
    Ok(())
}

/// What is damaged may make a decoder panic. That ends no more than its own reading, and leaves no trace on the terminal.
fn without_panics<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    thread_local! {
        static DECODING: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !DECODING.get() {
                before(panic);
            }
        }));
    });
    DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    DECODING.set(false);
    result.unwrap_or_else(|_| Err("damaged: its decoder fails on it".to_owned()))
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
