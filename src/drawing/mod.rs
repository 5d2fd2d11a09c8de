//! What all drawings have in common: colours, letters, and the way to a file.

use std::{io::Cursor, sync::Once};

use image::{ImageFormat, RgbImage};
use plotters::{
    prelude::*,
    style::{
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Why a backend cannot draw.
pub(crate) type DrawError<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(crate) const PALE_INK: RGBColor = RGBColor(0x66, 0x66, 0x66);
pub(crate) const GRID: RGBColor = RGBColor(0xe6, 0xe6, 0xe6);

/// Okabe and Ito's palette, which stays distinct to colour-blind eyes.
pub(crate) const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x44, 0x44, 0x44),
];

/// Letters of a size in pixels, hung up at their upper left corner.
pub(crate) fn text(size: u32, color: RGBColor) -> TextStyle<'static> {
    anchored(size, color, HPos::Left, VPos::Top)
}

/// The same, hung up elsewhere.
pub(crate) fn anchored(size: u32, color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color).pos(Pos::new(h, v))
}

/// Bitmaps need the letters' shapes, which not every machine has.
pub(crate) fn load_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = include_bytes!("dejavu-sans-latin.ttf");
        let registered = register_font("sans-serif", FontStyle::Normal, font);
        registered.unwrap_or_else(|_| unreachable!("a fixed font"));
    });
}

/// A picture as a PNG file.
pub(crate) fn png(picture: &RgbImage) -> image::ImageResult<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}
