//! Findings of a validation as PNG pictures: the confusion matrix, and the worst pictures.

use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{DrawError, GRID, INK, PALE_INK, png};
use crate::drawing::{fitted, letters, width, wrapped};
use crate::train::Error;

/// Font sizes of names and numbers, and of notes, px.
const LETTERS: u32 = 14;
const NOTES: u32 = 12;
/// Least side of a cell of the matrix, and the margin around its text, px.
const CELL: u32 = 40;
const ROOM: u32 = 4;
/// Longest heading of the matrix, px: about sixty letters.
const HEADING: u32 = 480;
/// Width of a sheet, about, and the gap around a tile, px; height of a line of text below it, px; most lines per text.
const SHEET: u32 = 960;
const GAP: u32 = 24;
const LINE: u32 = 16;
const LINES: usize = 5;

/// A cell of a matrix.
pub(in crate::train) struct Shade {
    /// Its text.
    pub text: String,
    /// Its colour.
    pub color: RGBColor,
    /// Strength of the colour, 0 to 1.
    pub strength: f64,
}

/// A square matrix whose rows and columns have the same names, with a note above it, as PNG.
pub(in crate::train) fn matrix(names: &[String], rows: &[Vec<Shade>], note: &str) -> Result<Vec<u8>, Error> {
    let names: Vec<String> = names.iter().map(|name| fitted(name, LETTERS, HEADING)).collect();
    let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| width(text, LETTERS)).max().unwrap_or(0);
    let cell = CELL.max(widest(&mut rows.iter().flatten().map(|shade| &shade.text)) + 2 * ROOM);
    let names_side = GAP / 2 + widest(&mut names.iter()) + 2 * ROOM;
    let (left, top) = (names_side, names_side + 2 * NOTES);
    let matrix_side = cell * names.len() as u32 + GAP;
    let size = (left + matrix_side).max(width(note, NOTES) + GAP);
    let paint = |page: &Page<'_>| {
        let at = |x: usize, y: usize| ((left + cell * x as u32) as i32, (top + cell * y as u32) as i32);
        let (middle, room) = (cell as i32 / 2, 2 * ROOM as i32);
        let heading = letters(LETTERS, INK);
        let centred = heading.at(HPos::Center, VPos::Center);
        for (i, name) in names.iter().enumerate() {
            let ((x, above), (before, y)) = (at(i, 0), at(0, i));
            heading.at(HPos::Right, VPos::Center).write(page, name, (before - room, y + middle))?;
            heading.upwards().write(page, name, (x + middle, above - room))?;
        }
        for (y, row) in rows.iter().enumerate() {
            for (x, Shade { text, color, strength }) in row.iter().enumerate() {
                let ((left, top), (right, bottom)) = (at(x, y), at(x + 1, y + 1));
                let corners = [(left, top), (right, bottom)];
                // Text stays readable on the strongest colour.
                page.draw(&Rectangle::new(corners, color.mix(0.7 * strength).filled()))?;
                page.draw(&Rectangle::new(corners, GRID.stroke_width(1)))?;
                centred.write(page, text, (left + middle, top + middle))?;
            }
        }
        letters(NOTES, PALE_INK).write(page, note, (GAP as i32 / 2, ROOM as i32))
    };
    png(&painted(size, top + matrix_side, paint)?).map_err(Error::draw)
}

/// A place on a sheet.
#[derive(Clone)]
pub(in crate::train) struct Tile {
    /// Pictures side by side.
    pub pictures: Vec<RgbImage>,
    /// Texts below them; the first is coloured.
    pub words: Vec<String>,
}

/// Tiles in rows, each with as many pictures as the first one, as PNG. A picture becomes a square of `side` px.
pub(in crate::train) fn sheet(side: u32, tiles: &[Tile]) -> Result<Vec<u8>, Error> {
    let across = tiles.first().map_or(1, |tile| tile.pictures.len().max(1)) as u32;
    let inner = across * (side + ROOM) - ROOM;
    let outer = inner + GAP;
    // Rounded.
    let columns = ((SHEET + outer / 2) / outer).max(1) as usize;
    let lines = |tile: &Tile| -> Vec<(String, RGBColor)> {
        let colors = std::iter::once(super::PALETTE[1]).chain(std::iter::repeat(INK));
        let broken = tile
            .words
            .iter()
            .zip(colors)
            .map(|(text, color)| (wrapped(text, NOTES, inner + GAP / 2 - ROOM, LINES), color));
        broken.flat_map(|(lines, color)| lines.into_iter().map(move |line| (line, color))).collect()
    };
    let words: Vec<Vec<(String, RGBColor)>> = tiles.iter().map(lines).collect();
    // The top of each row, and the end of the page.
    let mut tops = vec![GAP / 2];
    for row in words.chunks(columns) {
        let lines = row.iter().map(Vec::len).max().unwrap_or(0) as u32;
        tops.push(tops[tops.len() - 1] + side + GAP + LINE * lines);
    }
    let corner = |i: usize| [GAP / 2 + (i % columns) as u32 * outer, tops[i / columns]].map(|at| at as i32);
    let paint = |page: &Page<'_>| {
        for (i, words) in words.iter().enumerate() {
            let [x, y] = corner(i);
            for (line, (text, color)) in words.iter().enumerate() {
                let below = (side + 2 * ROOM + LINE * line as u32) as i32;
                letters(NOTES, *color).write(page, text, (x, y + below))?;
            }
        }
        Ok(())
    };
    let mut page = painted(columns as u32 * outer, tops[tops.len() - 1] - GAP / 2, paint)?;
    for (i, tile) in tiles.iter().enumerate() {
        let [x, y] = corner(i);
        for (picture, beside) in tile.pictures.iter().zip((0..).step_by((side + ROOM) as usize)) {
            // Small pictures are enlarged without smoothing.
            let enlarged = resize(picture, side, side, FilterType::Nearest);
            overlay(&mut page, &enlarged, i64::from(x) + beside, y.into());
        }
    }
    png(&page).map_err(Error::draw)
}

type Page<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

/// Paints a white page.
fn painted(
    width: u32,
    height: u32,
    paint: impl FnOnce(&Page<'_>) -> Result<(), DrawError<BitMapBackend<'static>>>,
) -> Result<RgbImage, Error> {
    let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let page = BitMapBackend::with_buffer(&mut picture, (width, height)).into_drawing_area();
    paint(&page).and_then(|()| page.present()).map_err(Error::draw)?;
    drop(page);
    Ok(picture)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::drawing::has_margins;

    fn pixels(png: &[u8]) -> RgbImage {
        image::load_from_memory(png).unwrap().to_rgb8()
    }

    #[test]
    fn a_matrix_is_coloured_by_its_cells() {
        let names = ["cat".to_owned(), "a name that is much too long for a heading".to_owned()];
        let shade = |text: &str, color, strength| Shade { text: text.into(), color, strength };
        let (blue, orange) = (super::super::PALETTE[0], super::super::PALETTE[1]);
        let rows = [[blue, orange], [orange, blue]].map(|row| vec![shade("", row[0], 1.0), shade("7", row[1], 0.0)]);
        let picture = pixels(&matrix(&names, &rows, "rows: true; columns: predicted").unwrap());
        let left = GAP / 2 + width(&names[1], LETTERS) + 2 * ROOM;
        let top = left + 2 * NOTES;
        assert!(left > 200, "room for the whole name");
        assert_eq!(picture.dimensions(), (left + 2 * CELL + GAP, top + 2 * CELL + GAP));
        let inside = |x: u32, y: u32| picture.get_pixel(left + CELL * x + 5, top + CELL * y + 5).0;
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
        assert!(dark(left + CELL, top) > 10, "a number is written in it");
        assert!(dark(left + 1, top - CELL) > 10 && dark(left - CELL, top + 1) > 10, "rows and columns have names");
    }

    /// With few classes and many, short names and long ones, small counts and large ones.
    #[test]
    fn a_matrix_cuts_no_text() {
        let long = "W".repeat(30) + &"i".repeat(30);
        for (classes, name, count) in [(1, "a", "1"), (2, "a", "99"), (3, &*long, "50000"), (12, &long, "1234567")] {
            let shade = || Shade { text: count.into(), color: super::super::PALETTE[0], strength: 0.0 };
            let rows: Vec<Vec<Shade>> = (0..classes).map(|_| (0..classes).map(|_| shade()).collect()).collect();
            let picture = pixels(&matrix(&vec![name.to_owned(); classes], &rows, "a note").unwrap());
            assert!(has_margins(&picture), "{classes} classes");
            let written = width(count, LETTERS);
            let cell = CELL.max(written + 2 * ROOM);
            let left = picture.width() - GAP - cell * classes as u32;
            if classes > 2 {
                // The lines between cells stay free.
                let (x, top) = (left + cell, picture.height() - GAP - cell * classes as u32);
                assert!((top..top + cell).all(|y| picture.get_pixel(x, y).0 == [GRID.0, GRID.1, GRID.2]), "{classes}");
                // The longest name is cut to its room; nothing else is cut off.
                let dark = |x| (top..picture.height()).any(|y| picture.get_pixel(x, y).0[0] < 0x80);
                assert!((GAP / 2..GAP).any(dark) && !(0..GAP / 2 - 1).any(dark), "{classes} classes: {left}");
            }
        }
    }

    /// Side of the pictures in these tests, px.
    const SIDE: u32 = 96;

    /// A text of any length stays within its tile.
    #[test]
    fn a_sheet_cuts_no_text() {
        let long = "W".repeat(60);
        for (across, columns) in [(1, 8), (3, 3)] {
            let words = vec![format!("{long} 75 %"), format!("is {long}"), "#12345678".to_owned()];
            let tile = Tile { pictures: vec![RgbImage::from_pixel(4, 4, Rgb([255; 3])); across], words };
            let page = pixels(&sheet(SIDE, &vec![tile; columns + 1]).unwrap());
            assert!(has_margins(&page));
            let width = across as u32 * (SIDE + ROOM) - ROOM + GAP;
            assert_eq!(page.width(), columns as u32 * width);
            for column in 0..columns as u32 {
                // Nothing on the lines between tiles, between the rows and below the last.
                let x = (GAP / 2 + column * width).saturating_sub(2);
                assert!((0..page.height()).all(|y| page.get_pixel(x, y).0 == [255; 3]), "column {column}");
            }
            if across == 1 {
                let height = SIDE + GAP + (2 * LINES as u32 + 1) * LINE;
                assert_eq!(page.height(), 2 * height);
                let mut between = height + 3..height + 10;
                assert!(between.all(|y| (0..page.width()).all(|x| page.get_pixel(x, y).0 == [255; 3])));
            }
        }
    }

    #[test]
    fn a_sheet_shows_every_picture() {
        let picture = |i: u8, blue| RgbImage::from_pixel(4, 4, Rgb([10 * i, 200, blue]));
        let words = || ["a", "b", "c"].map(String::from).to_vec();
        let tiles: Vec<_> = (0..11u8).map(|i| Tile { pictures: vec![picture(i, 7)], words: words() }).collect();
        let page = pixels(&sheet(SIDE, &tiles).unwrap());
        assert_eq!(page.dimensions(), (8 * 120, 2 * (120 + 48)));
        let pairs = (0..11u8).map(|i| Tile { pictures: vec![picture(i, 7), picture(i, 9)], words: words() });
        let of_pairs = pixels(&sheet(SIDE, &pairs.collect::<Vec<_>>()).unwrap());
        for i in 0..11u8 {
            let shown = |page: &RgbImage, blue| page.pixels().filter(|p| p.0 == [10 * i, 200, blue]).count();
            let squares = [shown(&page, 7), shown(&of_pairs, 7), shown(&of_pairs, 9)];
            assert_eq!(squares, [(SIDE * SIDE) as usize; 3], "picture {i}");
        }
    }
}
