//! Pictures of a run: `RUN/curves.svg`, and a line of blocks for the terminal.

use std::{io, io::Write, ops::Range, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{Error, Line};
use crate::files;

type Svg<'a> = SVGBackend<'a>;
type DrawError = DrawingAreaErrorKind<io::Error>;
type Chart<'a, 'b> = ChartContext<'a, Svg<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Points = Vec<(f64, f64)>;

/// Width, px; then the heights of the heading and of the three panels, top to bottom.
const SIZE: (u32, u32) = (960, 40 + 310 + 230 + 180);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE_INK: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xe6, 0xe6, 0xe6);
// Okabe and Ito's palette, which stays distinct to colour-blind eyes.
const LOSS: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const TOP1: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const RATE: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// Columns that a long series is reduced to; about two pixels each.
const COLUMNS: usize = 440;

/// Draws `curves.svg` in the folder of a run: the loss of each step, the validation top-1 of each epoch, and the
/// learning rate, over the steps. Replaces an older picture atomically.
///
/// # Errors
/// The picture cannot be drawn or written.
pub fn draw(run: &Path, title: &str, lines: &[Line]) -> Result<(), Error> {
    let svg = render(title, lines).map_err(|e| Error::Draw { problem: e.to_string() })?;
    Ok(files::write_atomic(&run.join("curves.svg"), |file| file.write_all(svg.as_bytes()))?)
}

fn render(title: &str, lines: &[Line]) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let page = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&page, title, lines)?;
        page.present()?;
    }
    Ok(svg)
}

fn paint(page: &DrawingArea<Svg, Shift>, title: &str, lines: &[Line]) -> Result<(), DrawError> {
    let Series { loss, rate, top1, steps } = Series::new(lines);
    let smooth = smoothed(&loss);
    let best = top1.iter().zip(1..).max_by(|(a, _), (b, _)| a.1.total_cmp(&b.1));

    page.fill(&WHITE)?;
    let (heading, page) = page.split_vertically(40);
    heading.draw_text(title, &text(20, INK), (24, 14))?;
    let (upper, page) = page.split_vertically(310);
    let (middle, lower) = page.split_vertically(230);
    let x = 0.0..steps.max(10.0);

    let note = match smooth.last() {
        Some((_, last)) => format!("light: each step; dark: smoothed, {last:.3} at the end"),
        None => "no steps yet".to_owned(),
    };
    let mut chart = panel(&upper, "Training loss", &note, LOSS, x.clone(), loss_range(&loss, &smooth), 6)?;
    chart.draw_series(LineSeries::new(thinned(&loss), LOSS.mix(0.3)))?;
    chart.draw_series(LineSeries::new(thinned(&smooth), LOSS.stroke_width(2)))?;

    let note = match best {
        Some(((_, top1), epochs)) => format!("best: {top1:.2} % after {epochs} epochs"),
        None => "no epoch validated yet".to_owned(),
    };
    let mut chart = panel(&middle, "Validation top-1, %", &note, TOP1, x.clone(), range(&top1), 5)?;
    chart.draw_series(LineSeries::new(top1.iter().copied(), TOP1.stroke_width(2)))?;
    if top1.len() <= 60 {
        chart.draw_series(top1.iter().map(|&at| Circle::new(at, 3, TOP1.filled())))?;
    }
    if let Some((&at, _)) = best {
        chart.draw_series([Circle::new(at, 6, TOP1.stroke_width(2))])?;
    }

    let peak = rate.iter().map(|p| p.1 as f32).fold(0.0, f32::max);
    let mut chart = panel(&lower, "Learning rate", &format!("peak: {peak}"), RATE, x, range(&rate), 3)?;
    chart.draw_series(LineSeries::new(thinned(&rate), RATE.stroke_width(2)))?;
    Ok(())
}

/// What is drawn, as points over the steps.
struct Series {
    loss: Points,
    rate: Points,
    top1: Points,
    steps: f64,
}

impl Series {
    fn new(lines: &[Line]) -> Self {
        let mut series = Self { loss: vec![], rate: vec![], top1: vec![], steps: 0.0 };
        for line in lines {
            match line {
                Line::Step(line) => {
                    let step = line.step as f64;
                    if line.loss.is_finite() {
                        series.loss.push((step, f64::from(line.loss)));
                    }
                    series.rate.push((step, f64::from(line.lr)));
                    series.steps = step + 1.0;
                }
                Line::Epoch(line) => series.top1.push((series.steps, 100.0 * line.val_top1)),
            }
        }
        series
    }
}

fn text(size: u32, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&color).pos(Pos::new(HPos::Left, VPos::Top))
}

/// Axes and grid of one panel, with its name and a note above.
fn panel<'a, 'b>(
    area: &DrawingArea<Svg<'b>, Shift>,
    name: &str,
    note: &str,
    color: RGBColor,
    x: Range<f64>,
    y: Range<f64>,
    y_labels: usize,
) -> Result<Chart<'a, 'b>, DrawError> {
    area.draw_text(name, &text(16, color), (24, 6))?;
    area.draw_text(note, &text(14, PALE_INK), (190, 7))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(24)
        .margin_left(16)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(PALE_INK)
        .label_style(text(14, PALE_INK))
        .x_desc("step")
        .axis_desc_style(text(14, PALE_INK))
        .x_labels(10)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_labels(y_labels)
        .draw()?;
    Ok(chart)
}

/// The values' range and a little room; something drawable if there are none.
fn range(points: &[(f64, f64)]) -> Range<f64> {
    let values = || points.iter().map(|p| p.1);
    padded(values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
}

/// Leaves out the highest hundredth, which a few bad steps would stretch over the rest.
fn loss_range(loss: &[(f64, f64)], smooth: &[(f64, f64)]) -> Range<f64> {
    let mut sorted: Vec<f64> = loss.iter().map(|p| p.1).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&lowest), Some(&high)) = (sorted.first(), sorted.get(sorted.len().saturating_sub(1) * 99 / 100)) else {
        return 0.0..1.0;
    };
    padded(lowest, smooth.iter().map(|p| p.1).fold(high, f64::max))
}

fn padded(low: f64, high: f64) -> Range<f64> {
    if low > high {
        return 0.0..1.0;
    }
    let room = 0.05 * (high - low).max(1e-3 * high.abs()).max(1e-9);
    low - room..high + room
}

/// Mean over a window of a fiftieth of the points around each, cut off at the ends.
fn smoothed(points: &[(f64, f64)]) -> Points {
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

/// The lowest and highest point of each column, in their order: as much as a long series can show.
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

/// A series as one line of at most `width` Unicode blocks, lowest to highest; a gap where no value is finite.
pub fn sparkline(values: &[f32], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = width.min(values.len());
    let means: Vec<Option<f64>> = (0..columns)
        .map(|i| {
            let part = &values[i * values.len() / columns..(i + 1) * values.len() / columns];
            let finite: Vec<f64> = part.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
            (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
        })
        .collect();
    let known = || means.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let block = |mean: Option<f64>| match mean {
        Some(mean) if high > low => BLOCKS[((mean - low) / (high - low) * 7.0).round() as usize],
        Some(_) => BLOCKS[3],
        None => ' ',
    };
    means.into_iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::{EpochLine, StepLine},
        *,
    };

    /// A run that looks like one.
    fn run(steps: u64, steps_per_epoch: u64) -> Vec<Line> {
        let mut lines = vec![];
        for step in 0..steps {
            let done = step as f32 / steps as f32;
            let noise = ((step * 2_654_435_761 % 1_000) as f32 / 1_000.0 - 0.5) * 0.3;
            let loss = 0.55 + 1.8 * (-6.0 * done).exp() + noise;
            let (epoch, lr) = (step / steps_per_epoch, 0.05 * (1.0 + (std::f32::consts::PI * done).cos()));
            lines.push(Line::Step(StepLine { step, epoch, loss, lr, images_per_s: 900.0, ..StepLine::default() }));
            if (step + 1) % steps_per_epoch == 0 {
                let val_top1 = f64::from(0.9 - 0.6 * (-5.0 * done).exp() + noise * 0.05);
                lines.push(Line::Epoch(EpochLine {
                    epoch,
                    val_top1,
                    val_top5: 1.0,
                    val_loss: loss,
                    ..EpochLine::default()
                }));
            }
        }
        lines
    }

    #[test]
    fn draws_runs_of_any_length() {
        let nan = Line::Step(StepLine { loss: f32::NAN, ..StepLine::default() });
        for (lines, expected) in [
            (vec![], "no steps yet"),
            (vec![nan], "no steps yet"),
            (run(1, 2), "no epoch validated yet"),
            (run(4_690, 469), "epochs"),
            (run(200_000, 1_000), "epochs"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            draw(folder.path(), "small on <shapes>", &lines).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("curves.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains(expected), "{svg}");
            assert!(svg.contains("small on &lt;shapes&gt;") && svg.len() < 100_000, "{} bytes", svg.len());
            assert!(!svg.contains("NaN") && !svg.contains("inf,"), "{svg}");
        }
    }

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
    fn thinning_keeps_the_extremes_in_order() {
        let mut points: Points = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        (points[5_000].1, points[5_001].1) = (9.0, -9.0);
        let thin = thinned(&points);
        assert!(thin.len() <= 2 * COLUMNS && thin.is_sorted_by(|a, b| a.0 <= b.0));
        assert!(thin.contains(&(5_000.0, 9.0)) && thin.contains(&(5_001.0, -9.0)));
    }

    #[test]
    fn sparklines() {
        for (values, width, expected) in [
            (&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0][..], 8, "▁▂▃▄▅▆▇█"),
            (&[0.0, 0.0, 7.0, 7.0], 2, "▁█"),
            (&[7.0, 0.0], 80, "█▁"),
            (&[1.0, f32::NAN, 2.0], 3, "▁ █"),
            (&[5.0, 5.0], 2, "▄▄"),
            (&[], 10, ""),
            (&[1.0], 0, ""),
        ] {
            assert_eq!(sparkline(values, width), expected);
        }
    }
}
