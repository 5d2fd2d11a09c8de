//! The orientation of a picture by its EXIF data or XMP. Both are searched as Pillow's `ImageOps.exif_transpose` does.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::tiff::Directory;

/// The tag of TIFF and EXIF.
const TAG: u16 = 0x0112;
/// The most bytes that the profiles of a file may inflate to; a JPEG's EXIF data have at most 64 KiB.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// Metadata that a file keeps beside its pixels.
#[derive(Default)]
pub(super) struct Notes<'a> {
    /// A TIFF header and what follows it.
    pub exif: Option<Cow<'a, [u8]>>,
    pub xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Notes<'a> {
    /// Reads those of a PNG, before or after its pixels.
    pub(super) fn of_png(png: &'a [u8]) -> Self {
        let (mut notes, mut raw, mut room) = (Self::default(), None, MAX_PROFILE_BYTES);
        let mut rest = png.get(8..).unwrap_or_default();
        while let Some((content, after)) = chunk(rest, u32::from_be_bytes, 4) {
            match &rest[4..8] {
                b"eXIf" => notes.exif = Some(content.into()),
                b"iTXt" => notes.xmp = international(content, b"XML:com.adobe.xmp", &mut room).or(notes.xmp),
                // ImageMagick stores them this way, in hexadecimal digits.
                b"zTXt" => {
                    let profile = keyword(content, b"Raw profile type exif\0\0");
                    raw = profile.and_then(|profile| inflated(profile, &mut room)).map(Cow::Owned).or(raw);
                }
                b"tEXt" => raw = keyword(content, b"Raw profile type exif\0").map(Cow::Borrowed).or(raw),
                _ => {}
            }
            // A chunk is followed by its checksum.
            rest = after.get(4..).unwrap_or_default();
        }
        notes.exif = notes.exif.or_else(|| Some(unhex(&raw?).into()));
        notes
    }

    /// Reads those of a WebP.
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

    /// How to turn the picture. Damaged metadata counts as none.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().and_then(|exif| {
            let head = b"Exif\0\0";
            let exif = exif.strip_prefix(head).unwrap_or(exif);
            tiff(exif.strip_prefix(head).unwrap_or(exif))
        });
        let value = exif.or_else(|| xmp(self.xmp.as_deref()?));
        value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }

    /// Whether the picture is turned or mirrored.
    pub(super) fn turn(&self) -> bool {
        self.orientation() != Orientation::NoTransforms
    }

    /// Whether turning swaps width and height.
    pub(super) fn turns_sideways(&self) -> bool {
        use Orientation::*;
        matches!(self.orientation(), Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
    }
}

/// The content of the chunk at the start of `rest`, and the bytes after it. The chunk's length stands before or after
/// its kind.
fn chunk(rest: &[u8], length: fn([u8; 4]) -> u32, kind_at: usize) -> Option<(&[u8], &[u8])> {
    let length = length(*rest.get(4 - kind_at..)?.first_chunk()?);
    rest.get(8..)?.split_at_checked(length as usize)
}

fn keyword<'a>(content: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    content.strip_prefix(keyword)
}

/// The text of an iTXt chunk with that keyword.
fn international<'a>(content: &'a [u8], keyword: &[u8], room: &mut u64) -> Option<Cow<'a, [u8]>> {
    let [0, compressed, 0, rest @ ..] = content.strip_prefix(keyword)? else { return None };
    // The language, the keyword in that language, the text.
    let text = rest.splitn(3, |byte| *byte == 0).nth(2)?;
    if *compressed == 0 { Some(text.into()) } else { inflated(text, room).map(Cow::Owned) }
}

/// Inflates a note to at most `room` bytes, and subtracts its size from `room`: a file with many notes takes no longer
/// than one with a single note.
fn inflated(bytes: &[u8], room: &mut u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let result = ZlibDecoder::new(bytes).take(*room).read_to_end(&mut text);
    *room -= text.len() as u64;
    (result.is_ok() && !text.is_empty()).then_some(text)
}

/// The bytes of a raw profile: three lines of head, then hexadecimal digits.
fn unhex(profile: &[u8]) -> Vec<u8> {
    let digits = profile.splitn(4, |byte| *byte == b'\n').nth(3).unwrap_or_default();
    let digits: Vec<u8> = digits.iter().filter_map(|digit| char::from(*digit).to_digit(16)).map(|v| v as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// The orientation in XMP data.
fn xmp(xmp: &[u8]) -> Option<u8> {
    (0..xmp.len()).find_map(|at| match xmp[at..].strip_prefix(b"tiff:Orientation")? {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(digit - b'0'),
        _ => None,
    })
}

/// The orientation in a TIFF file or EXIF data; 0 for a value that is not an orientation.
fn tiff(bytes: &[u8]) -> Option<u8> {
    let directory = Directory::new(bytes)?;
    match directory.values(TAG)[..] {
        [value, ..] if (1.0..=8.0).contains(&value) && value.fract() == 0.0 => Some(value as u8),
        _ => directory.has(TAG).then_some(0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A TIFF of one entry: orientation, as `count` values of that kind.
    fn exif(kind: u8, count: u8, value: &[u8]) -> Vec<u8> {
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01".to_vec();
        exif.extend([kind, 0, count, 0, 0, 0]);
        match value.len() {
            0..=4 => exif.extend([value, &[0; 4][value.len()..]].concat()),
            _ => exif.extend([&[22, 0, 0, 0], value].concat()),
        }
        exif
    }

    fn of(exif: Vec<u8>, xmp: &[u8]) -> Orientation {
        Notes { exif: Some(exif.into()), xmp: Some(xmp.into()) }.orientation()
    }

    #[test]
    fn numbers_of_all_kinds_are_read() {
        let (turned, kept) = (Orientation::Rotate90, Orientation::NoTransforms);
        for (kind, value, want) in [
            (3, &[6, 0][..], turned),
            (4, &[6, 0, 0, 0], turned),
            (6, &[6], turned),
            (9, &[6, 0, 0, 0], turned),
            (11, &6f32.to_le_bytes(), turned),
            (12, &6f64.to_le_bytes(), turned),
            (5, &[12, 0, 0, 0, 2, 0, 0, 0], turned),
            (16, &[6, 0, 0, 0, 0, 0, 0, 0], turned),
            (1, &[6], kept),
            (2, b"6", kept),
            (11, &6.5f32.to_le_bytes(), kept),
            (3, &[9, 0], kept),
            (99, &[6, 0], kept),
        ] {
            assert_eq!(of(exif(kind, 1, value), b""), want, "kind {kind}, {value:?}");
        }
        let long = exif(4, 1, &[6, 0, 0, 0]);
        (0..long.len()).for_each(|length| assert_eq!(of(long[..length].to_vec(), b""), kept, "{length} bytes"));
    }

    #[test]
    fn xmp_count_where_exif_say_nothing() {
        let (turned, kept) = (Orientation::Rotate90, Orientation::NoTransforms);
        let xmp = b"<rdf:Description tiff:Orientation=\"6\"/>";
        assert_eq!(of(b"II*\0\x08\0\0\0\0\0".to_vec(), xmp), turned);
        assert_eq!(of(exif(3, 1, &[1, 0]), xmp), kept);
        assert_eq!(of(Vec::new(), b"<tiff:Orientation>6</tiff:Orientation>"), turned);
        assert_eq!(of(Vec::new(), b"tiff:Orientation='6'"), kept);
    }

    /// A chunk of a PNG or WebP; the checksum is not read.
    fn chunk(png: bool, kind: &[u8], content: &[u8]) -> Vec<u8> {
        let length = content.len() as u32;
        match png {
            true => [&length.to_be_bytes(), kind, content, &[0; 4]].concat(),
            false => [kind, &length.to_le_bytes(), content, &[0][..content.len() % 2]].concat(),
        }
    }

    /// A file of many notes would otherwise be inflated for minutes.
    #[test]
    fn no_more_is_inflated_than_a_long_note() {
        let note = |text: &[u8]| {
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            packed.write_all(text).unwrap();
            chunk(true, b"zTXt", &[b"Raw profile type exif\0\0", &*packed.finish().unwrap()].concat())
        };
        let turned = |kind: u8| {
            let digits: String = exif(3, 1, &[kind, 0]).iter().map(|byte| format!("{byte:02x}")).collect();
            note(format!("\nexif\n      26\n{digits}\n").as_bytes())
        };
        let long = note(&[b' '; MAX_PROFILE_BYTES as usize]);
        let orientation = |notes: [&[u8]; 3]| Notes::of_png(&[&[0; 8], &notes.concat()[..]].concat()).orientation();
        assert_eq!(orientation([&turned(3), &turned(6), b""]), Orientation::Rotate90, "the last one counts");
        assert_eq!(orientation([&turned(3), &long, &turned(6)]), Orientation::NoTransforms, "there was no more room");
    }

    #[test]
    fn notes_are_found_wherever_they_are() {
        let exif = exif(3, 1, &[6, 0]);
        let digits: String = exif.iter().map(|byte| format!("{byte:02x}")).collect();
        let raw = format!("Raw profile type exif\0\nexif\n      26\n{digits}\n");
        for content in [
            chunk(true, b"eXIf", &exif),
            chunk(true, b"tEXt", raw.as_bytes()),
            chunk(true, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"6\"/>"),
        ] {
            let pixels = chunk(true, b"IDAT", &[1, 2, 3]);
            for png in [[&[0; 8], &content[..], &pixels].concat(), [&[0; 8], &pixels[..], &content].concat()] {
                assert_eq!(Notes::of_png(&png).orientation(), Orientation::Rotate90);
            }
        }
        let pixels = chunk(false, b"VP8L", &[1, 2, 3]);
        let webp = [&[0; 12], &pixels[..], &chunk(false, b"EXIF", &exif)].concat();
        assert_eq!(Notes::of_webp(&webp).orientation(), Orientation::Rotate90);
    }
}
