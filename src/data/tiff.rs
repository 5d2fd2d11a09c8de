//! TIFF files, and EXIF data, which have the same structure.

use image::{DynamicImage, ImageFormat, RgbImage};

use super::decode::{Facts, rgb, stored_by_image, upright};
use super::orientation::Notes;

/// Tags.
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const INTERPRETATION: u16 = 262;
const CHANNELS: u16 = 277;
const PALETTE: u16 = 320;
const EXTRA: u16 = 338;
const FORMAT: u16 = 339;
const XMP: u16 = 700;

/// Decodes the first picture.
///
/// # Errors
/// If it is damaged, too large, or of an unsupported kind.
pub(super) fn decode(bytes: &[u8]) -> Result<(RgbImage, Facts), String> {
    let directory = Directory::new(bytes).ok_or("a damaged TIFF")?;
    let first = |tag| directory.values(tag).first().map(|value| *value as u32);
    let described = |problem: String| {
        let [channels, bits, interpretation, compression] =
            [CHANNELS, BITS, INTERPRETATION, COMPRESSION].map(|tag| first(tag).unwrap_or(1));
        format!(
            "{problem} (channels: {channels}, bits each: {bits}, photometric interpretation: {interpretation}, \
             compression: {compression})"
        )
    };
    if first(FORMAT) == Some(3) {
        return Err(described("a TIFF of floating-point numbers, which is not read".to_owned()));
    }
    let indexed = first(INTERPRETATION) == Some(3);
    let notes = Notes { exif: Some(bytes.into()), xmp: directory.content(XMP).map(|(_, xmp)| xmp.into()) };
    let stored = match indexed {
        true => with_palette(bytes, &directory, &notes),
        false => stored_by_image(bytes, ImageFormat::Tiff, "TIFF", &notes),
    };
    let (mut picture, facts) = stored.map_err(described)?;
    if first(EXTRA) == Some(1) {
        divide_by_alpha(&mut picture);
    }
    Ok((upright(rgb(picture), &notes), facts))
}

/// A picture of indices into a palette. `image` does not read palettes and returns the indices as greys.
fn with_palette(bytes: &[u8], directory: &Directory, notes: &Notes) -> Result<(DynamicImage, Facts), String> {
    let place = directory.place_of_short(INTERPRETATION).filter(|_| directory.values(BITS) == [8.0]);
    let place = place.ok_or("a TIFF with a palette of other than 8 bits, which is not read")?;
    let mut bytes = bytes.to_vec();
    bytes[place..place + 2].copy_from_slice(if directory.little { &[1, 0] } else { &[0, 1] });
    let (picture, facts) = stored_by_image(&bytes, ImageFormat::Tiff, "TIFF", notes)?;
    // All reds, then all greens, then all blues, 16 bits each.
    let palette: Vec<u8> = directory.values(PALETTE).iter().map(|value| (*value / 256.0) as u8).collect();
    let [reds, greens, blues] = [0, 1, 2].map(|i| palette.get(i * 256..(i + 1) * 256));
    let (Some(reds), Some(greens), Some(blues)) = (reds, greens, blues) else {
        return Err("a damaged TIFF: its palette is not all there".to_owned());
    };
    let indices = picture.into_luma8();
    let coloured = indices.pixels().map(|index| usize::from(index.0[0])).flat_map(|i| [reds[i], greens[i], blues[i]]);
    let coloured = RgbImage::from_raw(indices.width(), indices.height(), coloured.collect()).unwrap_or_default();
    Ok((coloured.into(), Facts { grey: false, ..facts }))
}

/// Undoes the multiplication of colours by alpha.
fn divide_by_alpha(picture: &mut DynamicImage) {
    if let DynamicImage::ImageRgba8(picture) = picture {
        for pixel in picture.pixels_mut() {
            let [colours @ .., alpha] = &mut pixel.0;
            *colours = colours.map(|v| (255 * u32::from(v)).checked_div((*alpha).into()).unwrap_or(0).min(255) as u8);
        }
    }
}

/// A TIFF's first directory.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    little: bool,
    /// Bytes of an offset: 4, or 8 in a BigTIFF.
    wide: usize,
    /// Offset of its first entry.
    first: usize,
    count: usize,
}

impl<'a> Directory<'a> {
    /// The directory, if `bytes` are a TIFF.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let little = match bytes.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let mut directory = Self { bytes, little, wide: 4, first: 0, count: 0 };
        let (at, count_bytes) = match directory.number(2, 2)? {
            42 => (4, 2),
            43 => (8, 8),
            _ => return None,
        };
        directory.wide = at;
        let start = usize::try_from(directory.number(at, at)?).ok()?;
        directory.count = usize::try_from(directory.number(start, count_bytes)?).ok()?;
        directory.first = start.checked_add(count_bytes)?;
        Some(directory)
    }

    /// The unsigned number of up to 8 bytes at an offset.
    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        Some(self.number_of(self.bytes.get(at..at.checked_add(bytes)?)?))
    }

    fn number_of(&self, bytes: &[u8]) -> u64 {
        let longer = |number, byte: &u8| number << 8 | u64::from(*byte);
        if self.little { bytes.iter().rev().fold(0, longer) } else { bytes.iter().fold(0, longer) }
    }

    /// Offset of a tag's entry.
    fn entry(&self, tag: u16) -> Option<usize> {
        let mut entries = (0..self.count).map_while(|i| self.first.checked_add(i.checked_mul(4 + 2 * self.wide)?));
        entries.find(|at| self.number(*at, 2).is_none_or(|found| found == u64::from(tag)))
    }

    /// Whether there is an entry for a tag.
    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// Offset of an entry's value, if it is of 16-bit numbers.
    pub(super) fn place_of_short(&self, tag: u16) -> Option<usize> {
        let entry = self.entry(tag)?;
        (self.number(entry + 2, 2)? == 3).then_some(entry + 4 + self.wide)
    }

    /// The numbers of an entry of any numeric kind; empty for other kinds.
    pub(super) fn values(&self, tag: u16) -> Vec<f64> {
        let Some((kind, content)) = self.content(tag) else { return Vec::new() };
        let value = |bytes: &[u8]| {
            let number = |bytes| self.number_of(bytes);
            match kind {
                11 => f64::from(f32::from_bits(number(bytes) as u32)),
                12 => f64::from_bits(number(bytes)),
                5 | 10 => number(&bytes[..4]) as f64 / number(&bytes[4..]) as f64,
                _ => number(bytes) as f64,
            }
        };
        match kind {
            // Bytes, texts and undefined kinds are not numbers.
            1 | 2 | 7 => Vec::new(),
            _ => content.chunks_exact(size(kind).unwrap_or(1)).map(value).collect(),
        }
    }

    /// The kind of an entry and its content.
    pub(super) fn content(&self, tag: u16) -> Option<(u64, &'a [u8])> {
        let entry = self.entry(tag)?;
        let (kind, count) = (self.number(entry + 2, 2)?, self.number(entry + 4, self.wide)?);
        let length = size(kind)?.checked_mul(usize::try_from(count).ok()?)?;
        let mut at = entry + 4 + self.wide;
        if length > self.wide {
            at = usize::try_from(self.number(at, self.wide)?).ok()?;
        }
        Some((kind, self.bytes.get(at..at.checked_add(length)?)?))
    }
}

/// Size in bytes of a number of this kind.
fn size(kind: u64) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}
