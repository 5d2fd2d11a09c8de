//! Decoding picture files.

use std::cell::Cell;
use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel,
    RgbImage,
};

use super::jpeg::{Colours, Jpeg};
use super::orientation::Notes;
use super::{Error, content, gif, tiff};

/// The largest picture that is decoded, in pixels a side and in bytes as its file stores them (RGB: 3 a pixel).
const MAX_SIDE: u32 = 32_768;
pub(super) const MAX_BYTES: u64 = 512 << 20;
/// Decoding a picture may take this much memory, plus a multiple of the size of its file. So decompression bombs are
/// refused and photographs are not. The file itself counts, and so does [`SMALL_BYTES`].
const FREE_MEMORY_BYTES: u64 = 256 << 20;
const MEMORY_PER_FILE: u64 = 20;
/// Rows, tables and colour profiles, which a decoder keeps for pictures of any size.
const SMALL_BYTES: u64 = 8 << 20;

/// Decodes a picture file to 8-bit RGB: JPEG, PNG, WebP, GIF, BMP or TIFF, whatever the file's name. Only the first
/// picture of an animation is decoded. The picture is turned upright as its EXIF data or XMP say, and alpha is dropped.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read; [`Error::Picture`] if it is not such a picture, is damaged, has more
/// than 32,768 pixels a side, takes more than 512 MiB decoded, or needs more memory to decode than 256 MiB plus 20
/// times the size of its file.
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

/// What a picture file held before the conversion to 8-bit RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The format's name.
    pub format: &'static str,
    /// Whether it is greyscale.
    pub grey: bool,
    /// Whether it is CMYK.
    pub cmyk: bool,
    /// Whether it has more than 8 bits a channel.
    pub deep: bool,
    /// Whether it has an alpha channel, or one colour that is transparent.
    pub alpha: bool,
    /// Whether its EXIF data or XMP turn or mirror it.
    pub turned: bool,
}

/// As [`decode`], for the content of a file.
pub(crate) fn decode_bytes(bytes: &[u8]) -> Result<RgbImage, String> {
    Ok(decode_bytes_with_facts(bytes)?.0)
}

/// As [`decode_bytes`], and also returns what the file held.
pub(crate) fn decode_bytes_with_facts(bytes: &[u8]) -> Result<(RgbImage, Facts), String> {
    let format = match bytes {
        // BigTIFF, which `image` decodes but does not recognise.
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
    let notes = Notes { exif: jpeg.exif.map(Into::into), xmp: jpeg.xmp.map(Into::into) };
    let facts = Facts {
        format: "JPEG",
        grey: jpeg.colours == Colours::Grey,
        cmyk: matches!(jpeg.colours, Colours::Cmyk | Colours::Ycck),
        deep: false,
        alpha: false,
        turned: notes.turn(),
    };
    check_size(jpeg.size(), 0, jpeg.memory_bytes(), &notes, bytes)?;
    Ok((upright(jpeg.decode()?, &notes), facts))
}

/// Decodes a file with the crate `image`.
fn decode_with_image(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    notes: &Notes,
) -> Result<(RgbImage, Facts), String> {
    let (picture, facts) = stored_by_image(bytes, format, name, notes)?;
    Ok((upright(rgb(picture), notes), facts))
}

/// The picture as stored (not turned), for files that `image` decodes.
pub(super) fn stored_by_image(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    notes: &Notes,
) -> Result<(DynamicImage, Facts), String> {
    let damaged = |error: image::ImageError| format!("a {name} that cannot be decoded: {error}");
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // A decoder gets little memory until the size is checked.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(SMALL_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (size, stored_bytes) = (decoder.dimensions(), decoder.total_bytes());
    let pixels = u64::from(size.0) * u64::from(size.1);
    let memory_bytes = match format {
        ImageFormat::WebP => stored_bytes + webp_working_bytes(bytes, pixels, stored_bytes == 4 * pixels),
        // The picture twice, and the memory to decompress a strip, which may be the whole picture.
        ImageFormat::Tiff => 4 * stored_bytes + bytes.len() as u64,
        _ => stored_bytes,
    };
    let colours = decoder.color_type();
    let conversion_bytes = if colours == ColorType::Rgb8 { 0 } else { stored_bytes + 3 * pixels };
    check_size(size.into(), stored_bytes, memory_bytes.max(conversion_bytes), notes, bytes)?;
    limits.max_alloc = Some(memory_bytes + SMALL_BYTES);
    decoder.set_limits(limits).map_err(damaged)?;
    let facts = Facts {
        format: name,
        grey: !colours.has_color(),
        cmyk: matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16),
        deep: colours.bytes_per_pixel() > colours.channel_count(),
        alpha: colours.has_alpha(),
        turned: notes.turn(),
    };
    Ok((DynamicImage::from_decoder(decoder).map_err(damaged)?, facts))
}

/// Bytes that the WebP decoder takes besides those of the picture; `alpha` says whether the picture has an alpha
/// channel.
fn webp_working_bytes(webp: &[u8], pixels: u64, alpha: bool) -> u64 {
    const ANIMATED_OR_ALPHA: u8 = 0x12;
    let side = |low: u8, high: u8| u64::from(u16::from_le_bytes([low, high]) & 0x3FFF).next_multiple_of(16);
    // The decoder allocates lossy pixels by the size in their own header before it compares that size with the
    // picture's, and it ignores the name of their chunk.
    let lossy = webp.windows(7).filter_map(|head| match head {
        [0x9D, 0x01, 0x2A, w0, w1, h0, h1] => Some(side(*w0, *w1) * side(*h0, *h1)),
        _ => None,
    });
    // Samples in 4:2:0 take 1.5 bytes a pixel, and the data of each 16 x 16 macroblock up to a third of a byte more.
    let lossy_bytes = 2 * lossy.max().unwrap_or(0);
    match webp.get(12..16) {
        Some(b"VP8 ") => lossy_bytes,
        // Either a canvas and the picture on it, or alpha (in four channels at first) and the lossy pixels.
        Some(b"VP8X") if webp.get(20).is_some_and(|flags| flags & ANIMATED_OR_ALPHA != 0) => 8 * pixels + lossy_bytes,
        // Lossless pixels are decoded as four channels: in place if the picture has four.
        _ if alpha => lossy_bytes,
        _ => 4 * pixels + lossy_bytes,
    }
}

/// Takes the upper 8 of 16 bits, as Pillow does; drops alpha.
pub(super) fn rgb(picture: DynamicImage) -> RgbImage {
    fn upper<P: Pixel<Subpixel = u16>>(deep: &ImageBuffer<P, Vec<u16>>) -> RgbImage {
        let mut picture = RgbImage::new(deep.width(), deep.height());
        for (pixel, deep) in picture.pixels_mut().zip(deep.pixels()) {
            pixel.0 = deep.to_rgb().0.map(|v| (v >> 8) as u8);
        }
        picture
    }
    match picture {
        DynamicImage::ImageLuma16(deep) => upper(&deep),
        DynamicImage::ImageLumaA16(deep) => upper(&deep),
        DynamicImage::ImageRgb16(deep) => upper(&deep),
        DynamicImage::ImageRgba16(deep) => upper(&deep),
        picture => picture.into_rgb8(),
    }
}

/// Turns the picture upright as its notes say.
pub(super) fn upright(picture: RgbImage, notes: &Notes) -> RgbImage {
    let mut picture = DynamicImage::from(picture);
    picture.apply_orientation(notes.orientation());
    picture.into_rgb8()
}

/// Refuses a picture that is too large, as stored or as RGB, or needs too much memory for the size of its file:
/// `memory_bytes` while it is decoded, and twice its RGB size if it has to be turned.
pub(super) fn check_size(
    [width, height]: [u32; 2],
    stored_bytes: u64,
    memory_bytes: u64,
    notes: &Notes,
    file: &[u8],
) -> Result<(), String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let rgb_bytes = 3 * u64::from(width) * u64::from(height);
    let bytes = stored_bytes.max(rgb_bytes);
    if width.max(height) > MAX_SIDE || bytes > MAX_BYTES {
        let (size, limit) = (bytes >> 20, MAX_BYTES >> 20);
        return Err(format!(
            "{width} x {height} pixels, {size} MiB decoded; at most {MAX_SIDE} a side and {limit} MiB are"
        ));
    }
    let file_bytes = file.len() as u64;
    let final_bytes = if notes.turns_sideways() { 2 * rgb_bytes } else { rgb_bytes };
    let memory_bytes = file_bytes + SMALL_BYTES + memory_bytes.max(final_bytes);
    let most_bytes = FREE_MEMORY_BYTES + MEMORY_PER_FILE * file_bytes;
    if memory_bytes > most_bytes {
        return Err(format!(
            "{width} x {height} pixels take {} MiB of memory to decode, and a file of {file_bytes} bytes may take \
             {} MiB ({} MiB and {MEMORY_PER_FILE} times its size): save the picture smaller",
            mib(memory_bytes),
            most_bytes >> 20,
            FREE_MEMORY_BYTES >> 20,
        ));
    }
    Ok(())
}

/// A damaged file may make a decoder panic. The panic becomes an error and prints nothing to the terminal.
pub(super) fn without_panics<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
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
