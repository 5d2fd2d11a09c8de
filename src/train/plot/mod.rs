//! Line charts as SVG and PNG; findings of a validation as PNG.

mod findings;

use std::ops::Range;

use image::RgbImage;
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

pub(super) use findings::{Shade, Tile, matrix, sheet};

use super::Error;
use crate::drawing::{CARRIED, DrawError, GRID, INK, PALE_INK, drawable, fitted, letters, width, wrapped};
pub(super) use crate::drawing::{PALETTE, png};

/// Points over the steps, or over another number.
pub(super) type Points = Vec<(f64, f64)>;

/// Heights of the heading and of a line of the legend, px.
const HEADING: u32 = 40;
const LEGEND_LINE: u32 = 22;
/// Where a name of the legend begins in its column, px.
const LEGEND_NAME: u32 = 30;
/// Margin beside texts, px.
const MARGIN: u32 = 24;
/// Columns that a long series is reduced to: about two pixels each on a page 960 px wide.
const COLUMNS: usize = 440;

/// A line of a chart.
pub(super) struct Curve {
    /// Its points, in order of their first coordinate.
    pub points: Points,
    /// Its colour.
    pub color: RGBColor,
    /// Whether it is thin and pale.
    pub pale: bool,
    /// Whether its points are marked.
    pub marked: bool,
    /// A point to draw a ring around.
    pub ringed: Option<(f64, f64)>,
}

/// A chart over the steps, or over another number from 0 on.
pub(super) struct Panel {
    /// What it shows.
    pub name: String,
    /// A remark beside the name.
    pub note: String,
    /// Colour of the name.
    pub color: RGBColor,
    /// Height with its heading, px.
    pub height: u32,
    /// What its horizontal axis shows: `step`.
    pub along: &'static str,
    /// The value at its right edge.
    pub end: f64,
    /// Values at its lower and upper edge.
    pub values: Range<f64>,
    /// Lines, back to front.
    pub curves: Vec<Curve>,
}

/// Charts below each other.
pub(super) struct Picture {
    /// Width, px.
    pub width: u32,
    /// Heading; without one, the charts' names are left out too.
    pub title: Option<String>,
    /// Names of colours, side by side in columns where they fit.
    pub legend: Vec<(String, RGBColor)>,
    /// The charts.
    pub panels: Vec<Panel>,
}

impl Picture {
    pub(super) fn svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        // A browser has its own fonts.
        self.paint(SVGBackend::with_string(&mut svg, self.size()), str::to_owned).map_err(Error::draw)?;
        Ok(svg)
    }

    pub(super) fn png(&self) -> Result<Vec<u8>, Error> {
        let (width, height) = self.size();
        let mut picture = RgbImage::new(width, height);
        self.paint(BitMapBackend::with_buffer(&mut picture, (width, height)), drawable).map_err(Error::draw)?;
        png(&picture).map_err(Error::draw)
    }

    fn size(&self) -> (u32, u32) {
        let heading = if self.title.is_some() { HEADING } else { 0 };
        let panels: u32 = self.panels.iter().map(|panel| panel.height).sum();
        let legend = self.legend.len().div_ceil(self.legend_columns()) as u32 * LEGEND_LINE;
        (self.width, heading + legend + panels)
    }

    /// Number of columns of the legend. Each is as wide as the longest name and a gap, which is as wide as the margin.
    fn legend_columns(&self) -> usize {
        let longest = self.legend.iter().map(|(name, _)| width(name, 14)).max().unwrap_or(0);
        ((self.width - MARGIN) / (LEGEND_NAME + longest + MARGIN)).max(1) as usize
    }

    /// `shown` returns the text that the backend can show.
    fn paint<B: DrawingBackend>(&self, backend: B, shown: fn(&str) -> String) -> Result<(), DrawError<B>> {
        let page = backend.into_drawing_area();
        page.fill(&WHITE)?;
        let mut rest = page.clone();
        let mut below = |height| {
            let (above, below) = rest.split_vertically(height);
            rest = below;
            above
        };
        if let Some(title) = &self.title {
            let title = fitted(&shown(title), 20, self.width - 2 * MARGIN);
            letters(20, INK).write(&below(HEADING), &title, (MARGIN as i32, 14))?;
        }
        let columns = self.legend_columns();
        let column_width = (self.width - MARGIN) / columns as u32;
        for row in self.legend.chunks(columns) {
            let line = below(LEGEND_LINE);
            for ((name, color), left) in row.iter().zip((MARGIN..).step_by(column_width as usize)) {
                let (left, name_left) = (left as i32, (left + LEGEND_NAME) as i32);
                line.draw(&Rectangle::new([(left, 8), (left + 20, 12)], color.filled()))?;
                let name = fitted(&shown(name), 14, column_width - LEGEND_NAME - MARGIN);
                letters(14, INK).write(&line, &name, (name_left, 3))?;
            }
        }
        for panel in &self.panels {
            panel.paint(&below(panel.height), self.title.is_some())?;
        }
        page.present()
    }
}

impl Panel {
    fn paint<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, named: bool) -> Result<(), DrawError<B>> {
        let (width_px, height_px) = area.dim_in_pixel();
        let mut heading = 8;
        if named {
            letters(16, self.color).write(area, &self.name, (MARGIN as i32, 6))?;
            let note_x = 200.max(2 * MARGIN + width(&self.name, 16));
            let note = wrapped(&self.note, 14, width_px - note_x - MARGIN, 3);
            for (line, y) in note.iter().zip((7..).step_by(18)) {
                letters(14, PALE_INK).write(area, line, (note_x as i32, y))?;
            }
            heading = 12 + 18 * note.len() as u32;
        }
        // The last label may be centred below the right edge.
        let beyond = width(&format!("{:.0}", self.end), 14) / 2;
        let mut chart: ChartContext<'_, B, Cartesian2d<RangedCoordf64, RangedCoordf64>> = ChartBuilder::on(area)
            .margin_top(heading)
            .margin_right(MARGIN.max(beyond + 4))
            .margin_left(if named { 16 } else { 0 })
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..self.end.max(10.0), self.values.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(PALE_INK)
            .label_style(letters(14, PALE_INK).style(CARRIED))
            .x_desc(self.along)
            .axis_desc_style(letters(14, PALE_INK).style(CARRIED))
            .x_labels(width_px as usize / 96)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| number(*value, self.values.end - self.values.start))
            .y_labels(height_px as usize / 48)
            .draw()?;
        for Curve { points, color, pale, marked, ringed } in &self.curves {
            let style = if *pale { color.mix(0.3).stroke_width(1) } else { color.stroke_width(2) };
            chart.draw_series(LineSeries::new(thinned(points), style))?;
            if *marked && points.len() <= 60 {
                chart.draw_series(points.iter().map(|&at| Circle::new(at, 3, color.filled())))?;
            }
            if let Some(at) = *ringed {
                chart.draw_series([Circle::new(at, 6, color.stroke_width(2))])?;
            }
        }
        Ok(())
    }
}

/// A value on an axis with this span, with as many digits as distinguish the values. Values with many zeros after the
/// point would not fit the margin.
fn number(value: f64, span: f64) -> String {
    let decimals = (1.0 - span.log10().floor()).clamp(0.0, 9.0) as usize;
    if decimals < 5 { format!("{value:.decimals$}") } else { format!("{value:.1e}") }
}

/// The range of the values with a margin; a default range if there are none.
pub(super) fn range<'a>(points: impl IntoIterator<Item = &'a (f64, f64)>) -> Range<f64> {
    let (low, high) = points.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.1), h.max(p.1)));
    if low > high {
        return 0.0..1.0;
    }
    let room = 0.05 * (high - low).max(0.1 * high.abs()).max(1e-9);
    low - room..high + room
}

/// Moving average over a fiftieth of the points; the window is clipped at the ends.
pub(super) fn smoothed(points: &[(f64, f64)]) -> Points {
    let mut sums = vec![0.0];
    sums.extend(points.iter().scan(0.0, |sum, p| {
        *sum += p.1;
        Some(*sum)
    }));
    let reach = points.len() / 100;
    let mean = |(i, &(x, _)): (usize, &(f64, f64))| {
        let (start, end) = (i.saturating_sub(reach), (i + reach + 1).min(points.len()));
        (x, (sums[end] - sums[start]) / (end - start) as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

/// The lowest and highest point of each column, in order: all that is visible of a long series.
fn thinned(points: &[(f64, f64)]) -> Points {
    if points.len() <= 2 * COLUMNS {
        return points.to_vec();
    }
    let extremes = |column: &[(f64, f64)]| {
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_by(|&a, &b| column[a].1.total_cmp(&column[b].1));
        let (low, high) = (order[0], order[order.len() - 1]);
        [column[low.min(high)], column[low.max(high)]]
    };
    points.chunks(points.len().div_ceil(COLUMNS)).flat_map(extremes).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_calms_noise() {
        let constant: Points = (0..500).map(|i| (f64::from(i), 2.0)).collect();
        assert!(smoothed(&constant).iter().all(|p| (p.1 - 2.0).abs() < 1e-12));
        let noisy: Points = (0..500).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        // Windows of 6 to 11 points, each with at most one odd point out.
        assert!(smoothed(&noisy).iter().all(|p| (p.1 - 0.5).abs() <= 0.5 / 6.0));
        assert_eq!(smoothed(&noisy[..1]), noisy[..1]);
    }

    #[test]
    fn numbers_of_an_axis_differ_and_are_short() {
        for (span, values, expected) in [
            (60.0, [0.0, 20.0], ["0", "20"]),
            (1.5, [0.5, 1.0], ["0.5", "1.0"]),
            (0.6, [60.1, 60.2], ["60.10", "60.20"]),
            (2e-5, [1e-5, 1.5e-5], ["1.0e-5", "1.5e-5"]),
        ] {
            assert_eq!(values.map(|value| number(value, span)), expected);
        }
    }

    #[test]
    fn thinning_keeps_the_extremes_in_order() {
        let mut points: Points = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        (points[5_000].1, points[5_001].1) = (9.0, -9.0);
        let thin = thinned(&points);
        assert!(thin.len() <= 2 * COLUMNS && thin.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(thin.contains(&(5_000.0, 9.0)) && thin.contains(&(5_001.0, -9.0)));
    }

    /// A chart 200 px high without curves.
    fn empty(name: &str) -> Panel {
        Panel {
            name: name.into(),
            note: String::new(),
            color: INK,
            height: 200,
            along: "step",
            end: 10.0,
            values: 0.0..1.0,
            curves: vec![],
        }
    }

    fn drawn(picture: &Picture) -> RgbImage {
        image::load_from_memory(&picture.png().unwrap()).unwrap().to_rgb8()
    }

    /// Long names, long notes and many digits.
    #[test]
    fn a_chart_cuts_no_text() {
        let name = "W".repeat(200);
        for width in [400, 960] {
            let panel = Panel { note: name.clone(), end: 1e9, values: 1e-7..2e-7, ..empty("Validation top-1, %") };
            let legend = vec![(name.clone(), INK)];
            let picture = drawn(&Picture { width, title: Some(name.clone()), legend, panels: vec![panel] });
            assert!(crate::drawing::has_margins(&picture), "{width} px");
        }
    }

    #[test]
    fn a_legend_has_as_many_columns_as_fit() {
        let lines = |names: &[&str]| {
            let legend = names.iter().map(|name| ((*name).to_owned(), INK)).collect();
            let picture = drawn(&Picture { width: 400, title: Some("t".into()), legend, panels: vec![empty("Loss")] });
            assert!(crate::drawing::has_margins(&picture), "{names:?}");
            (picture.height() - HEADING - 200) / LEGEND_LINE
        };
        assert_eq!(lines(&["star", "ring", "heart", "cross"]), 1);
        assert_eq!(lines(&["star", "ring", "heart", "cross", "circle"]), 2);
        assert_eq!(lines(&["star", &"W".repeat(20), "ring"]), 3);
        assert_eq!(lines(&["star", &"W".repeat(200)]), 2);
    }

    /// Letters, grid and curve appear without any font of the machine.
    #[test]
    fn a_png_shows_the_curve_and_its_labels() {
        let curve = || Curve {
            points: vec![(0.0, 0.0), (9.0, 1.0)],
            color: PALETTE[0],
            pale: false,
            marked: false,
            ringed: None,
        };
        let panel = |name| Panel { curves: vec![curve()], ..empty(name) };
        let pixels =
            |name| drawn(&Picture { width: 400, title: Some("t".into()), legend: vec![], panels: vec![panel(name)] });
        let plain = pixels("");
        assert_eq!(plain.dimensions(), (400, 240));
        assert!(plain.pixels().filter(|p| p.0 == [0x00, 0x72, 0xb2]).count() > 300);
        let dark = |picture: &RgbImage| picture.enumerate_pixels().filter(|(_, y, p)| *y < 70 && p.0[0] < 0x80).count();
        assert!(dark(&pixels("Loss")) > dark(&plain) + 30);
    }
}
