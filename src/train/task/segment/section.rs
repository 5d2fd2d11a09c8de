//! The section of the report with the classes, what is taken for what, and the worst pictures.

use image::{DynamicImage, Luma, RgbImage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::metric::overlaps;
use super::{Findings, Worst};
use crate::data::{Dataset, IGNORED, Source, Truth};
use crate::drawing::overlay::{class_colour, mask};
use crate::train::Error;
use crate::train::report::parts::{Confusion, Counted, Names, Scene, Shown, confused, css, table, worst};
use crate::train::report::{Section, percent, render};
use crate::train::task::Table;
use crate::weights::ModelCard;

/// The most pairs of classes that a table lists.
const PAIRS: usize = 20;

/// The section, with `confusion.png` and `worst.png`.
pub(super) fn section(
    found: &crate::train::task::Findings,
    card: &ModelCard,
    pictures: &dyn Source,
) -> Result<Section, Error> {
    #[derive(Serialize)]
    struct Page {
        validated: u64,
        classes: String,
    }
    let findings: Findings = found.parse()?;
    let names = Names(&card.classes);
    // The first class has no colour in the pictures.
    let color = |class: usize| if class == 0 { String::new() } else { css(class_colour(class as u8).0) };
    let marks: Vec<String> = (0..findings.confusion.len()).map(color).collect();
    let page = Page { validated: found.epoch, classes: table(&classes(&findings, names), &marks)? };
    let mut html = render("section.html", include_str!("section.html"), &page).map_err(Error::draw)?;
    let confusion = Confusion { counts: &findings.confusion, counted: Counted::Pixels, names };
    html += &confusion.html(found.epoch)?;
    let note = format!(
        "The validation pictures with the fewest right pixels after epoch {}: the picture, the true mask, the \
         network's, in the colours of the classes above. Class 0 has no colour, nor have pixels that do not count. \
         Wrong masks in the data show up here first.",
        found.epoch
    );
    let worst_found = findings.worst.into_iter().map(|worst| (worst.index, worst));
    let worst = worst(&note, worst_found, card, pictures, shown)?;
    html += &worst.html;
    let mut drawings = Vec::new();
    drawings.extend(confusion.png()?.map(|png| ("confusion.png", png)));
    drawings.extend(worst.drawings);
    Ok(Section { html, footnote: names.footnote("confusion.png", 0..confusion.shown())?, drawings })
}

/// Each class.
fn classes(findings: &Findings, names: Names<'_>) -> Table {
    let counts = &findings.confusion;
    let overlaps = overlaps(&counts.concat(), counts.len());
    let all = counts.iter().flatten().sum::<u64>().max(1) as f64;
    let share = |share: f64| format!("{:5.1} %", 100.0 * share);
    let row = |(class, overlap): (usize, Option<f64>)| {
        let [is, taken]: [u64; 2] = [counts[class].iter().sum(), counts.iter().map(|row| row[class]).sum()];
        let shares = [is, taken].map(|pixels| share(pixels as f64 / all));
        [names.of(class), overlap.map_or("-".to_owned(), share)].into_iter().chain(shares).collect()
    };
    Table {
        header: vec!["class", "IoU", "of all pixels", "of the answers"],
        rows: overlaps.into_iter().enumerate().map(row).collect(),
    }
}

/// Tables of the classes, of what is taken for what, and of the worst pictures.
pub(super) fn tables(findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
    let findings = Findings::deserialize(findings)?;
    let names = Names(if card.classes.is_empty() { &dataset.classes } else { &card.classes });
    let pair = |(label, predicted, count): (usize, usize, u64)| {
        let share = count as f64 / findings.confusion[label].iter().sum::<u64>() as f64;
        vec![format!("{:.1} %", 100.0 * share), names.of(label), names.of(predicted)]
    };
    let worst = |worst: &Worst| {
        vec![worst.index.to_string(), format!("{:.1} %", 100.0 * worst.right), dataset.val.name(worst.index)]
    };
    Ok(vec![
        classes(&findings, names),
        Table {
            header: vec!["pixels", "of class", "taken for"],
            rows: confused(&findings.confusion).into_iter().take(PAIRS).map(pair).collect(),
        },
        Table { header: vec!["picture", "right", "name"], rows: findings.worst.iter().map(worst).collect() },
    ])
}

/// The picture, then the true mask and the predicted one over it.
fn shown(worst: Worst, scene: &Scene) -> Option<Shown> {
    let Truth::Mask(truth) = &scene.truth else { return None };
    let truth = scene.view.mask_to_input(truth);
    let mut predicted = scene.enlarged(worst.size, worst.predicted)?;
    // What is predicted for the border around the picture does not matter.
    let ignored = predicted.pixels_mut().zip(truth.pixels()).filter(|(_, truth)| truth[0] == IGNORED);
    ignored.for_each(|(pixel, _)| *pixel = Luma([IGNORED]));
    let pale = pale(&scene.image);
    let pictures = vec![scene.image.clone(), mask(&pale, &truth), mask(&pale, &predicted)];
    Some(Shown { pictures, fault: format!("{} right", percent(worst.right, 1)), words: String::new() })
}

/// A picture in pale grey, on which the colours of the classes can be told apart.
fn pale(picture: &RgbImage) -> RgbImage {
    let mut pale = DynamicImage::from(picture.clone()).grayscale().to_rgb8();
    pale.iter_mut().for_each(|value| *value = u8::midpoint(*value, u8::MAX));
    pale
}
