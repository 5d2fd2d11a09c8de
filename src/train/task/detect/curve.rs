//! Precision over recall, which all metrics of detection are made of.

use crate::boxes::Detection;

/// Precision and recall of the detections with a score from some least score on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The least score, 0 to 1.
    pub score: f32,
    /// The share of the true objects that are found.
    pub recall: f64,
    /// The share of the detections that are true objects.
    pub precision: f64,
}

/// The detections of a class, highest score first. Equal scores keep their order.
pub(super) fn ranked(detections: &[Detection], class: usize) -> Vec<&Detection> {
    let mut of_class: Vec<&Detection> = detections.iter().filter(|d| d.class as usize == class).collect();
    of_class.sort_by(|a, b| b.score.total_cmp(&a.score));
    of_class
}

/// The curve of detections, highest score first, each with its score and whether it is a true object, where there are
/// `objects` to be found.
pub(super) fn curve(detections: impl Iterator<Item = (f32, bool)>, objects: usize) -> Vec<Point> {
    let mut hits = 0;
    let point = |(before, (score, is_hit)): (usize, (f32, bool))| {
        hits += usize::from(is_hit);
        let (hits, all) = (hits as f64, (before + 1) as f64);
        Point { score, recall: hits / objects as f64, precision: hits / all }
    };
    detections.enumerate().map(point).collect()
}

/// Raises each precision to the highest one at the same recall or more.
pub(super) fn raise(curve: &mut [Point]) {
    let mut highest = 0.0;
    for point in curve.iter_mut().rev() {
        highest = point.precision.max(highest);
        point.precision = highest;
    }
}

/// The precision of a raised curve at a recall; 0 if the curve does not reach it.
pub(super) fn precision_at(curve: &[Point], recall: f64) -> f64 {
    let reached = curve.partition_point(|point| point.recall < recall);
    curve.get(reached).map_or(0.0, |point| point.precision)
}

/// The mean of some numbers; `None` if there are none.
pub(super) fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.fold((0.0, 0), |(sum, count), number| (sum + number, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}
