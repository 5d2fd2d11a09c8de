//! What kind of file it is, if it is not a picture that can be decoded.

/// Names the kind of file by its first bytes, for a message on why it is not decoded.
pub(super) fn name(bytes: &[u8]) -> String {
    let known = |name: &str| name.to_owned();
    let text = std::str::from_utf8(&bytes[..bytes.len().min(1 << 10)]).map(str::trim_start).unwrap_or_default();
    let text = text.trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
    if bytes.is_empty() {
        return known("an empty file");
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return known("a file of zeros, as a download that broke off leaves it");
    }
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        return known("a Git LFS pointer in a picture's place: fetch the picture with `git lfs pull`");
    }
    if text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg")) {
        return known("an SVG drawing");
    }
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<head") {
        return known("an HTML page, as a server sends it instead of a picture");
    }
    if let [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] = bytes {
        return known(match brand {
            [b'a', b'v', b'i', b'f' | b's', ..] => "an AVIF picture",
            [b'h', b'e', b'i' | b'v', _, ..] | [b'm', b'i' | b's', b'f', b'1', ..] => "a HEIC picture",
            [b'c', b'r', b'x', ..] => "a camera's raw picture",
            [b'j', b'p', b'2' | b'x', ..] => "a JPEG 2000 picture",
            _ => "a video",
        });
    }
    let starts: [(&[u8], &str); 24] = [
        (b"\0\0\0\x0CJXL ", "a JPEG XL picture"),
        (b"\xFF\x0A", "a JPEG XL picture"),
        (b"\0\0\0\x0CjP  ", "a JPEG 2000 picture"),
        (b"\xFF\x4F\xFF\x51", "a JPEG 2000 picture"),
        (b"\xFF\xD8", "a damaged JPEG"),
        (b"%PDF", "a PDF document"),
        (b"%!PS", "a PostScript document"),
        (b"8BPS", "a Photoshop picture"),
        (b"\0\0\x01\0", "an icon (ICO)"),
        (b"\x76\x2F\x31\x01", "an OpenEXR picture"),
        (b"#?RADIANCE", "a Radiance HDR picture"),
        (b"DDS ", "a DDS texture"),
        (b"qoif", "a QOI picture"),
        (b"farbfeld", "a farbfeld picture"),
        (b"gimp xcf", "a GIMP picture"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7z archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x93NUMPY", "a numpy array"),
        (b"\x89HDF", "an HDF5 file"),
        (b"\x1A\x45\xDF\xA3", "a video"),
        (b"{\"", "a JSON file"),
        (b"<?xml", "an XML file"),
    ];
    if let Some((_, name)) = starts.iter().find(|(start, _)| bytes.starts_with(start)) {
        return known(name);
    }
    match bytes {
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', ..] => known("a PNM picture"),
        _ if !text.is_empty() && !text.contains('\0') => known("a text file"),
        _ => known("no picture by its content"),
    }
}
