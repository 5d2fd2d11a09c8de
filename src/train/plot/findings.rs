//! What a validation found, as PNG pictures: what is taken for what, and the pictures mistaken most surely.

use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{DrawError, GRID, INK, PALE_INK, load_font, png, text};
use crate::train::Error;

/// Side of a cell of the matrix, px.
const CELL: u32 = 40;
/// Width of a letter of a heading on average, px, and the most letters of one.
const LETTER: u32 = 8;
const MOST_LETTERS: usize = 20;
/// Side of a picture on the sheet and room around it, px; lines of words below each, px; pictures in a row.
const SIDE: u32 = 96;
const GAP: u32 = 24;
const LINE: u32 = 16;
const COLUMNS: usize = 8;

/// A cell of a matrix.
pub(in crate::train) struct Shade {
    /// What is written in it.
    pub text: String,
    /// Its colour.
    pub color: RGBColor,
    /// How strongly it is coloured, 0 to 1.
    pub strength: f64,
}

/// A square matrix whose rows and columns have the same names, as PNG.
pub(in crate::train) fn matrix(names: &[String], rows: &[Vec<Shade>]) -> Result<Vec<u8>, Error> {
    let names: Vec<String> = names.iter().map(|name| shortened(name)).collect();
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as u32;
    let head = 2 * GAP + letters * LETTER;
    let side = head + CELL * names.len() as u32 + GAP;
    let paint = |page: &Page<'_>| {
        let at = |cell: usize| (head + CELL * cell as u32) as i32;
        let (middle, cell_side, edge) = (CELL as i32 / 2, CELL as i32, head as i32 - 8);
        for (i, name) in names.iter().enumerate() {
            let right = text(14, INK).pos(Pos::new(HPos::Right, VPos::Center));
            page.draw_text(name, &right, (edge, at(i) + middle))?;
            let upright = ("sans-serif", 14).into_font().transform(FontTransform::Rotate270).color(&INK);
            page.draw_text(name, &upright.pos(Pos::new(HPos::Left, VPos::Center)), (at(i) + middle, edge))?;
        }
        let centred = text(14, INK).pos(Pos::new(HPos::Center, VPos::Center));
        for (y, row) in rows.iter().enumerate() {
            for (x, shade) in row.iter().enumerate() {
                let corners = [(at(x), at(y)), (at(x) + cell_side, at(y) + cell_side)];
                // Letters stay readable on the strongest.
                page.draw(&Rectangle::new(corners, shade.color.mix(0.7 * shade.strength).filled()))?;
                page.draw(&Rectangle::new(corners, GRID.stroke_width(1)))?;
                page.draw_text(&shade.text, &centred, (at(x) + middle, at(y) + middle))?;
            }
        }
        let note = "rows: what pictures are; columns: what they are taken for";
        page.draw_text(note, &text(12, PALE_INK), (8, 6))
    };
    png(&painted(side.max(head + 2 * GAP), side, paint)?).map_err(Error::draw)
}

/// Pictures in rows, each with lines of words below it, the first of them in colour; as PNG.
pub(in crate::train) fn sheet(pictures: &[(RgbImage, [String; 3])]) -> Result<Vec<u8>, Error> {
    let lines = pictures.first().map_or(0, |(_, words)| words.len() as u32);
    let (tile_width, tile_height) = (SIDE + GAP, SIDE + GAP + lines * LINE);
    let rows = pictures.len().div_ceil(COLUMNS) as u32;
    let corner = |i: usize| {
        [GAP / 2 + (i % COLUMNS) as u32 * tile_width, GAP / 2 + (i / COLUMNS) as u32 * tile_height].map(|at| at as i32)
    };
    let paint = |page: &Page<'_>| {
        for (i, (_, words)) in pictures.iter().enumerate() {
            let [x, y] = corner(i);
            for (line, words) in words.iter().enumerate() {
                let color = if line == 0 { super::PALETTE[1] } else { INK };
                let below = (SIDE + 4 + LINE * line as u32) as i32;
                page.draw_text(&shortened(words), &text(12, color), (x, y + below))?;
            }
        }
        Ok(())
    };
    let mut page = painted(COLUMNS as u32 * tile_width, rows * tile_height, paint)?;
    for (i, (picture, _)) in pictures.iter().enumerate() {
        let [x, y] = corner(i);
        // Small ones are shown pixel by pixel.
        let enlarged = resize(picture, SIDE, SIDE, FilterType::Nearest);
        overlay(&mut page, &enlarged, x.into(), y.into());
    }
    png(&page).map_err(Error::draw)
}

type Page<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

/// A white page with something on it.
fn painted(
    width: u32,
    height: u32,
    paint: impl FnOnce(&Page<'_>) -> Result<(), DrawError<BitMapBackend<'static>>>,
) -> Result<RgbImage, Error> {
    load_font();
    let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let page = BitMapBackend::with_buffer(&mut picture, (width, height)).into_drawing_area();
    paint(&page).and_then(|()| page.present()).map_err(Error::draw)?;
    drop(page);
    Ok(picture)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= MOST_LETTERS {
        return name.to_owned();
    }
    name.chars().take(MOST_LETTERS - 2).chain("..".chars()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pixels(png: &[u8]) -> RgbImage {
        image::load_from_memory(png).unwrap().to_rgb8()
    }

    #[test]
    fn a_matrix_is_coloured_by_its_cells() {
        let names = ["cat".to_owned(), "a name that is much too long for a heading".to_owned()];
        let shade = |text: &str, color, strength| Shade { text: text.into(), color, strength };
        let (blue, orange) = (super::super::PALETTE[0], super::super::PALETTE[1]);
        let rows = [[blue, orange], [orange, blue]].map(|row| vec![shade("", row[0], 1.0), shade("7", row[1], 0.0)]);
        let picture = pixels(&matrix(&names, &rows).unwrap());
        let head = 2 * GAP + MOST_LETTERS as u32 * LETTER;
        assert_eq!(picture.dimensions(), (head + 2 * CELL + GAP, head + 2 * CELL + GAP));
        let inside = |x: u32, y: u32| picture.get_pixel(head + CELL * x + 5, head + CELL * y + 5).0;
        let mixed =
            |color: RGBColor| [color.0, color.1, color.2].map(|c| (0.7 * f64::from(c) + 0.3 * 255.0).round() as i32);
        for (y, color) in [(0, blue), (1, orange)] {
            let off = inside(0, y).iter().zip(mixed(color)).map(|(&got, want)| (i32::from(got) - want).abs()).max();
            assert!(off.unwrap() <= 2, "{:?}", inside(0, y));
        }
        assert_eq!(inside(1, 0), [255; 3]);
        let dark = |x0: u32, y0: u32| {
            let cell = (0..CELL).flat_map(|y| (0..CELL).map(move |x| (x0 + x, y0 + y)));
            cell.filter(|&(x, y)| picture.get_pixel(x, y).0[0] < 0x80).count()
        };
        assert!(dark(head + CELL, head) > 10, "a number is written in it");
        assert!(dark(head + 1, head - CELL) > 10 && dark(head - CELL, head + 1) > 10, "rows and columns have names");
    }

    #[test]
    fn a_sheet_shows_every_picture() {
        let picture = |i: u8| RgbImage::from_pixel(4, 4, Rgb([10 * i, 200, 7]));
        let pictures: Vec<_> = (0..11u8).map(|i| (picture(i), ["a", "b", "c"].map(String::from))).collect();
        let page = pixels(&sheet(&pictures).unwrap());
        assert_eq!(page.dimensions(), (8 * 120, 2 * (120 + 48)));
        for i in 0..11u8 {
            let shown = page.pixels().filter(|p| p.0 == [10 * i, 200, 7]).count();
            assert_eq!(shown, (SIDE * SIDE) as usize, "picture {i}");
        }
    }
}
