//! The section of the report with precision and recall, and the worst pictures.

use plotters::style::RGBColor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Findings, OfClass, Worst};
use crate::boxes::Object;
use crate::data::{Dataset, Source, Truth};
use crate::drawing::overlay::{Outline, box_colour, boxes};
use crate::drawing::{INK, PALETTE};
use crate::train::plot::{Curve, Panel, Picture};
use crate::train::report::parts::{Names, Scene, Shown, css, table, worst};
use crate::train::report::{Section, render};
use crate::train::task::Table;
use crate::train::{Error, Measure};
use crate::weights::ModelCard;
use crate::words::count;

/// The most classes whose curves are drawn.
const CURVES: usize = 8;
/// Colours of curves beside those of boxes; the palette's last one is too near to the mean's.
const MORE: [RGBColor; 2] = [RGBColor(0x8a, 0x4b, 0x08), RGBColor(0x7b, 0x4b, 0xc9)];

/// What COCO's numbers are, in the order of [`super::coco::MEASURES`].
const MEANINGS: [&str; 12] = [
    "mean over IoU 0.5 to 0.95",
    "at IoU 0.5",
    "at IoU 0.75",
    "of objects up to 32² px",
    "of objects of 32² to 96² px",
    "of objects from 96² px on",
    "recall with 1 box of a class in a picture",
    "recall with 10 boxes",
    "recall with 100 boxes",
    "recall of objects up to 32² px",
    "recall of objects of 32² to 96² px",
    "recall of objects from 96² px on",
];

/// The section, with `precision.png` and `worst.png`.
pub(super) fn section(
    found: &crate::train::task::Findings,
    card: &ModelCard,
    pictures: &dyn Source,
) -> Result<Section, Error> {
    #[derive(Serialize)]
    struct Page {
        validated: u64,
        few: bool,
        curves: String,
        classes: String,
        coco: String,
    }
    let findings: Findings = found.parse()?;
    let names = Names(super::of_data(card));
    let curves = curves(&findings, names);
    // The mean is the first row.
    let color = |row: usize| curves.iter().find(|curve| curve.row == row).map(|curve| css(curve.color));
    let marks: Vec<String> = (0..=findings.classes.len()).map(|row| color(row).unwrap_or_default()).collect();
    let on_page = Picture { width: 400, title: None, legend: Vec::new(), panels: vec![panel(&curves, 280)] };
    let page = Page {
        validated: found.epoch,
        few: curves.len() <= findings.classes.iter().flatten().count(),
        curves: on_page.svg()?,
        classes: table(&classes(&findings, names), &marks)?,
        coco: table(&coco(&findings), &[])?,
    };
    let mut html = render("section.html", include_str!("section.html"), &page).map_err(Error::draw)?;
    let note = format!(
        "The validation pictures with the fewest objects found and the most false alarms after epoch {}: the true \
         boxes on the left, on the right the boxes found with a score above 0.3. Wrong and missing boxes in the data \
         show up here first.",
        found.epoch
    );
    let worst_found = findings.worst.iter().map(|worst| (worst.index, worst));
    let worst = worst(&note, worst_found, card, pictures, |worst, scene| shown(worst, scene, names))?;
    html += &worst.html;
    let legend = curves.iter().map(|curve| (curve.name.clone(), rgb(curve.color))).collect();
    let title = Some(format!("Precision and recall after epoch {}", found.epoch));
    let picture = Picture { width: 960, title, legend, panels: vec![panel(&curves, 480)] };
    let mut drawings = vec![("precision.png", picture.png()?)];
    drawings.extend(worst.drawings);
    let footnote = names.footnote("precision.png and the boxes", 0..findings.classes.len())?;
    Ok(Section { html, footnote, drawings })
}

/// The curve of a row of the table.
struct Drawn {
    row: usize,
    name: String,
    color: [u8; 3],
    precisions: Vec<f64>,
}

/// The curves of the mean and of the classes; if there are too many, of those that are found worst.
fn curves(findings: &Findings, names: Names<'_>) -> Vec<Drawn> {
    let known: Vec<(usize, &OfClass)> =
        findings.classes.iter().enumerate().filter_map(|(class, found)| Some((class, found.as_ref()?))).collect();
    let mut drawn = known.clone();
    if findings.classes.len() > CURVES {
        drawn.sort_by(|a, b| a.1.ap50.total_cmp(&b.1.ap50));
        drawn.truncate(CURVES);
        drawn.sort_by_key(|(class, _)| *class);
    }
    let mean = |at: usize| {
        let precisions = known.iter().filter_map(|(_, found)| found.curve.get(at));
        precisions.sum::<f64>() / known.len().max(1) as f64
    };
    let points = known.iter().map(|(_, found)| found.curve.len()).max().unwrap_or(0);
    let mean = Drawn { row: 0, name: "mean".into(), color: bytes(INK), precisions: (0..points).map(mean).collect() };
    let colors = [&PALETTE[..PALETTE.len() - 1], &MORE].concat();
    let of_class = |(at, (class, found)): (usize, (usize, &OfClass))| Drawn {
        row: class + 1,
        name: names.drawn(class),
        // The colour of its boxes, unless there are too many classes.
        color: bytes(colors[if findings.classes.len() > CURVES { at } else { class }]),
        precisions: found.curve.clone(),
    };
    drawn.into_iter().enumerate().map(of_class).chain([mean]).collect()
}

/// Precision over recall, in percent.
fn panel(curves: &[Drawn], height: u32) -> Panel {
    let curve = |drawn: &Drawn| {
        let last = drawn.precisions.len().saturating_sub(1).max(1) as f64;
        let percent = |(at, precision): (usize, &f64)| (100.0 * at as f64 / last, 100.0 * precision);
        let points = drawn.precisions.iter().enumerate().map(percent).collect();
        Curve { points, color: rgb(drawn.color), pale: false, marked: false, ringed: None }
    };
    Panel {
        name: "Precision, %".into(),
        note: "the highest at a recall or more, at an overlap (IoU) of 0.5; the area below is AP at IoU 0.5".into(),
        color: INK,
        height,
        along: "recall, %",
        end: 100.0,
        values: 0.0..102.0,
        curves: curves.iter().map(curve).collect(),
    }
}

fn bytes(RGBColor(red, green, blue): RGBColor) -> [u8; 3] {
    [red, green, blue]
}

fn rgb([red, green, blue]: [u8; 3]) -> RGBColor {
    RGBColor(red, green, blue)
}

/// A share in a column of a table.
fn share(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:5.1} %", 100.0 * share))
}

/// The mean and each class.
fn classes(findings: &Findings, names: Names<'_>) -> Table {
    let row = |name: String, objects: usize, shares: [Option<f64>; 3]| {
        [name, objects.to_string()].into_iter().chain(shares.map(share)).collect()
    };
    let of_class = |(class, found): (usize, &Option<OfClass>)| {
        let shares = found.as_ref().map(|found| [Some(found.ap50), Some(found.ap), found.voc_ap50]);
        row(names.of(class), found.as_ref().map_or(0, |found| found.objects), shares.unwrap_or_default())
    };
    let known = || findings.classes.iter().flatten();
    let mean = |of: fn(&OfClass) -> Option<f64>| {
        let (sum, count) = known().filter_map(of).fold((0.0, 0), |(sum, count), share| (sum + share, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    };
    let means = [mean(|found| Some(found.ap50)), mean(|found| Some(found.ap)), mean(|found| found.voc_ap50)];
    let all = row("mean".to_owned(), known().map(|found| found.objects).sum(), means);
    Table {
        header: vec!["class", "objects", "AP at IoU 0.5", "AP", "VOC's AP"],
        rows: std::iter::once(all).chain(findings.classes.iter().enumerate().map(of_class)).collect(),
    }
}

/// COCO's numbers.
fn coco(findings: &Findings) -> Table {
    let row = |(measure, meaning): (&Measure, &str)| {
        let number = findings.coco.get(measure.name).filter(|number| number.is_finite());
        vec![measure.name.to_owned(), share(number), meaning.to_owned()]
    };
    Table { header: vec!["COCO", "", ""], rows: super::coco::MEASURES.iter().zip(MEANINGS).map(row).collect() }
}

/// Tables of the classes, COCO's numbers, and the worst pictures.
pub(super) fn tables(findings: &Value, card: &ModelCard, dataset: &Dataset) -> serde_json::Result<Vec<Table>> {
    let findings = Findings::deserialize(findings)?;
    let names = super::of_data(card);
    let names = Names(if names.is_empty() { &dataset.classes } else { names });
    let row = |worst: &Worst| {
        let numbers = [worst.index, worst.objects, worst.right, worst.found.len() - worst.right];
        numbers.map(|number| number.to_string()).into_iter().chain([dataset.val.name(worst.index)]).collect()
    };
    let header = vec!["picture", "objects", "found", "false alarms", "name"];
    let worst = Table { header, rows: findings.worst.iter().map(row).collect() };
    Ok(vec![classes(&findings, names), coco(&findings), worst])
}

/// The true boxes, and those found.
fn shown(worst: &Worst, scene: &Scene, names: Names<'_>) -> Option<Shown> {
    let Truth::Objects(objects) = &scene.truth else { return None };
    let with = |outlines: Vec<Outline>| {
        let mut picture = scene.image.clone();
        boxes(&mut picture, &outlines).ok().map(|()| picture)
    };
    let outline = |class: u32, bounds: [f32; 4], more: String| {
        let bounds = scene.view.bounds_to_input(bounds)?;
        let class = class as usize;
        Some(Outline { bounds, text: names.drawn(class) + &more, colour: box_colour(class) })
    };
    let of_truth = |object: &Object| {
        let kind = if object.crowd { " (crowd)" } else { ["", " (difficult)"][usize::from(object.difficult)] };
        outline(object.class, object.bounds, kind.to_owned())
    };
    let of_answer =
        |&(class, score, bounds): &(u32, f32, [f32; 4])| outline(class, bounds, format!(" {:.0} %", 100.0 * score));
    let pictures = [objects.iter().filter_map(of_truth).collect(), worst.found.iter().filter_map(of_answer).collect()];
    let false_alarms = worst.found.len() - worst.right;
    Some(Shown {
        pictures: pictures.into_iter().map(with).collect::<Option<_>>()?,
        fault: format!("{} of {} found", worst.right, worst.objects),
        words: if false_alarms > 0 { count(false_alarms, "false alarm") } else { String::new() },
    })
}
