//! Several runs in one drawing.

use plotters::style::{Color, HSLColor, RGBColor};

use super::super::curves::Series;
use super::super::plot::{Curve, PALETTE, Panel, Picture, Points, highest, range, smoothed};
use super::super::{Error, Line};

/// Draws the validation top-1 and the smoothed loss of runs over their steps, a colour a run; as the bytes of a PNG or SVG file. Runs
/// come with their name.
///
/// # Errors
/// The picture cannot be drawn.
pub fn compare(runs: &[(String, Vec<Line>)], as_png: bool) -> Result<Vec<u8>, Error> {
    let series: Vec<Series> = runs.iter().map(|(_, lines)| Series::new(lines)).collect();
    let steps = series.iter().map(|s| s.steps).fold(0.0, f64::max);
    let panel = |name: &str, note: &str, curves: Vec<(Points, bool)>| Panel {
        name: name.into(),
        note: note.into(),
        color: PALETTE[6],
        height: 320,
        steps,
        values: range(curves.iter().flat_map(|(points, _)| points)),
        curves: curves
            .into_iter()
            .enumerate()
            .map(|(i, (points, marked))| Curve {
                points,
                color: color(i, runs.len()),
                pale: false,
                marked,
                ringed: marked,
            })
            .collect(),
    };
    let best = |points: &Points| highest(points).map_or(f64::NEG_INFINITY, |(_, top1)| top1);
    let further = |s: &Series| if best(&s.ema_top1) > best(&s.top1) { s.ema_top1.clone() } else { s.top1.clone() };
    let top1 = series.iter().map(|s| (further(s), true)).collect();
    let loss = series.iter().map(|s| (smoothed(&s.loss), false)).collect();
    let picture = Picture {
        width: 960,
        title: Some(format!("{} runs", runs.len())),
        legend: runs.iter().enumerate().map(|(i, (name, _))| (name.clone(), color(i, runs.len()))).collect(),
        panels: vec![
            panel(
                "Validation top-1, %",
                "after each epoch, of averaged weights where they came further; ringed: the best one",
                top1,
            ),
            panel("Training loss", "smoothed", loss),
        ],
    };
    if as_png { picture.png() } else { Ok(picture.svg()?.into_bytes()) }
}

/// Colours apart from each other: the palette's, or hues around the circle where it does not suffice.
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

    use super::super::super::{EpochLine, StepLine};
    use super::*;

    #[test]
    fn draws_every_run_in_its_colour() {
        for count in [1, 3, 7, 8, 20] {
            let run = |i: usize| {
                let step = |step| Line::Step(StepLine { step, loss: 3.0 - i as f32 * 0.1, ..StepLine::default() });
                let epoch = Line::Epoch(EpochLine { val_top1: 0.5, ..EpochLine::default() });
                // The first has validated nothing yet.
                let lines = (0..9).map(step).chain((i > 0).then_some(epoch)).collect();
                (format!("<run {i}>"), lines)
            };
            let svg = compare(&(0..count).map(run).collect::<Vec<_>>(), false).unwrap();
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
