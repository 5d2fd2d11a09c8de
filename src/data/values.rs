//! PNG files whose pixels are numbers: the class numbers of masks, the millimetres of depths.

use std::io::Cursor;
use std::path::Path;

use image::ImageFormat;
use png::{BitDepth, ColorType, Decoder};

use super::decode::{check_size, read, without_panics};
use super::orientation::Notes;
use super::{Error, content};

/// A PNG's numbers as stored, row by row: a palette is not looked up, and few bits are not stretched to 8.
pub(super) struct Values {
    /// Width and height.
    pub(super) size: (u32, u32),
    /// Whether the numbers have 16 bits.
    pub(super) deep: bool,
    pub(super) numbers: Vec<u16>,
}

/// Reads a PNG of one number a pixel. `thing` names it in messages, and `form` says what form it should have.
pub(super) fn read_values(path: &Path, thing: &str, form: &str) -> Result<Values, Error> {
    let bytes = read(path)?;
    without_panics(|| decode(&bytes, thing, form)).map_err(|problem| Error::invalid(path, problem))
}

fn decode(bytes: &[u8], thing: &str, form: &str) -> Result<Values, String> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => {}
        Ok(other) => return Err(format!("{other:?} in place of a {thing}: save it as {form}")),
        Err(_) => return Err(format!("{} in place of a {thing}, which is {form}", content::name(bytes))),
    }
    let damaged = |error: png::DecodingError| format!("a PNG that cannot be decoded: {error}");
    // The decoder's default leaves all numbers as they are stored.
    let mut reader = Decoder::new(Cursor::new(bytes)).read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let (colours, depth) = reader.output_color_type();
    if !matches!(colours, ColorType::Grayscale | ColorType::Indexed) {
        let has = if colours == ColorType::GrayscaleAlpha { "alpha besides its values" } else { "colours" };
        return Err(format!(
            "a {thing} with {has}, {colours:?}, where one number a pixel is needed: save it as {form}"
        ));
    }
    let stored_bytes = reader.output_buffer_size().ok_or("too large for this machine's memory")?;
    let pixels = u64::from(width) * u64::from(height);
    check_size([width, height], stored_bytes as u64, stored_bytes as u64 + 2 * pixels, &Notes::default(), bytes)?;
    let mut stored = vec![0; stored_bytes];
    let frame = reader.next_frame(&mut stored).map_err(damaged)?;
    let rows = stored.chunks_exact(frame.line_size.max(1)).take(height as usize);
    let numbers = rows.flat_map(|row| numbers(row, depth).take(width as usize)).collect();
    Ok(Values { size: (width, height), deep: depth == BitDepth::Sixteen, numbers })
}

/// The numbers of a row, and of the padding at its end.
fn numbers(row: &[u8], depth: BitDepth) -> impl Iterator<Item = u16> {
    let bits = depth as usize;
    let number = move |at: usize| match bits {
        16 => u16::from_be_bytes([row[2 * at], row[2 * at + 1]]),
        // The first of a byte's numbers has its highest bits.
        _ => {
            let first = at * bits;
            u16::from((row[first / 8] >> (8 - bits - first % 8)) & (0xFF_u8 >> (8 - bits)))
        }
    };
    (0..8 * row.len() / bits).map(number)
}
