//! Memory for decoding a picture: at most 256 MiB plus 20 times the file's size, or the picture is refused.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// EXIF data that turn a picture by a quarter: a little-endian TIFF of one entry, the orientation.
const QUARTER_TURN: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

/// A black picture as a file of this format.
fn encoded(format: ImageFormat, colours: ExtendedColorType, side: u32, turned: bool) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let pixels = vec![0; usize::from(colours.bits_per_pixel() / 8) * (side * side) as usize];
    let exif = if turned { QUARTER_TURN.to_vec() } else { Vec::new() };
    match format {
        ImageFormat::Jpeg => {
            let mut encoder = JpegEncoder::new(&mut file);
            encoder.set_exif_metadata(exif).unwrap();
            encoder.write_image(&pixels, side, side, colours)
        }
        ImageFormat::Png => PngEncoder::new(&mut file).write_image(&pixels, side, side, colours),
        ImageFormat::WebP => WebPEncoder::new_lossless(&mut file).write_image(&pixels, side, side, colours),
        _ => TiffEncoder::new(&mut file).write_image(&pixels, side, side, colours),
    }
    .unwrap();
    file.into_inner()
}

/// A WebP of one pixel that contains lossy pixels whose own header announces 16,383 x 16,383.
fn webp_of_two_sizes() -> Vec<u8> {
    let chunk = |name: &[u8; 4], content: &[u8]| [name, &(content.len() as u32).to_le_bytes()[..], content].concat();
    let lossy = [&[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F][..], &[0; 30]].concat();
    let chunks = [&b"WEBP"[..], &chunk(b"VP8X", &[0; 10]), &chunk(b"VP8 ", &lossy)].concat();
    chunk(b"RIFF", &chunks)
}

#[test]
fn decoding_takes_little_memory_or_is_refused() {
    use ExtendedColorType::{L8, Rgb8, Rgb16, Rgba16};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    for (name, file, side) in [
        ("a JPEG of 25 megapixels", encoded(ImageFormat::Jpeg, L8, 5_000, true), Some(5_000)),
        ("a JPEG of 48 megapixels", encoded(ImageFormat::Jpeg, L8, 6_944, true), None),
        ("a deep PNG of 16 megapixels", encoded(ImageFormat::Png, Rgba16, 4_000, false), Some(4_000)),
        ("a WebP of 16 megapixels", encoded(ImageFormat::WebP, Rgb8, 4_000, false), Some(4_000)),
        ("a deep TIFF of 9 megapixels", encoded(ImageFormat::Tiff, Rgb16, 3_000, false), Some(3_000)),
        ("a WebP of two sizes", webp_of_two_sizes(), None),
    ] {
        std::fs::write(&path, &file).unwrap();
        let (file_bytes, most) = (file.len(), (256 << 20) + 20 * file.len());
        drop(file);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let picture = resnet_rs::data::decode(&path);
        let taken = MEMORY.peak_usage() - before;
        assert!(taken <= most, "{name}: {taken} bytes, a file of {file_bytes} bytes may take {most}");
        match picture {
            Ok(picture) => assert_eq!(Some(picture.width()), side, "{name}"),
            Err(error) => {
                assert!(side.is_none() && error.to_string().contains("of memory to decode"), "{name}: {error}")
            }
        }
    }
}
