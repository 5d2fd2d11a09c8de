//! Shared by all drawings: colours, text, and files; and what is drawn over pictures.

mod font;
pub(crate) mod overlay;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};

pub(crate) use font::{CARRIED, is_drawable};

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

/// How a text is written: horizontal and anchored at its upper left corner by default.
#[derive(Clone, Copy)]
pub(crate) struct Letters {
    size: u32,
    color: RGBColor,
    anchor: Pos,
    upwards: bool,
}

/// Letters of a size in pixels and a colour.
pub(crate) fn letters(size: u32, color: RGBColor) -> Letters {
    Letters { size, color, anchor: Pos::new(HPos::Left, VPos::Top), upwards: false }
}

impl Letters {
    /// Sets another anchor.
    pub(crate) fn at(self, h: HPos, v: VPos) -> Self {
        Self { anchor: Pos::new(h, v), ..self }
    }

    /// Writes upwards, anchored at the start of the text and the middle of its height.
    pub(crate) fn upwards(self) -> Self {
        Self { anchor: Pos::new(HPos::Left, VPos::Center), upwards: true, ..self }
    }

    /// A plotters style, for the axis labels that plotters writes itself.
    pub(crate) fn style(self, family: &'static str) -> TextStyle<'static> {
        let transform = if self.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        (family, self.size).into_font().transform(transform).color(&self.color).pos(self.anchor)
    }

    /// Writes a text, each run of letters in a font that has them.
    pub(crate) fn write<B: DrawingBackend>(
        self,
        page: &DrawingArea<B, Shift>,
        text: &str,
        (x, y): (i32, i32),
    ) -> Result<(), DrawError<B>> {
        let runs = font::runs(text);
        if let [(family, _)] = runs[..] {
            return page.draw_text(text, &self.style(family), (x, y));
        }
        let whole = width(text, self.size) as i32;
        let mut along = match self.anchor.h_pos {
            HPos::Left => 0,
            HPos::Center => -whole / 2,
            HPos::Right => -whole,
        };
        let from_left = Self { anchor: Pos::new(HPos::Left, self.anchor.v_pos), ..self };
        for (family, run) in runs {
            let at = if self.upwards { (x, y - along) } else { (x + along, y) };
            page.draw_text(&run, &from_left.style(family), at)?;
            along += run_width(family, &run, self.size) as i32;
        }
        Ok(())
    }
}

/// Width of a text in pixels.
pub(crate) fn width(text: &str, size: u32) -> u32 {
    font::runs(text).iter().map(|(family, run)| run_width(family, run, size)).sum()
}

fn run_width(family: &'static str, run: &str, size: u32) -> u32 {
    let drawn = (family, size).into_font().box_size(run).map_or(0, |(width, _)| width + 1);
    // A browser may have letters that no font here has; they are assumed to be as wide as high.
    let missing = run.chars().filter(|&letter| font::find(letter).is_none()).count() as u32;
    drawn + size * missing
}

/// Shortens a text to at most `most` pixels. ".." replaces its middle, since names differ at the beginning and the end.
pub(crate) fn fitted(text: &str, size: u32, most: u32) -> String {
    let letters: Vec<char> = text.chars().collect();
    let with = |kept: usize| -> String {
        let (start, end) = (&letters[..kept.div_ceil(2)], &letters[letters.len() - kept / 2..]);
        start.iter().chain(&['.', '.']).chain(end).collect()
    };
    if width(text, size) <= most {
        return text.to_owned();
    }
    (0..letters.len()).rev().map(with).find(|shorter| width(shorter, size) <= most).unwrap_or_default()
}

/// Breaks a text into at most `lines` lines of at most `most` pixels: after spaces, underscores and hyphens, or
/// anywhere in a word that is wider. A longer text loses its middle.
pub(crate) fn wrapped(text: &str, size: u32, most: u32, lines: usize) -> Vec<String> {
    let mut broken = vec![];
    let mut line = String::new();
    for word in text.split_inclusive([' ', '_', '-']) {
        let fits = |text: &str| width(text.trim_end(), size) <= most;
        if !line.is_empty() && !fits(&format!("{line}{word}")) {
            broken.push(std::mem::take(&mut line));
        }
        for letter in word.chars() {
            if !line.is_empty() && !fits(&format!("{line}{letter}")) {
                broken.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    broken.push(line);
    if broken.len() > lines {
        let middle = broken.drain(lines / 2..broken.len() - lines.div_ceil(2) + 1).collect::<String>();
        broken.insert(lines / 2, fitted(&middle, size, most));
    }
    broken.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A text with "?" for letters that cannot be drawn.
pub(crate) fn drawable(text: &str) -> String {
    text.chars().map(|letter| if font::find(letter).is_some() { letter } else { '?' }).collect()
}

/// A picture as a PNG file.
pub(crate) fn png(picture: &RgbImage) -> image::ImageResult<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png)?;
    Ok(file.into_inner())
}

/// Whether the outermost pixels are blank; a text that touches them would be cut.
#[cfg(test)]
pub(crate) fn has_margins(picture: &RgbImage) -> bool {
    let (right, bottom) = (picture.width() - 1, picture.height() - 1);
    let edge = |x, y| x == 0 || y == 0 || x == right || y == bottom;
    picture.enumerate_pixels().all(|(x, y, pixel)| pixel.0 == [255; 3] || !edge(x, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_their_room() {
        let long = "a name of sixty letters, as nobody would write it_by-hand, ok";
        for most in [30, 100, 480] {
            assert!(width(&fitted(long, 14, most), 14) <= most);
            let lines = wrapped(long, 14, most, 4);
            assert!(lines.len() <= 4 && lines.iter().all(|line| width(line, 14) <= most), "{lines:?}");
        }
        assert_eq!(fitted("cat", 14, 100), "cat");
        assert!(fitted(long, 14, 200).starts_with("a name") && fitted(long, 14, 200).ends_with("d, ok"));
        assert_eq!(wrapped("golden retriever", 14, 90, 4), ["golden", "retriever"]);
        assert_eq!(wrapped(&"W".repeat(30), 14, 90, 9).concat(), "W".repeat(30));
        assert_eq!(wrapped("", 14, 90, 4), [""]);
        assert!(width("W", 14) > width("i", 14));
    }
}
