//! Which way up a picture is, as its EXIF data or XMP say. Both are searched as Pillow's `ImageOps.exif_transpose` searches them.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::tiff::Directory;

/// The tag of TIFF and EXIF.
const TAG: u16 = 0x0112;
/// The longest profile that is inflated, in bytes; JPEG's EXIF data have at most 64 KiB.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// Notes that a file keeps beside its pixels.
#[derive(Default)]
pub(super) struct Notes<'a> {
    /// A TIFF header and what follows it.
    pub exif: Option<Cow<'a, [u8]>>,
    pub xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Notes<'a> {
    /// What a PNG holds of them, before or after its pixels.
    pub(super) fn of_png(png: &'a [u8]) -> Self {
        let (mut notes, mut raw) = (Self::default(), None);
        let mut rest = png.get(8..).unwrap_or_default();
        while let Some((content, after)) = chunk(rest, u32::from_be_bytes, 4) {
            match &rest[4..8] {
                b"eXIf" => notes.exif = Some(content.into()),
                b"iTXt" => notes.xmp = international(content, b"XML:com.adobe.xmp").or(notes.xmp),
                // So ImageMagick keeps them, in hexadecimal digits.
                b"zTXt" => {
                    raw = keyword(content, b"Raw profile type exif\0\0").and_then(inflated).map(Cow::Owned).or(raw)
                }
                b"tEXt" => raw = keyword(content, b"Raw profile type exif\0").map(Cow::Borrowed).or(raw),
                _ => {}
            }
            // Behind a chunk there is its checksum.
            rest = after.get(4..).unwrap_or_default();
        }
        notes.exif = notes.exif.or_else(|| Some(unhex(&raw?).into()));
        notes
    }

    /// What a WebP holds of them.
    pub(super) fn of_webp(webp: &'a [u8]) -> Self {
        let mut notes = Self::default();
        let mut rest = webp.get(12..).unwrap_or_default();
        while let Some((content, after)) = chunk(rest, u32::from_le_bytes, 0) {
            match &rest[..4] {
                b"EXIF" => notes.exif = Some(content.into()),
                b"XMP " => notes.xmp = Some(content.into()),
                _ => {}
            }
            rest = after.get(content.len() % 2..).unwrap_or_default();
        }
        notes
    }

    /// How the picture is to be turned. A damaged note does not spoil it.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().and_then(|exif| {
            let head = b"Exif\0\0";
            let exif = exif.strip_prefix(head).unwrap_or(exif);
            tiff(exif.strip_prefix(head).unwrap_or(exif))
        });
        let value = exif.or_else(|| xmp(self.xmp.as_deref()?));
        value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }
}

/// The content of the chunk at the start of `rest`, whose length stands before its kind or behind it, and what follows it.
fn chunk(rest: &[u8], length: fn([u8; 4]) -> u32, kind_at: usize) -> Option<(&[u8], &[u8])> {
    let length = length(*rest.get(4 - kind_at..)?.first_chunk()?);
    rest.get(8..)?.split_at_checked(length as usize)
}

fn keyword<'a>(content: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    content.strip_prefix(keyword)
}

/// The text of an iTXt chunk with that keyword.
fn international<'a>(content: &'a [u8], keyword: &[u8]) -> Option<Cow<'a, [u8]>> {
    let [0, compressed, 0, rest @ ..] = content.strip_prefix(keyword)? else { return None };
    // The language, the keyword in that language, the text.
    let text = rest.splitn(3, |byte| *byte == 0).nth(2)?;
    if *compressed == 0 { Some(text.into()) } else { inflated(text).map(Cow::Owned) }
}

fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(bytes).take(MAX_PROFILE_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The bytes of a raw profile: three lines of head, then hexadecimal digits.
fn unhex(profile: &[u8]) -> Vec<u8> {
    let digits = profile.splitn(4, |byte| *byte == b'\n').nth(3).unwrap_or_default();
    let digits: Vec<u8> = digits.iter().filter_map(|digit| char::from(*digit).to_digit(16)).map(|v| v as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The orientation that XMP name.
fn xmp(xmp: &[u8]) -> Option<u8> {
    (0..xmp.len()).find_map(|at| match xmp[at..].strip_prefix(b"tiff:Orientation")? {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(digit - b'0'),
        _ => None,
    })
}

/// The orientation that a TIFF file, or EXIF data, name; 0 for one that is none.
fn tiff(bytes: &[u8]) -> Option<u8> {
    let directory = Directory::new(bytes)?;
    match directory.values(TAG)[..] {
        [value, ..] if (1.0..=8.0).contains(&value) && value.fract() == 0.0 => Some(value as u8),
        _ => directory.has(TAG).then_some(0),
    }
}
