//! The section of the report with the confusion matrix and the worst mistakes.

use image::RgbImage;
use serde::Serialize;

use super::{Findings, Mistake};
use crate::data::Source;
use crate::train::Error;
use crate::train::plot::{Tile, png, sheet};
use crate::train::report::parts::{Confusion, Counted, Names};
use crate::train::report::{Section, THUMBNAIL, data_uri, percent, render, thumbnail};
use crate::weights::ModelCard;

/// The data of the template, which escapes every text but the matrix.
#[derive(Serialize)]
struct Shown {
    /// Number of epochs after which this was found.
    validated: u64,
    confusion: String,
    mistakes: Vec<Card>,
}

#[derive(Serialize)]
struct Card {
    picture: String,
    index: usize,
    label: String,
    predicted: String,
    probability: String,
}

/// The section, with `confusion.png` and `mistakes.png`.
pub(super) fn section(
    found: &crate::train::task::Findings,
    card: &ModelCard,
    pictures: &dyn Source,
) -> Result<Section, Error> {
    let Findings { confusion, mistakes } = found.parse()?;
    // Pictures may have been removed since.
    let thumbnail = |mistake: Mistake| Some((thumbnail(card, pictures, mistake.index)?, mistake));
    let mistakes: Vec<(RgbImage, Mistake)> = mistakes.into_iter().filter_map(thumbnail).collect();
    let names = Names(&card.classes);
    let confusion = Confusion { counts: &confusion, counted: Counted::Pictures, names };
    let mut drawings = Vec::new();
    drawings.extend(confusion.png()?.map(|png| ("confusion.png", png)));
    drawings.extend(drawn(names, &mistakes)?.map(|png| ("mistakes.png", png)));
    let shown = Shown {
        validated: found.epoch,
        confusion: confusion.html(found.epoch)?,
        mistakes: mistakes.iter().map(|mistake| shown(names, mistake)).collect::<Result<_, Error>>()?,
    };
    let classes = mistakes.iter().flat_map(|(_, mistake)| [mistake.label, mistake.predicted]);
    Ok(Section {
        html: render("section.html", include_str!("section.html"), &shown).map_err(Error::draw)?,
        footnote: names.footnote("confusion.png and mistakes.png", (0..confusion.shown()).chain(classes))?,
        drawings,
    })
}

fn shown(names: Names<'_>, (thumbnail, mistake): &(RgbImage, Mistake)) -> Result<Card, Error> {
    Ok(Card {
        picture: data_uri(&png(thumbnail).map_err(Error::draw)?),
        index: mistake.index,
        label: names.of(mistake.label),
        predicted: names.of(mistake.predicted),
        probability: percent(mistake.probability.into(), 0),
    })
}

/// The mistakes as PNG; `None` if there are none.
fn drawn(names: Names<'_>, mistakes: &[(RgbImage, Mistake)]) -> Result<Option<Vec<u8>>, Error> {
    let tile = |(thumbnail, mistake): &(RgbImage, Mistake)| {
        let [label, predicted] = [mistake.label, mistake.predicted].map(|class| names.drawn(class));
        let probability = percent(mistake.probability.into(), 0);
        let words = vec![format!("{predicted} {probability}"), format!("is {label}"), format!("#{}", mistake.index)];
        Tile { pictures: vec![thumbnail.clone()], words }
    };
    let tiles: Vec<Tile> = mistakes.iter().map(tile).collect();
    if tiles.is_empty() { Ok(None) } else { sheet(THUMBNAIL, &tiles).map(Some) }
}
