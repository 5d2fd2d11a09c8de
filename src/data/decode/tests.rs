use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

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
    // A 16-bit value is 257 times the 8-bit one.
    assert_eq!(first(ImageBuffer::from_pixel(1, 1, Rgb([257u16, 514, 65_535])).into(), png), [1, 2, 255]);
    // JPEG keeps the grey of a single pixel to within rounding.
    let grey = first(ImageBuffer::from_pixel(1, 1, Luma([70u8])).into(), ImageFormat::Jpeg);
    assert!(grey.iter().all(|v| v.abs_diff(70) <= 1), "{grey:?}");
}

/// The odd files of `tests/golden`: name and content.
fn odd_files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: Vec<_> = names.filter(|name| !name.ends_with(".png")).collect();
    assert!(files.len() > 40, "{files:?}");
    files.into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

fn odd_file(name: &str) -> Vec<u8> {
    odd_files().into_iter().find(|(known, _)| known == name).unwrap().1
}

#[test]
fn odd_files_have_the_pixels_that_pillow_sees() {
    for (name, content) in odd_files() {
        let seen = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/pictures/{name}.png"));
        let (want, got) = (image::open(seen).unwrap().into_rgb8(), decode_bytes(&content));
        let got = got.unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(got.dimensions(), want.dimensions(), "{name}");
        // Pillow rounds 5-bit channels and inks differently.
        let most = if ["565.bmp", "inks.tif"].contains(&&*name) { 1 } else { 0 };
        let largest = got.iter().zip(want.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(largest <= most, "{name} is off by {largest}");
    }
}

#[test]
fn what_a_file_held_is_told() {
    let facts = |name: &str| decode_bytes_with_facts(&odd_file(name)).unwrap().1;
    let plain = Facts { format: "JPEG", grey: false, cmyk: false, deep: false, alpha: false, turned: false };
    assert_eq!(facts("interleaved-420.jpg"), plain);
    assert_eq!(facts("grey-2x2.jpg"), Facts { grey: true, ..plain });
    assert_eq!(facts("ycck.jpg"), Facts { cmyk: true, ..plain });
    assert_eq!(facts("inks.tif"), Facts { format: "TIFF", cmyk: true, ..plain });
    assert_eq!(facts("deep.tif"), Facts { format: "TIFF", deep: true, turned: true, ..plain });
    assert_eq!(facts("white-is-zero.tif"), Facts { format: "TIFF", grey: true, ..plain });
    assert_eq!(facts("frame-transparent.gif"), Facts { format: "GIF", alpha: true, ..plain });
    assert_eq!(facts("565.bmp"), Facts { format: "BMP", ..plain });
    let alpha = encoded(ImageBuffer::from_pixel(1, 1, LumaA([70u16, 9])), ImageFormat::Png);
    let want = Facts { format: "PNG", grey: true, deep: true, alpha: true, ..plain };
    assert_eq!(decode_bytes_with_facts(&alpha).unwrap().1, want);
}

/// A PNG with a header alone: it announces a size and holds no pixels.
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
fn a_small_file_is_no_large_picture() {
    let message = decode_bytes(&png_header(10_000, 9_000)).unwrap_err();
    let file_bytes = png_header(1, 1).len();
    let expected = format!(
        "10000 x 9000 pixels take 266 MiB of memory to decode, and a file of {file_bytes} bytes may take 256 MiB (256 \
         MiB and 20 times its size): save the picture smaller"
    );
    assert_eq!(message, expected);
    let allowed = |[width, height]: [u32; 2], planes: u64, turned: bool, file_mb: usize| {
        let pixels = u64::from(width) * u64::from(height);
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let notes = Notes { exif: turned.then_some(exif[..].into()), ..Notes::default() };
        check_size([width, height], 0, planes * pixels, &notes, &vec![0; file_mb * 1_000_000]).is_ok()
    };
    assert!(allowed([11_648, 8_736], 3, true, 30), "a photograph of 100 megapixels, turned");
    assert!(allowed([8_660, 5_774], 3, true, 8) && allowed([8_660, 5_774], 6, true, 8), "one of 50, progressive");
    assert!(allowed([6_000, 4_000], 9, true, 30), "one of 24 and 16 bits");
    assert!(!allowed([8_660, 5_774], 9, false, 8), "one of 50, progressive without subsampling");
    let mut jpeg = odd_file("interleaved-420.jpg");
    let size = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5;
    jpeg[size..size + 4].copy_from_slice(&[0x10, 0, 0x10, 0]);
    assert!(decode_bytes(&jpeg).unwrap_err().contains("cut short"));
}

/// Besides its samples the decoder keeps data on every block: 270 MB in all for this picture.
#[test]
fn a_lossy_webp_takes_more_than_its_samples() {
    let frame = [&[0xB0, 0x0B, 0, 0x9D, 0x01, 0x2A, 0x0F, 0x27, 0xF3, 0x55][..], &[0; 220]].concat();
    let chunk = [&b"VP8 "[..], &(frame.len() as u32).to_le_bytes(), &frame].concat();
    let file = [&b"RIFF"[..], &(4 + chunk.len() as u32).to_le_bytes(), b"WEBP", &chunk].concat();
    let refused = decode_bytes(&file).unwrap_err();
    assert!(refused.contains("9999 x 5619 pixels take 277 MiB of memory to decode"), "{refused}");
}

#[test]
fn damaged_pictures_are_errors() {
    let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, (x * 37) as u8, (y * 91) as u8]));
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Tiff] {
        let bytes = encoded(picture.clone(), format);
        for length in [0, 1, 3, 8, 30, bytes.len() / 2, bytes.len() - 20] {
            assert!(decode_bytes(&bytes[..length]).is_err(), "{format:?}, {length} of {} bytes", bytes.len());
        }
    }
    let gif = odd_file("frame.gif");
    (0..gif.len() - 8).for_each(|length| assert!(decode_bytes(&gif[..length]).is_err(), "{length} of {}", gif.len()));
}

#[test]
fn a_jpeg_that_is_not_all_there_is_an_error() {
    for (name, whole) in odd_files().into_iter().filter(|(name, _)| name.ends_with(".jpg")) {
        // Bytes after the end of the picture are not needed, and the last byte before it may be padding alone.
        let end = whole.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).unwrap_or(whole.len() - 40);
        for length in (0..end - 1).step_by(7) {
            let cut = &whole[..length];
            assert!(decode_bytes(cut).is_err(), "{name}: {length} of {end} bytes");
            assert!(
                decode_bytes(&[cut, &[0xFF, 0xD9]].concat()).is_err(),
                "{name}: {length} of {end} bytes and an end"
            );
        }
        let zeros = [&whole[..end * 3 / 4], &[0; 4_000]].concat();
        assert!(decode_bytes(&zeros).is_err(), "{name}: zeros in place of its last quarter");
    }
    let three = odd_file("scans-444.jpg");
    let scans: Vec<_> = (0..three.len()).filter(|at| three[*at..].starts_with(&[0xFF, 0xDA])).collect();
    let [_, second, third] = scans[..] else { panic!("{scans:?}") };
    let message = decode_bytes(&[&three[..second], &three[third..]].concat()).unwrap_err();
    assert_eq!(message, "a JPEG that lacks a part: not all of its scans are there");
    let again = [&three[..second], &three[scans[0]..second].repeat(200)].concat();
    assert_eq!(decode_bytes(&again).unwrap_err(), "a JPEG of more than 64 scans of a block, which is not read");
}

#[test]
fn jpegs_that_are_not_read_are_refused_by_name() {
    let jpeg = odd_file("interleaved-420.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let message = |changes: &[(usize, u8)]| {
        let mut jpeg = jpeg.clone();
        changes.iter().for_each(|(at, byte)| jpeg[frame + at] = *byte);
        decode_bytes(&jpeg).unwrap_err()
    };
    assert_eq!(message(&[(1, 0xC3)]), "a lossless JPEG, which is not read");
    assert_eq!(message(&[(1, 0xC5)]), "a hierarchical JPEG, which is not read");
    assert_eq!(message(&[(1, 0xC9)]), "an arithmetic-coded JPEG, which is not read");
    assert_eq!(message(&[(4, 12)]), "a JPEG of 12 bits a sample, which is not read: 8 are");
    assert_eq!(message(&[(9, 2)]), "a JPEG of 2 components, which is not read: 1, 3 and 4 are");
    assert!(message(&[(6, 0)]).contains("keeps its height until after its data (DNL), which is not read"));
    assert!(message(&[(11, 0x31), (14, 0x21)]).contains("2 x 1 samples of one component where another has 3 x 1"));
}

#[test]
fn what_is_no_picture_is_named() {
    for (content, name) in [
        (&b""[..], "an empty file"),
        (b"\n<!DOCTYPE HTML><title>404</title>", "an HTML page"),
        (b"<?xml version=\"1.0\"?>\n<svg></svg>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "`git lfs pull`"),
        (b"\0\0\0\x20ftypheic", "a HEIC picture"),
        (b"\0\0\0\x20ftypavif", "an AVIF picture"),
        (b"%PDF-1.7", "a PDF document"),
        (&[0; 99], "a file of zeros"),
        (b"P6 1 1 255\n...", "a PNM picture"),
        (b"text", "a text file"),
        (b"\xC3\x28\xA0\xA1", "no picture by its content"),
    ] {
        let message = decode_bytes(content).unwrap_err();
        assert!(message.contains(name), "{name}: {message}");
    }
}
