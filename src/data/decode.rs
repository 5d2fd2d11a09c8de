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
/// A picture larger than this has a file of a thousandth of its size at least. Photographs are compressed to a
/// hundredth at best; a page of text in fax coding may reach a thousandth, and stays below this.
const FREE_BYTES: u64 = 128 << 20;
const MAX_RATIO: u64 = 1000;

/// Decodes a picture file, whatever its name, to 8-bit RGB: JPEG, PNG, WebP, GIF, BMP or TIFF, of moving ones the first
/// picture; upright as its EXIF data or XMP say, alpha left out.
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

/// What is damaged may make a decoder panic. That ends no more than its own reading, and leaves no trace on the
/// terminal.
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
mod tests;
