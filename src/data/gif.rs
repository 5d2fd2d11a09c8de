//! GIF files: the first frame on its canvas, with the same colours as Pillow.

use gif::{ColorOutput, DecodeOptions, MemoryLimit};
use image::RgbImage;

use super::decode::{Facts, check_size};
use super::orientation::Notes;

/// Decodes the first picture.
///
/// # Errors
/// If it is damaged or too large.
pub(super) fn decode(bytes: &[u8]) -> Result<(RgbImage, Facts), String> {
    let damaged = |error: gif::DecodingError| format!("a damaged GIF: {error}");
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(damaged)?;
    let frame = decoder.next_frame_info().map_err(damaged)?.ok_or("a GIF without a picture")?.clone();
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (wide, high) = (u32::from(frame.width), u32::from(frame.height));
    // The canvas grows if the frame exceeds it.
    let width = u32::from(decoder.width()).max(left + wide);
    let height = u32::from(decoder.height()).max(top + high);
    let memory_bytes = u64::from(wide) * u64::from(high) + 3 * u64::from(width) * u64::from(height);
    check_size([width, height], 0, memory_bytes, &Notes::default(), bytes)?;
    let mut indices = vec![0; wide as usize * high as usize];
    decoder.read_into_buffer(&mut indices).map_err(damaged)?;

    // Without a palette an index is a grey value.
    let palette = frame.palette.as_deref().or(decoder.global_palette()).map(|palette| palette.as_chunks::<3>().0);
    let colour = |index: u8| match palette {
        Some(palette) => palette.get(usize::from(index)).copied().unwrap_or_default(),
        None => [index; 3],
    };
    let mut picture = RgbImage::from_pixel(width, height, colour(frame.transparent.unwrap_or(0)).into());
    for (y, row) in indices.chunks_exact(wide.max(1) as usize).enumerate() {
        for (x, index) in row.iter().enumerate() {
            picture.put_pixel(left + x as u32, top + y as u32, colour(*index).into());
        }
    }
    let grey = palette.is_none_or(|palette| palette.iter().all(|[r, g, b]| r == g && g == b));
    let alpha = frame.transparent.is_some();
    Ok((picture, Facts { format: "GIF", grey, cmyk: false, deep: false, alpha, turned: false }))
}
