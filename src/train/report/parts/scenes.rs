//! The worst pictures of an evaluation, each beside its truth and the network's answer.

use image::{ImageBuffer, Luma, Pixel, Primitive, RgbImage};
use serde::Serialize;

use super::super::{Section, data_uri, render};
use crate::data::{Geometry, Source, Truth, evaluation_crop, evaluation_geometry};
use crate::train::Error;
use crate::train::plot::{Tile, png, sheet};
use crate::weights::ModelCard;

/// Largest side of a picture, px: names in boxes can be read.
const SIDE: u32 = 160;
/// The most pictures on the page.
const MOST: usize = 12;

/// A picture as the network sees it, but smaller.
pub(in crate::train) struct Scene {
    /// Its index in the source.
    index: usize,
    /// Its name.
    name: String,
    /// The pixels.
    pub(in crate::train) image: RgbImage,
    /// Where they lie in the picture.
    pub(in crate::train) view: Geometry,
    /// The picture's truth.
    pub(in crate::train) truth: Truth,
}

impl Scene {
    /// `None` if the picture cannot be read, or has gone.
    fn open(card: &ModelCard, pictures: &dyn Source, index: usize) -> Option<Self> {
        let sample = (index < pictures.len()).then(|| pictures.sample(index))?.ok()?;
        let size = [SIDE.min(card.res) as usize; 2];
        let view = evaluation_geometry(sample.image.dimensions(), size, card.view());
        let image = evaluation_crop(&sample.image, size, card.view());
        Some(Self { index, name: pictures.name(index), image, view, truth: sample.truth })
    }

    /// An answer that was kept, `[height, width]` and its values, at the size of this picture: nearest values.
    pub(in crate::train) fn enlarged<T: Primitive>(
        &self,
        [height, width]: [usize; 2],
        values: Vec<T>,
    ) -> Option<ImageBuffer<Luma<T>, Vec<T>>>
    where
        Luma<T>: Pixel<Subpixel = T>,
    {
        let (map, size) = (ImageBuffer::from_raw(width as u32, height as u32, values)?, self.image.dimensions());
        // The resizing of `image` would cut depths off at 1 m.
        Some(ImageBuffer::from_fn(size.0, size.1, |x, y| {
            *map.get_pixel(x * map.width() / size.0, y * map.height() / size.1)
        }))
    }
}

/// A row of pictures, and what is written below it.
pub(in crate::train) struct Shown {
    /// Pictures side by side.
    pub(in crate::train) pictures: Vec<RgbImage>,
    /// What is wrong, in words.
    pub(in crate::train) fault: String,
    /// More words; may be empty.
    pub(in crate::train) words: String,
}

/// The worst pictures, given by index and what was found: as HTML below a note, which is HTML too, and as
/// `worst.png`, unless there are none. `draw` makes a row of one of them; those whose pictures have gone since are left
/// out.
pub(in crate::train) fn worst<T>(
    note: &str,
    found: impl IntoIterator<Item = (usize, T)>,
    card: &ModelCard,
    pictures: &dyn Source,
    draw: impl Fn(T, &Scene) -> Option<Shown>,
) -> Result<Section, Error> {
    let row = |(index, found): (usize, T)| {
        let scene = Scene::open(card, pictures, index)?;
        draw(found, &scene).map(|shown| (scene.index, scene.name, shown))
    };
    let rows: Vec<(usize, String, Shown)> = found.into_iter().filter_map(row).take(MOST).collect();
    if rows.is_empty() {
        return Ok(Section::default());
    }
    let html = html(note, &rows)?;
    let tile = |(index, _, shown): (usize, String, Shown)| {
        let words = [shown.fault, shown.words, format!("#{index}")];
        Tile { pictures: shown.pictures, words: words.into_iter().filter(|words| !words.is_empty()).collect() }
    };
    let tiles: Vec<Tile> = rows.into_iter().map(tile).collect();
    Ok(Section { html, drawings: vec![("worst.png", sheet(SIDE, &tiles)?)], ..Section::default() })
}

fn html(note: &str, rows: &[(usize, String, Shown)]) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Page<'a> {
        note: &'a str,
        rows: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        index: usize,
        name: &'a str,
        pictures: Vec<String>,
        fault: &'a str,
        words: &'a str,
    }
    fn row((index, name, shown): &(usize, String, Shown)) -> Result<Row<'_>, Error> {
        let uri = |picture: &RgbImage| Ok(data_uri(&png(picture).map_err(Error::draw)?));
        let pictures = shown.pictures.iter().map(uri).collect::<Result<_, Error>>()?;
        Ok(Row { index: *index, name, pictures, fault: &shown.fault, words: &shown.words })
    }
    let page = Page { note, rows: rows.iter().map(row).collect::<Result<_, _>>()? };
    render("scenes.html", include_str!("scenes.html"), &page).map_err(Error::draw)
}
