//! Pictures of a run: `RUN/curves.svg` and `.png`, and a line of blocks for the terminal.

use std::{io::Write, ops::Range, path::Path};

use super::{
    Error, Line,
    plot::{Curve, PALETTE, Panel, Picture, Points, highest, range, smoothed},
};
use crate::files;

/// Draws `curves.svg` and `curves.png` in the folder of a run: the loss of each step, the validation top-1 of each epoch,
/// and the learning rate, over the steps. Replaces older pictures atomically.
///
/// # Errors
/// The pictures cannot be drawn or written.
pub fn draw(run: &Path, title: &str, lines: &[Line]) -> Result<(), Error> {
    let picture = Picture { width: 960, title: Some(title.to_owned()), legend: vec![], panels: panels(lines) };
    let (svg, png) = (picture.svg()?, picture.png()?);
    files::write_atomic(&run.join("curves.svg"), |file| file.write_all(svg.as_bytes()))?;
    Ok(files::write_atomic(&run.join("curves.png"), |file| file.write_all(&png))?)
}

/// The charts of a run: loss, accuracy, learning rate.
pub(super) fn panels(lines: &[Line]) -> Vec<Panel> {
    let Series { loss, val_loss, rate, train_top1, top1, ema_top1, steps } = Series::new(lines);
    let [loss_color, rate_color, top1_color, ema_color, val_color, ..] = PALETTE;
    let front = |points, color| Curve { points, color, pale: false, marked: false, ringed: false };

    let smooth = smoothed(&loss);
    let mut note = match smooth.last() {
        Some((_, last)) => format!("light: each step; dark: smoothed, {last:.3} at the end"),
        None => "no steps yet".to_owned(),
    };
    let mut values = loss_range(&loss, &smooth);
    // In the beginning running statistics lag behind the weights, and some validations are off the chart.
    let val_loss: Points = val_loss.into_iter().filter(|p| p.1 <= values.end).collect();
    let lowest = val_loss.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    values.start = values.start.min(0.95 * lowest);
    if let Some((_, last)) = val_loss.last() {
        note += &format!("; yellow: validation, {last:.3}");
    }
    let loss = Panel {
        name: "Training loss".into(),
        note,
        color: loss_color,
        height: 310,
        steps,
        values,
        curves: vec![
            Curve { pale: true, ..front(loss, loss_color) },
            front(smooth, loss_color),
            Curve { marked: true, ..front(val_loss, val_color) },
        ],
    };

    let epoch = |at: f64| top1.iter().position(|p| p.0 == at).map_or(0, |i| i + 1);
    let mut note = match highest(&top1) {
        Some((at, best)) => format!("validation, best: {best:.2} % after epoch {}", epoch(at)),
        None => "no epoch validated yet".to_owned(),
    };
    if let Some((at, best)) = highest(&ema_top1) {
        note += &format!("; purple: moving average, {best:.2} % after epoch {}", epoch(at));
    }
    let mut training = smoothed(&train_top1);
    if let Some(first) = top1.first() {
        // Its beginnings would press together what validations tell.
        training.retain(|p| p.0 >= first.0);
    }
    if !training.is_empty() {
        note += "; light: training pictures as augmented, smoothed";
    }
    let top1 = Panel {
        name: "Top-1, %".into(),
        note,
        color: top1_color,
        height: 230,
        steps,
        values: range(top1.iter().chain(&ema_top1).chain(&training)),
        curves: vec![
            Curve { pale: true, ..front(training, top1_color) },
            Curve { marked: true, ringed: true, ..front(ema_top1, ema_color) },
            Curve { marked: true, ringed: true, ..front(top1, top1_color) },
        ],
    };

    let peak = rate.iter().map(|p| p.1 as f32).fold(0.0, f32::max);
    let rate = Panel {
        name: "Learning rate".into(),
        note: format!("peak: {peak}"),
        color: rate_color,
        height: 180,
        steps,
        values: range(&rate),
        curves: vec![front(rate, rate_color)],
    };
    vec![loss, top1, rate]
}

/// What is drawn, as points over the steps.
pub(super) struct Series {
    pub(super) loss: Points,
    /// Where the epoch ends.
    pub(super) val_loss: Points,
    pub(super) rate: Points,
    /// Of the pictures of each step, percent.
    pub(super) train_top1: Points,
    /// Percent, where the epoch ends.
    pub(super) top1: Points,
    /// The same of the weights' moving average.
    pub(super) ema_top1: Points,
    pub(super) steps: f64,
}

impl Series {
    pub(super) fn new(lines: &[Line]) -> Self {
        let mut series = Self {
            loss: vec![],
            val_loss: vec![],
            rate: vec![],
            train_top1: vec![],
            top1: vec![],
            ema_top1: vec![],
            steps: 0.0,
        };
        for line in lines {
            match line {
                Line::Step(line) => {
                    let step = line.step as f64;
                    if line.loss.is_finite() {
                        series.loss.push((step, f64::from(line.loss)));
                    }
                    series.train_top1.extend(line.top1.map(|top1| (step, 100.0 * f64::from(top1))));
                    series.rate.push((step, f64::from(line.lr)));
                    series.steps = step + 1.0;
                }
                Line::Epoch(line) => {
                    series.val_loss.push((series.steps, f64::from(line.val_loss)));
                    series.top1.push((series.steps, 100.0 * line.val_top1));
                    series.ema_top1.extend(line.ema_top1.map(|top1| (series.steps, 100.0 * top1)));
                }
            }
        }
        series
    }
}

/// Leaves out the highest hundredth, which a few bad steps would stretch over the rest.
fn loss_range(loss: &[(f64, f64)], smooth: &[(f64, f64)]) -> Range<f64> {
    let mut sorted = loss.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let usual = (sorted.len() * 99).div_ceil(100);
    range(sorted[..usual].iter().chain(smooth))
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
            let top1 = Some(0.8 - 0.7 * (-5.0 * done).exp() + noise);
            lines.push(Line::Step(StepLine {
                step,
                epoch,
                loss,
                lr,
                top1,
                images_per_s: 900.0,
                ..StepLine::default()
            }));
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
            (run(4_690, 469), "after epoch"),
            (run(200_000, 1_000), "after epoch"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            draw(folder.path(), "small on <shapes>", &lines).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("curves.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains(expected), "{svg}");
            assert!(svg.contains("small on &lt;shapes&gt;") && svg.len() < 100_000, "{} bytes", svg.len());
            assert!(!svg.contains("NaN") && !svg.contains("inf,"), "{svg}");
            let png = image::open(folder.path().join("curves.png")).unwrap();
            assert_eq!((png.width(), png.height()), (960, 760));
        }
    }

    /// Below the training loss, as without its label smoothing, or far above it, as before running statistics are any good.
    #[test]
    fn the_loss_of_validations_is_on_the_chart_if_it_can_be() {
        let mut lines = run(60, 20);
        let losses = [f32::NAN, 50.0, 0.2];
        let epochs = lines.iter_mut().filter_map(|line| if let Line::Epoch(epoch) = line { Some(epoch) } else { None });
        epochs.zip(losses).for_each(|(epoch, loss)| epoch.val_loss = loss);
        let loss = panels(&lines).swap_remove(0);
        let shown = &loss.curves[2].points;
        assert_eq!(shown.len(), 1);
        assert!(loss.values.contains(&shown[0].1) && loss.values.end < 5.0, "{:?}", loss.values);
        assert!(loss.note.ends_with("yellow: validation, 0.200"), "{}", loss.note);
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
