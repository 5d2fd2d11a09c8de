//! JPEG files: sequential and progressive, Huffman-coded, 8 bits a sample, of any sampling, in scans of any order.
//! Pixels equal those of libjpeg, with which data sets are prepared and other libraries train: the same transform,
//! upsampling and colours. A file that does not yield a whole picture is refused.
//!
//! The standard is ITU-T T.81.

mod huffman;
mod markers;
mod mjpeg;
mod pixels;
mod scan;
mod transform;

use image::RgbImage;

use markers::{Frame, Scan, Tables};
use mjpeg::MJPEG_TABLES;
use pixels::Painter;

/// The most visits of scans to a block, on average. A small malicious file with many scans could keep the decoder busy
/// for hours; ordinary files visit a block about ten times.
const MAX_VISITS: usize = 64;

const DAMAGED: &str = "a damaged JPEG";
const CUT_SHORT: &str = "cut short: a JPEG whose data end before the picture does";

/// What a JPEG's components mean. Inks are stored inverted, as Adobe's programs do: 255 is no ink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    /// CMYK whose first three components are coded as YCbCr.
    Ycck,
}

/// A JPEG that is read up to its first scan.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    /// Index of the next byte to read.
    at: usize,
    frame: Frame,
    tables: Tables,
    scan: Scan,
    pub colours: Colours,
    /// EXIF data without their head.
    pub exif: Option<&'a [u8]>,
    /// XMP data without their head.
    pub xmp: Option<&'a [u8]>,
}

/// The segments before a scan.
#[derive(Default)]
struct Heads<'a> {
    frame: Option<Frame>,
    jfif: bool,
    /// The colour transform that Adobe's marker names.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    xmp: Option<&'a [u8]>,
}

impl<'a> Jpeg<'a> {
    /// Reads up to the first scan.
    ///
    /// # Errors
    /// If the file is not a JPEG that can be decoded: what it is instead.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let (mut at, mut heads, mut tables) = (2, Heads::default(), Tables::new());
        let scan = heads.read(bytes, &mut at, &mut tables)?.ok_or(CUT_SHORT)?;
        let Heads { frame: Some(frame), jfif, adobe, exif, xmp } = heads else { return Err(DAMAGED.to_owned()) };
        // libjpeg's rules (default_decompress_parms).
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        let colours = match (ids.len(), adobe) {
            (1, _) => Colours::Grey,
            (3, Some(0)) if !jfif => Colours::Rgb,
            (3, None) if !jfif && ids == *b"RGB" => Colours::Rgb,
            (3, _) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Cmyk,
            _ => Colours::Ycck,
        };
        Ok(Self { bytes, at, frame, tables, scan, colours, exif, xmp })
    }

    /// Width and height in pixels, as stored.
    pub(super) fn size(&self) -> [u32; 2] {
        [self.frame.width as u32, self.frame.height as u32]
    }

    /// The memory that decoding takes, the picture included, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let way = self.frame.way(&self.scan);
        let parts = self.frame.components.iter().map(|component| component.memory_bytes(way));
        3 * self.frame.width as u64 * self.frame.height as u64 + parts.sum::<u64>()
    }

    /// Decodes the picture.
    ///
    /// # Errors
    /// If it is damaged or incomplete.
    pub(super) fn decode(mut self) -> Result<RgbImage, String> {
        // Each block takes at least one bit, so a small file cannot ask for much memory.
        if self.frame.blocks() / 8 > self.bytes.len() {
            return Err(CUT_SHORT.to_owned());
        }
        let mut painter = Painter::new(&self.frame, self.colours);
        let mut heads = Heads { frame: Some(self.frame), ..Heads::default() };
        let mut scan = Some(self.scan);
        let mut visits = 0;
        while let Some(next) = scan {
            let frame = heads.frame.as_mut().ok_or(DAMAGED)?;
            visits += next.components.iter().map(|(at, ..)| frame.components[*at].blocks()).sum::<usize>();
            if visits > MAX_VISITS * frame.blocks() {
                return Err(format!("a JPEG of more than {MAX_VISITS} scans of a block, which is not read"));
            }
            if !frame.progressive {
                self.tables.complete()?;
            }
            self.at = scan::decode((self.bytes, self.at), frame, &next, &self.tables, &mut painter)?;
            if frame.is_complete() {
                if frame.progressive {
                    painter.paint_from_coefficients(frame);
                }
                return Ok(painter.finish(frame));
            }
            scan = heads.read(self.bytes, &mut self.at, &mut self.tables)?;
        }
        Err("a JPEG that lacks a part: not all of its scans are there".to_owned())
    }
}

impl<'a> Heads<'a> {
    /// Reads up to the next scan; `None` if there is no further scan.
    fn read(&mut self, bytes: &'a [u8], at: &mut usize, tables: &mut Tables) -> Result<Option<Scan>, String> {
        while let Some(code) = markers::next(bytes, at) {
            // Markers without content.
            if matches!(code, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            if code == 0xD9 {
                break;
            }
            let content = markers::segment(bytes, at)?;
            match code {
                0xC0..=0xC2 => {
                    if self.frame.is_some() {
                        return Err("a damaged JPEG: it begins a second time".to_owned());
                    }
                    self.frame = Some(Frame::new(code == 0xC2, content)?);
                }
                0xC4 => tables.huffman(content)?,
                0xC3 => return Err("a lossless JPEG, which is not read".to_owned()),
                0xC5..=0xC7 | 0xCD..=0xCF => return Err("a hierarchical JPEG, which is not read".to_owned()),
                0xC9..=0xCC => return Err("an arithmetic-coded JPEG, which is not read".to_owned()),
                0xDA => return Ok(Some(Scan::new(self.frame.as_ref().ok_or(DAMAGED)?, content)?)),
                0xDB => tables.quantisation(content)?,
                0xDD => {
                    let interval = content.first_chunk().ok_or(DAMAGED)?;
                    tables.restart_interval = u16::from_be_bytes(*interval).into();
                }
                0xE0 if content.len() >= 14 && content.starts_with(b"JFIF\0") => self.jfif = true,
                0xE1 => {
                    self.exif = self.exif.or(content.strip_prefix(b"Exif\0\0"));
                    self.xmp = self.xmp.or(content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"));
                }
                0xEE if content.len() >= 12 && content.starts_with(b"Adobe") => self.adobe = Some(content[11]),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Runs code that the compiler vectorises, with the widest vectors of the processor.
#[inline(always)]
fn wide(work: impl FnOnce()) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2(work: impl FnOnce()) {
            work();
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor supports the features that the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { with_avx2(work) };
        }
    }
    work();
}
