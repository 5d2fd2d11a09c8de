//! A network's answer, drawn over its picture: boxes, masks, depths.

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use plotters::prelude::*;

use super::{DrawError, INK, PALETTE, drawable, fitted, letters, width};
use crate::boxes::Bounds;

/// A box to draw.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    /// Its edges in pixels of the picture.
    pub(crate) bounds: Bounds,
    /// What is written at its upper edge; may be empty.
    pub(crate) text: String,
    /// The colour of its line and of the plate behind the text.
    pub(crate) colour: RGBColor,
}

/// Colours for the boxes of this class; they repeat after six. The last colour of the palette is too dark.
pub(crate) fn box_colour(class: usize) -> RGBColor {
    PALETTE[class % (PALETTE.len() - 1)]
}

/// Draws boxes, the first on top, and above all lines their texts. Lines and letters grow with the picture.
///
/// # Errors
/// If a text cannot be drawn.
pub(crate) fn boxes(picture: &mut RgbImage, objects: &[Outline]) -> Result<(), DrawError<BitMapBackend<'static>>> {
    let (picture_width, picture_height) = picture.dimensions();
    let longest = picture_width.max(picture_height);
    // 2 px and 12 px letters up to 500 px a side.
    let (line, size) = ((longest / 250).max(2) as i32, (longest / 40).max(12));
    for Outline { bounds, colour, .. } in objects.iter().rev() {
        let [left, top, right, bottom] = bounds.map(|edge| edge.round() as i32);
        fill(picture, [left, top, right, top + line], *colour);
        fill(picture, [left, bottom - line, right, bottom], *colour);
        fill(picture, [left, top, left + line, bottom], *colour);
        fill(picture, [right - line, top, right, bottom], *colour);
    }
    let page = BitMapBackend::with_buffer(picture, (picture_width, picture_height)).into_drawing_area();
    for Outline { bounds, text, colour } in objects.iter().rev().filter(|outline| !outline.text.is_empty()) {
        let [left, top] = [bounds[0], bounds[1]].map(|edge| edge.round() as i32);
        let text = fitted(&drawable(text), size, picture_width.saturating_sub(4));
        let [plate_width, plate_height] = [width(&text, size) + 4, size + size / 4].map(|side| side as i32);
        // Above the box if there is room, and never beyond the picture's right edge.
        let x = left.min(picture_width as i32 - plate_width).max(0);
        let y = if top >= plate_height { top - plate_height } else { top.max(0) };
        page.draw(&Rectangle::new([(x, y), (x + plate_width, y + plate_height)], colour.filled()))?;
        let ink = if luminance(*colour) > 0.3 { INK } else { WHITE };
        // The library's top of a text is that of its capitals, a little too high.
        letters(size, ink).write(&page, &text, (x + 2, y + size as i32 / 3))?;
    }
    page.present()
}

/// Fills the part of a rectangle that is in the picture.
fn fill(picture: &mut RgbImage, [left, top, right, bottom]: [i32; 4], RGBColor(red, green, blue): RGBColor) {
    let range = |from: i32, to: i32, side: u32| from.max(0) as u32..to.clamp(0, side as i32) as u32;
    let (columns, rows) = (range(left, right, picture.width()), range(top, bottom, picture.height()));
    for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
        picture.put_pixel(x, y, Rgb([red, green, blue]));
    }
}

/// How light a colour is, 0 to 1: relative luminance, without the gamma's exact form.
fn luminance(RGBColor(red, green, blue): RGBColor) -> f32 {
    let linear = [red, green, blue].map(|value| (f32::from(value) / 255.0).powf(2.2));
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

/// The colour of a class in VOC's palette: red, green and blue take the bits of the number in turn, lowest first, as
/// their own bits, highest first. 0 is black, 255 a pale grey.
pub(crate) fn class_colour(class: u8) -> Rgb<u8> {
    let bit = |number: u32| (u32::from(class) >> number) & 1;
    let value = |channel: u32| (bit(channel) << 7 | bit(channel + 3) << 6 | bit(channel + 6) << 5) as u8;
    Rgb([0, 1, 2].map(value))
}

/// A picture with each class of a mask as a half transparent colour. Pixels of class 0, in most data the background,
/// and of 255, those that do not count, stay as they are.
///
/// # Panics
/// If the mask is not of the picture's size.
pub(crate) fn mask(picture: &RgbImage, mask: &GrayImage) -> RgbImage {
    assert_eq!(picture.dimensions(), mask.dimensions(), "the sizes of a picture and its mask");
    let mut drawn = picture.clone();
    for (pixel, class) in drawn.pixels_mut().zip(mask.as_raw()) {
        if !matches!(class, 0 | 255) {
            let colour = class_colour(*class);
            pixel.0 = [0, 1, 2].map(|c| u8::midpoint(pixel[c], colour[c]));
        }
    }
    drawn
}

/// Matplotlib's scale "plasma" (public domain) in ten steps: dark blue, purple, orange, yellow.
const PLASMA: [[u8; 3]; 10] = [
    [0x0d, 0x08, 0x87],
    [0x46, 0x03, 0x9f],
    [0x72, 0x01, 0xa8],
    [0x9c, 0x17, 0x9e],
    [0xbd, 0x37, 0x86],
    [0xd8, 0x57, 0x6b],
    [0xed, 0x79, 0x53],
    [0xfb, 0x9f, 0x3a],
    [0xfd, 0xca, 0x26],
    [0xf0, 0xf9, 0x21],
];

/// Depths as colours: yellow at the near end of the range (metres), dark blue at the far end and beyond, black where
/// the depth is unknown (0).
pub(crate) fn depth(map: &ImageBuffer<Luma<f32>, Vec<f32>>, [near, far]: [f32; 2]) -> RgbImage {
    let colour = |metres: f32| -> [u8; 3] {
        let share = ((far - metres) / (far - near).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        let at = share * (PLASMA.len() - 1) as f32;
        let first = (at as usize).min(PLASMA.len() - 2);
        let between = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * (at - first as f32)).round();
        [0, 1, 2].map(|c| between(PLASMA[first][c], PLASMA[first + 1][c]) as u8)
    };
    RgbImage::from_fn(map.width(), map.height(), |x, y| match map.get_pixel(x, y)[0] {
        metres if metres > 0.0 => Rgb(colour(metres)),
        _ => Rgb([0; 3]),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn class_colours_are_those_of_voc() {
        for (class, colour) in [
            (0, [0, 0, 0]),
            (1, [128, 0, 0]),
            (2, [0, 128, 0]),
            (3, [128, 128, 0]),
            (4, [0, 0, 128]),
            (15, [192, 128, 128]),
            (20, [0, 64, 128]),
            (255, [224, 224, 192]),
        ] {
            assert_eq!(class_colour(class).0, colour, "{class}");
        }
    }

    #[test]
    fn masks_tint_all_but_the_background_and_what_does_not_count() {
        let picture = RgbImage::from_pixel(4, 1, Rgb([100, 50, 201]));
        let drawn = mask(&picture, &GrayImage::from_raw(4, 1, vec![0, 1, 4, 255]).unwrap());
        let want = [[100, 50, 201], [114, 25, 100], [50, 25, 164], [100, 50, 201]];
        assert_eq!(drawn.into_raw(), want.as_flattened());
    }

    #[test]
    fn near_is_yellow_far_is_blue_unknown_is_black() {
        let metres = vec![0.0, 1.0, 2.0, 5.0, 10.0, 99.0, 0.5];
        let drawn = depth(&ImageBuffer::from_raw(7, 1, metres).unwrap(), [1.0, 10.0]);
        let want = [[0; 3], PLASMA[9], PLASMA[8], PLASMA[5], PLASMA[0], PLASMA[0], PLASMA[9]];
        assert_eq!(drawn.into_raw(), want.as_flattened());
        // All pixels at one distance.
        let flat = depth(&ImageBuffer::from_pixel(1, 1, Luma([3.0])), [3.0, 3.0]);
        assert_eq!(flat.into_raw(), PLASMA[0]);
    }

    #[test]
    fn boxes_have_lines_along_their_edges_and_a_plate_with_text() {
        let grey = Rgb([90, 91, 92]);
        let mut picture = RgbImage::from_pixel(120, 90, grey);
        let colour = box_colour(1);
        let outline = |bounds, text: &str| Outline { bounds, text: text.to_owned(), colour };
        boxes(&mut picture, &[outline([20.0, 40.0, 60.0, 80.0], "cat 0.9")]).unwrap();
        let of_line = |x, y| *picture.get_pixel(x, y) == Rgb([colour.0, colour.1, colour.2]);
        for inside in [(20, 41), (59, 79), (40, 41), (21, 60), (58, 60), (40, 79)] {
            assert!(of_line(inside.0, inside.1), "{inside:?}");
        }
        for outside in [(19, 60), (60, 60), (40, 80), (40, 60), (23, 76)] {
            assert_eq!(*picture.get_pixel(outside.0, outside.1), grey, "{outside:?}");
        }
        // The letters leave room above and below.
        for (x, y) in [25, 39].into_iter().flat_map(|y| (20..60).map(move |x| (x, y))) {
            assert!(of_line(x, y), "{x}, {y}");
        }
        let letters = (20..80).flat_map(|x| (25..40).map(move |y| (x, y)));
        assert!(letters.filter(|(x, y)| !of_line(*x, *y) && *picture.get_pixel(*x, *y) != grey).count() > 30);

        // Beyond the picture's edges nothing is drawn, and nothing fails.
        let far = outline([-50.0, -50.0, 500.0, 500.0], &"a very long name ".repeat(20));
        boxes(&mut picture, &[far, outline([119.5, 89.5, 120.0, 90.0], "x"), outline([5.0; 4], "")]).unwrap();
        boxes(&mut RgbImage::new(1, 1), &[outline([0.0, 0.0, 1.0, 1.0], "dog")]).unwrap();
    }
}
