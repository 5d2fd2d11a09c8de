//! Several runs in one drawing.

use plotters::style::{Color, HSLColor, RGBColor};

use super::super::curves::{Series, best};
use super::super::plot::{Curve, PALETTE, Panel, Picture, Points, range, smoothed};
use super::super::{Error, Line, Measure};

/// Draws the validations' goal number and the smoothed loss of several runs over their steps, one colour per run.
/// `runs` holds each run's name and lines. Returns the bytes of a PNG or SVG file.
///
/// # Errors
/// The picture cannot be drawn.
pub fn compare(runs: &[(String, Vec<Line>)], goal: Measure, as_png: bool) -> Result<Vec<u8>, Error> {
    let series: Vec<Series> = runs.iter().map(|(_, lines)| Series::new(goal, lines)).collect();
    let steps = series.iter().map(|s| s.steps).fold(0.0, f64::max);
    let panel = |name: &str, note: &str, curves: Vec<(Points, bool)>| Panel {
        name: name.into(),
        note: note.into(),
        color: PALETTE[6],
        height: 320,
        along: "step",
        end: steps,
        values: range(curves.iter().flat_map(|(points, _)| points)),
        curves: curves
            .into_iter()
            .enumerate()
            .map(|(i, (points, marked))| (i, if marked { best(goal, &points) } else { None }, points, marked))
            .map(|(i, ringed, points, marked)| Curve {
                points,
                color: color(i, runs.len()),
                pale: false,
                marked,
                ringed,
            })
            .collect(),
    };
    let further = |s: &Series| match (best(goal, &s.ema), best(goal, &s.val)) {
        (Some(ema), val) if val.is_none_or(|val| goal.is_better(ema.1, val.1)) => s.ema.clone(),
        _ => s.val.clone(),
    };
    let numbers = series.iter().map(|s| (further(s), true)).collect();
    let loss = series.iter().map(|s| (smoothed(&s.loss), false)).collect();
    let picture = Picture {
        width: 960,
        title: Some(format!("{} runs", runs.len())),
        legend: runs.iter().enumerate().map(|(i, (name, _))| (name.clone(), color(i, runs.len()))).collect(),
        panels: vec![
            panel(
                &format!("Validation {}", goal.label_with_unit()),
                "after each epoch, of averaged weights where they came further; ringed: the best one",
                numbers,
            ),
            panel("Training loss", "smoothed", loss),
        ],
    };
    if as_png { picture.png() } else { Ok(picture.svg()?.into_bytes()) }
}

/// Distinct colours: the palette's, or evenly spaced hues if there are too few.
fn color(i: usize, count: usize) -> RGBColor {
    if count <= PALETTE.len() {
        return PALETTE[i];
    }
    let (r, g, b) = HSLColor(i as f64 / count as f64, 0.7, 0.42).to_backend_color().rgb;
    RGBColor(r, g, b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::super::super::numbers::tests::GOAL;
    use super::super::super::{EpochLine, Numbers, StepLine};
    use super::*;

    #[test]
    fn draws_every_run_in_its_colour() {
        for count in [1, 3, 7, 8, 20] {
            let run = |i: usize| {
                let step = |step| Line::Step(StepLine { step, loss: 3.0 - i as f32 * 0.1, ..StepLine::default() });
                let epoch = Line::Epoch(EpochLine::new(0, &Numbers::default().with(GOAL.name, 0.5), None));
                // The first run has no validation yet.
                let lines = (0..9).map(step).chain((i > 0).then_some(epoch)).collect();
                (format!("<run {i}>"), lines)
            };
            let svg = compare(&(0..count).map(run).collect::<Vec<_>>(), GOAL, false).unwrap();
            let svg = String::from_utf8(svg).unwrap();
            let colors: BTreeSet<_> = (0..count).map(|i| color(i, count)).map(|c| (c.0, c.1, c.2)).collect();
            assert_eq!(colors.len(), count);
            for (i, (r, g, b)) in (0..count).map(|i| color(i, count)).map(|c| (c.0, c.1, c.2)).enumerate() {
                let stroke = format!("stroke=\"#{r:02X}{g:02X}{b:02X}\"");
                assert!(svg.contains(&stroke) && svg.contains(&format!("&lt;run {i}&gt;")), "{i} of {count}: {svg}");
            }
        }
    }
}
