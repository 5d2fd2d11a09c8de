//! Charts of points on logarithmic or linear axes, and roofs over them, as SVG and PNG.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::drawing::{DrawError, GRID, INK, PALE_INK, letters, png, width};

/// Size of a chart, px, and of the room around the points.
const WIDTH: u32 = 620;
const HEIGHT: u32 = 420;
const LEFT: i32 = 64;
const RIGHT: i32 = 24;
const TOP: i32 = 16;
const BOTTOM: i32 = 52;

/// The marker of a family's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Disc,
    Ring,
    Triangle,
    Cross,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Its label, drawn if there is room.
    pub(super) label: String,
    pub(super) color: RGBColor,
    pub(super) marker: Marker,
    /// Whether it is noisy; noisy points are drawn pale.
    pub(super) noisy: bool,
}

/// An upper bound: the smaller of a constant and a line through the origin.
#[derive(Clone, Debug)]
pub(super) struct Roof {
    /// The constant.
    pub(super) flat: f64,
    /// Slope of the line.
    pub(super) slope: f64,
    pub(super) color: RGBColor,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) logarithmic: bool,
}

/// Points on two axes.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) points: Vec<Point>,
    pub(super) roofs: Vec<Roof>,
}

/// From values to pixels along an axis.
struct Scale {
    logarithmic: bool,
    /// In the axis's own units: logarithms if the axis is logarithmic.
    low: f64,
    high: f64,
    from_px: f64,
    to_px: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, [from_px, to_px]: [i32; 2]) -> Self {
        let own = |v: f64| if axis.logarithmic { v.log10() } else { v };
        let (low, high) = values
            .filter(|v| v.is_finite() && (*v > 0.0 || !axis.logarithmic))
            .map(own)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let room = 0.08 * (high - low).max(if axis.logarithmic { 0.3 } else { 0.05 * high.abs().max(1e-9) });
        let (from_px, to_px) = (f64::from(from_px), f64::from(to_px));
        Self { logarithmic: axis.logarithmic, low: low - room, high: high + room, from_px, to_px }
    }

    fn px(&self, value: f64) -> i32 {
        let own = if self.logarithmic { value.log10() } else { value };
        let share = ((own - self.low) / (self.high - self.low)).clamp(-0.5, 1.5);
        (self.from_px + share * (self.to_px - self.from_px)).round() as i32
    }

    /// Round values at which grid lines are drawn.
    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let rough = (self.high - self.low) / 6.0;
            let unit = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * unit).into_iter().find(|s| *s >= rough).unwrap_or(10.0 * unit);
            let first = (self.low / step).ceil() as i64;
            return (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.high).collect();
        }
        // The start of each decade, or more round numbers of each decade until there are three; if the range is too
        // small for that, as on a linear axis.
        let within = |factors: &[f64]| -> Vec<f64> {
            let decades = self.low.floor() as i32..=self.high.ceil() as i32;
            let all = decades.flat_map(|d| factors.iter().map(move |f| f * 10f64.powi(d)));
            all.filter(|v| (self.low..=self.high).contains(&v.log10())).collect()
        };
        let digits: [f64; 9] = std::array::from_fn(|i| (i + 1) as f64);
        let enough = [&[1.0][..], &[1.0, 2.0, 5.0], &digits].into_iter().map(within).find(|ticks| ticks.len() >= 3);
        enough.unwrap_or_else(|| {
            let (low, high) = (10f64.powf(self.low), 10f64.powf(self.high));
            Self { logarithmic: false, low, high, ..*self }.ticks()
        })
    }
}

/// A round number without needless digits: `0.05`, `20`, `5k`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Nine digits hide the error of binary fractions.
    let digits = format!("{scaled:.9}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

impl Chart {
    pub(super) fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        self.paint(SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT))).map_err(|e| e.to_string())?;
        Ok(svg)
    }

    pub(super) fn png(&self) -> Result<Vec<u8>, String> {
        let mut picture = RgbImage::new(WIDTH, HEIGHT);
        self.paint(BitMapBackend::with_buffer(&mut picture, (WIDTH, HEIGHT))).map_err(|e| e.to_string())?;
        png(&picture).map_err(|e| e.to_string())
    }

    fn paint<B: DrawingBackend>(&self, backend: B) -> Result<(), DrawError<B>> {
        let page = backend.into_drawing_area();
        page.fill(&WHITE)?;
        let (right, bottom) = (WIDTH as i32 - RIGHT, HEIGHT as i32 - BOTTOM);
        let x = Scale::new(&self.x, self.points.iter().map(|p| p.x), [LEFT, right]);
        let roofs = self.roofs.iter().map(|roof| roof.flat);
        let y = Scale::new(&self.y, self.points.iter().map(|p| p.y).chain(roofs), [bottom, TOP]);
        for tick in x.ticks() {
            let at = x.px(tick);
            page.draw(&PathElement::new([(at, TOP), (at, bottom)], GRID))?;
            letters(14, PALE_INK).at(HPos::Center, VPos::Top).write(&page, &short(tick), (at, bottom + 6))?;
        }
        for tick in y.ticks() {
            let at = y.px(tick);
            page.draw(&PathElement::new([(LEFT, at), (right, at)], GRID))?;
            letters(14, PALE_INK).at(HPos::Right, VPos::Center).write(&page, &short(tick), (LEFT - 8, at))?;
        }
        let (below, middle) = (letters(14, PALE_INK).at(HPos::Center, VPos::Bottom), (LEFT + right) / 2);
        below.write(&page, self.x.name, (middle, HEIGHT as i32 - 4))?;
        letters(14, PALE_INK).write(&page, self.y.name, (LEFT + 6, TOP - 8))?;
        for roof in &self.roofs {
            roof.paint(&page, &x, &y)?;
        }
        let mut taken: Vec<[i32; 4]> = Vec::new();
        for point in &self.points {
            let at = (x.px(point.x), y.px(point.y));
            point.paint(&page, at)?;
            taken.push([at.0 - 5, at.1 - 5, at.0 + 5, at.1 + 5]);
        }
        for point in &self.points {
            let at = (x.px(point.x), y.px(point.y));
            let width = width(&point.label, 12) as i32;
            // To the right of the point, left, above or below: the first free place, else none.
            let places = [(8, -7), (-8 - width, -7), (-width / 2, -21), (-width / 2, 7)];
            let free = places.map(|(dx, dy)| (at.0 + dx, at.1 + dy)).into_iter().find(|&(left, top)| {
                let own = [left, top, left + width, top + 13];
                let within = left >= LEFT && own[2] <= WIDTH as i32 && top >= 0 && own[3] <= bottom;
                within && taken.iter().all(|t| own[0] > t[2] || own[2] < t[0] || own[1] > t[3] || own[3] < t[1])
            });
            if let Some((left, top)) = free.filter(|_| !point.label.is_empty()) {
                letters(12, INK).write(&page, &point.label, (left, top))?;
                taken.push([left, top, left + width, top + 13]);
            }
        }
        page.present()
    }
}

impl Roof {
    fn paint<B: DrawingBackend>(&self, page: &DrawingArea<B, Shift>, x: &Scale, y: &Scale) -> Result<(), DrawError<B>> {
        let (from, to) = (10f64.powf(x.low), 10f64.powf(x.high));
        let ridge = (self.flat / self.slope).clamp(from, to);
        let height = |at: f64| (self.slope * at).min(self.flat);
        let line = [from, ridge, to].map(|at| (x.px(at), y.px(height(at)).clamp(TOP, HEIGHT as i32 - BOTTOM)));
        page.draw(&PathElement::new(line, self.color.stroke_width(2)))
    }
}

impl Point {
    fn paint<B: DrawingBackend>(&self, page: &DrawingArea<B, Shift>, at: (i32, i32)) -> Result<(), DrawError<B>> {
        let color = self.color.mix(if self.noisy { 0.4 } else { 1.0 });
        match self.marker {
            Marker::Disc => page.draw(&Circle::new(at, 4, color.filled())),
            Marker::Ring => page.draw(&Circle::new(at, 4, color.stroke_width(2))),
            Marker::Triangle => page.draw(&TriangleMarker::new(at, 6, color.filled())),
            Marker::Cross => page.draw(&plotters::element::Cross::new(at, 4, color.stroke_width(2))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drawing::PALETTE;

    #[test]
    fn ticks_are_round_and_within() {
        let log = |low: f64, high: f64| {
            let axis = Axis { name: "", logarithmic: true };
            Scale::new(&axis, [low, high].into_iter(), [0, 100]).ticks()
        };
        assert_eq!(log(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log(1.0, 1e4).len(), 5);
        assert!(log(4.56, 4.56).len() >= 3, "{:?}", log(4.56, 4.56));
        let linear = Scale::new(&Axis { name: "", logarithmic: false }, [76.0, 85.0].into_iter(), [0, 100]).ticks();
        assert_eq!(linear, [76.0, 78.0, 80.0, 82.0, 84.0]);
        assert_eq!(["0.05", "20", "12k", "1.5M"], [0.05, 20.0, 12e3, 1.5e6].map(short));
    }

    #[test]
    fn points_and_roofs_are_drawn_and_labels_do_not_meet() {
        let point = |x: f64, y: f64, label: &str| Point {
            x,
            y,
            label: label.into(),
            color: PALETTE[0],
            marker: Marker::Disc,
            noisy: false,
        };
        let chart = Chart {
            x: Axis { name: "GFLOPs", logarithmic: true },
            y: Axis { name: "ms", logarithmic: true },
            points: vec![point(1.0, 10.0, "RS-50"), point(1.0, 10.0, "its twin"), point(70.0, 900.0, "RS-350")],
            roofs: vec![Roof { flat: 500.0, slope: 20.0, color: PALETTE[1] }],
        };
        let svg = chart.svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("RS-50") && svg.contains("its twin") && svg.contains("RS-350") && svg.contains("GFLOPs"));
        assert!(svg.contains("#D55E00"), "the roof");
        let picture = image::load_from_memory(&chart.png().unwrap()).unwrap().to_rgb8();
        assert!(picture.pixels().filter(|p| p.0 == [0x00, 0x72, 0xb2]).count() > 60);
        let long = "resnet-of-sixty-letters@224".repeat(2);
        let corners = [(1.0, 1.0), (1.0, 1e4), (1e4, 1.0), (1e4, 1e4)].map(|(x, y)| point(x, y, &long)).to_vec();
        let picture = Chart { points: corners, ..chart.clone() }.png().unwrap();
        assert!(crate::drawing::has_margins(&image::load_from_memory(&picture).unwrap().to_rgb8()));
        let nothing = Chart { points: vec![], roofs: vec![], ..chart };
        assert!(nothing.svg().unwrap().contains("GFLOPs"));
    }
}
