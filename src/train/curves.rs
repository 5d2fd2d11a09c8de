//! Pictures of a run: `RUN/curves.svg` and `.png`, and a line of blocks for the terminal.

use std::{io::Write, ops::Range, path::Path};

use super::{
    Error, Line, Measure,
    plot::{Curve, PALETTE, Panel, Picture, Points, range, smoothed},
};
use crate::files;

/// Draws `curves.svg` and `curves.png` in the folder of a run: the loss of each step, the goal's number for each
/// epoch's validation, and the learning rate, over the steps. Replaces older pictures atomically.
///
/// # Errors
/// The pictures cannot be drawn or written.
pub fn draw(run: &Path, title: &str, goal: Measure, lines: &[Line]) -> Result<(), Error> {
    let picture = Picture { width: 960, title: Some(title.to_owned()), legend: vec![], panels: panels(goal, lines) };
    let (svg, png) = (picture.svg()?, picture.png()?);
    files::write_atomic(&run.join("curves.svg"), |file| file.write_all(svg.as_bytes()))?;
    Ok(files::write_atomic(&run.join("curves.png"), |file| file.write_all(&png))?)
}

/// The charts of a run: loss, the goal's number, learning rate.
pub(super) fn panels(goal: Measure, lines: &[Line]) -> Vec<Panel> {
    let Series { loss, val_loss, rate, train, val, ema, steps } = Series::new(goal, lines);
    let [loss_color, rate_color, goal_color, ema_color, val_color, ..] = PALETTE;
    let front = |points, color| Curve { points, color, pale: false, marked: false, ringed: None };

    let smooth = smoothed(&loss);
    let mut note = match smooth.last() {
        Some((_, last)) => format!("light: each step; dark: smoothed, {last:.3} at the end"),
        None => "no steps yet".to_owned(),
    };
    let mut values = loss_range(&loss, &smooth);
    // At the beginning running statistics lag behind the weights, and some validations lie outside of the chart.
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
        along: "step",
        end: steps,
        values,
        curves: vec![
            Curve { pale: true, ..front(loss, loss_color) },
            front(smooth, loss_color),
            Curve { marked: true, ..front(val_loss, val_color) },
        ],
    };

    let epoch = |at: f64| val.iter().position(|p| p.0 == at).map_or(0, |i| i + 1);
    let ringed = |points: &Points| best(goal, points);
    let mut note = match ringed(&val) {
        Some((at, best)) => format!("validation, best: {} after epoch {}", goal.scaled_text(best), epoch(at)),
        None => "no epoch validated yet".to_owned(),
    };
    if let Some((at, best)) = ringed(&ema) {
        note += &format!("; purple: moving average, {} after epoch {}", goal.scaled_text(best), epoch(at));
    }
    let mut training = smoothed(&train);
    if let Some(first) = val.first() {
        // The first training values would compress the range of the validations.
        training.retain(|p| p.0 >= first.0);
    }
    if !training.is_empty() {
        note += "; light: training pictures as augmented, smoothed";
    }
    let label = goal.label_with_unit();
    let (first, rest) = label.split_at(label.chars().next().map_or(0, char::len_utf8));
    let goal = Panel {
        name: first.to_uppercase() + rest,
        note,
        color: goal_color,
        height: 230,
        along: "step",
        end: steps,
        values: range(val.iter().chain(&ema).chain(&training)),
        curves: vec![
            Curve { pale: true, ..front(training, goal_color) },
            Curve { marked: true, ringed: ringed(&ema), ..front(ema, ema_color) },
            Curve { marked: true, ringed: ringed(&val), ..front(val, goal_color) },
        ],
    };

    let peak = rate.iter().map(|p| p.1 as f32).fold(0.0, f32::max);
    let rate = Panel {
        name: "Learning rate".into(),
        note: format!("peak: {peak}"),
        color: rate_color,
        height: 180,
        along: "step",
        end: steps,
        values: range(&rate),
        curves: vec![front(rate, rate_color)],
    };
    vec![loss, goal, rate]
}

/// The series to draw, as points over the steps.
pub(super) struct Series {
    pub(super) loss: Points,
    /// At the step where the epoch ends.
    pub(super) val_loss: Points,
    pub(super) rate: Points,
    /// The goal's number for the pictures of each step, shares in percent.
    pub(super) train: Points,
    /// The goal's number of the validations, at the step where the epoch ends.
    pub(super) val: Points,
    /// The validations of the weights' moving average.
    pub(super) ema: Points,
    pub(super) steps: f64,
}

impl Series {
    pub(super) fn new(goal: Measure, lines: &[Line]) -> Self {
        let [loss, val_loss, rate, train, val, ema] = [(); 6].map(|()| vec![]);
        let mut series = Self { loss, val_loss, rate, train, val, ema, steps: 0.0 };
        for line in lines {
            match line {
                Line::Step(line) => {
                    let step = line.step as f64;
                    if line.loss.is_finite() {
                        series.loss.push((step, f64::from(line.loss)));
                    }
                    series.train.extend(line.numbers.get(goal.name).map(|number| (step, goal.scaled(number))));
                    series.rate.push((step, f64::from(line.lr)));
                    series.steps = step + 1.0;
                }
                Line::Epoch(line) => {
                    let known = |number: Option<f64>| number.filter(|number| !number.is_nan());
                    let at = |number: Option<f64>| known(number).map(|number| (series.steps, number));
                    series.val_loss.extend(at(line.val("loss")));
                    series.val.extend(at(line.val(goal.name).map(|number| goal.scaled(number))));
                    series.ema.extend(at(line.ema(goal.name).map(|number| goal.scaled(number))));
                }
            }
        }
        series
    }
}

/// The best point; the first of equal ones.
pub(super) fn best(goal: Measure, points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let numbers = points.iter().copied().filter(|p| !p.1.is_nan());
    numbers.reduce(|best, p| if goal.is_better(p.1, best.1) { p } else { best })
}

/// The range without the highest hundredth of the values, so that a few bad steps do not compress the rest.
fn loss_range(loss: &[(f64, f64)], smooth: &[(f64, f64)]) -> Range<f64> {
    let mut sorted = loss.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    let usual = (sorted.len() * 99).div_ceil(100);
    range(sorted[..usual].iter().chain(smooth))
}

/// A series as one line of at most `width` Unicode block characters, from the lowest value to the highest; a gap if no
/// value is finite.
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
    use super::super::numbers::tests::GOAL;
    use super::super::{EpochLine, Numbers, StepLine};
    use super::*;

    /// Lines of a plausible run.
    fn run(steps: u64, steps_per_epoch: u64) -> Vec<Line> {
        let mut lines = vec![];
        for step in 0..steps {
            let done = step as f32 / steps as f32;
            let noise = ((step * 2_654_435_761 % 1_000) as f32 / 1_000.0 - 0.5) * 0.3;
            let loss = 0.55 + 1.8 * (-6.0 * done).exp() + noise;
            let (epoch, lr) = (step / steps_per_epoch, 0.05 * (1.0 + (std::f32::consts::PI * done).cos()));
            let share = f64::from(0.8 - 0.7 * (-5.0 * done).exp() + noise);
            let numbers = Numbers::default().with(GOAL.name, share);
            lines.push(Line::Step(StepLine {
                step,
                epoch,
                loss,
                lr,
                numbers,
                images_per_s: 900.0,
                ..StepLine::default()
            }));
            if (step + 1) % steps_per_epoch == 0 {
                let share = f64::from(0.9 - 0.6 * (-5.0 * done).exp() + noise * 0.05);
                let numbers = Numbers::default().with(GOAL.name, share).with("loss", loss.into());
                lines.push(Line::Epoch(EpochLine::new(epoch, &numbers, None)));
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
            draw(folder.path(), "small on <shapes>", GOAL, &lines).unwrap();
            let svg = std::fs::read_to_string(folder.path().join("curves.svg")).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains(expected), "{svg}");
            assert!(svg.contains("small on &lt;shapes&gt;") && svg.len() < 100_000, "{} bytes", svg.len());
            assert!(!svg.contains("NaN") && !svg.contains("inf,"), "{svg}");
            let png = image::open(folder.path().join("curves.png")).unwrap();
            assert_eq!((png.width(), png.height()), (960, 760));
        }
    }

    /// The validation loss may lie below the training loss, which has label smoothing, or far above it, before running
    /// statistics are usable.
    #[test]
    fn the_loss_of_validations_is_on_the_chart_if_it_can_be() {
        let mut lines = run(60, 20);
        let losses = [f64::NAN, 50.0, 0.2];
        let epochs = lines.iter_mut().filter_map(|line| if let Line::Epoch(epoch) = line { Some(epoch) } else { None });
        epochs
            .zip(losses)
            .for_each(|(epoch, loss)| *epoch = EpochLine::new(0, &Numbers::default().with("loss", loss), None));
        let loss = panels(GOAL, &lines).swap_remove(0);
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
