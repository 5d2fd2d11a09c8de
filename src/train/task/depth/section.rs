//! The section of the report with the errors, and the worst pictures.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Findings, MEASURES, Worst};
use crate::data::{Dataset, DepthMap, Source, Truth};
use crate::drawing::overlay::depth;
use crate::drawing::png;
use crate::train::report::parts::{Scene, Shown, table, worst};
use crate::train::report::{Section, data_uri, percent, render};
use crate::train::task::Table;
use crate::train::{Error, Measure};
use crate::weights::ModelCard;

/// What the numbers are, in the order of [`MEASURES`]. p is a pixel's predicted depth, g the true one.
const MEANINGS: [&str; 7] = [
    "of the pixels are wrong by less than a factor of 1.25",
    "by less than 1.25² = 1.56",
    "by less than 1.25³ = 1.95",
    "mean of |p - g| / g",
    "root of the mean of (p - g)²",
    "mean of |log10 p - log10 g|",
    "100 times the standard deviation of ln p - ln g: without the common factor of all depths of a picture",
];

/// The section, with `worst.png`.
pub(super) fn section(
    found: &crate::train::task::Findings,
    card: &ModelCard,
    pictures: &dyn Source,
) -> Result<Section, Error> {
    #[derive(Serialize)]
    struct Page {
        validated: u64,
        errors: String,
    }
    let findings: Findings = found.parse()?;
    let page = Page { validated: found.epoch, errors: table(&errors(&findings), &[])? };
    let mut html = render("section.html", include_str!("section.html"), &page).map_err(Error::draw)?;
    let range = range(&findings.worst);
    let [near, far] = range;
    let scale = DepthMap::from_fn(64, 1, |x, _| image::Luma([near + (far - near) * x as f32 / 63.0]));
    let scale = data_uri(&png(&depth(&scale, range)).map_err(Error::draw)?);
    let note = format!(
        "The validation pictures with the fewest depths that are wrong by less than a factor of 1.25, after epoch {}: \
         the picture, the true depths, the network's. All have one scale, from {near:.1} m \
         <img class=\"scale\" src=\"{scale}\" alt=\"from yellow to blue\"> to {far:.1} m; where the depth is unknown \
         it is black. Wrong depths in the data show up here first.",
        found.epoch
    );
    let worst_found = findings.worst.into_iter().map(|worst| (worst.index, worst));
    let worst = worst(&note, worst_found, card, pictures, |worst, scene| shown(worst, scene, range))?;
    html += &worst.html;
    Ok(Section { html, footnote: String::new(), drawings: worst.drawings })
}

/// The least and the greatest of the true depths, metres.
fn range(worst: &[Worst]) -> [f32; 2] {
    let near = worst.iter().map(|worst| worst.truth_mm[0]).min().unwrap_or(0);
    let far = worst.iter().map(|worst| worst.truth_mm[1]).max().unwrap_or(0);
    [near, far].map(metres)
}

fn metres(millimetres: u32) -> f32 {
    millimetres as f32 / 1e3
}

fn errors(findings: &Findings) -> Table {
    let row = |(measure, meaning): (&Measure, &str)| {
        let number = findings.errors.get(measure.name).filter(|number| number.is_finite());
        vec![measure.label.to_owned(), number.map_or("-".to_owned(), |number| measure.text(number)), meaning.to_owned()]
    };
    Table { header: vec!["error", "", ""], rows: MEASURES.iter().zip(MEANINGS).map(row).collect() }
}

/// A table of the worst pictures: an evaluation prints the errors already.
pub(super) fn tables(findings: &Value, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
    let findings = Findings::deserialize(findings)?;
    let row = |worst: &Worst| {
        let range = worst.truth_mm.map(|depth| format!("{:.1} m", metres(depth)));
        let delta1 = format!("{:.1} %", 100.0 * worst.delta1);
        [worst.index.to_string(), delta1].into_iter().chain(range).chain([dataset.val.name(worst.index)]).collect()
    };
    let header = vec!["picture", "delta 1", "from", "to", "name"];
    Ok(vec![Table { header, rows: findings.worst.iter().map(row).collect() }])
}

/// The picture, its true depths, and the predicted ones.
fn shown(worst: Worst, scene: &Scene, range: [f32; 2]) -> Option<Shown> {
    let Truth::Depth(truth) = &scene.truth else { return None };
    let truth = scene.view.depth_to_input(truth);
    let predicted = scene.enlarged(worst.size, worst.predicted_mm.into_iter().map(metres).collect())?;
    let [near, far] = worst.truth_mm.map(metres);
    Some(Shown {
        pictures: vec![scene.image.clone(), depth(&truth, range), depth(&predicted, range)],
        fault: format!("{} nearly right", percent(worst.delta1, 1)),
        words: format!("{near:.1} to {far:.1} m"),
    })
}
