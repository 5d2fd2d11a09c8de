//! Average precision as PASCAL VOC's development kit computes it.

use super::curve::{Point, curve, mean, precision_at, raise, ranked};
use crate::boxes::{Bounds, Detection, Object};
use crate::train::Measure;

/// Means over the classes, with boxes whose right and bottom edges count: [`Average::Area`] and
/// [`Average::ElevenPoints`].
pub const MEASURES: [Measure; 2] = [
    Measure { name: "voc_ap50", label: "VOC's AP", is_share: true, higher_is_better: true },
    Measure { name: "voc07_ap50", label: "VOC 2007's AP", is_share: true, higher_is_better: true },
];

/// When a detection is a hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The intersection over union that a hit must exceed, 0 to 1.
    pub overlap: f64,
    /// Whether right and bottom edges count as pixels of a box, so that its width is `right - left + 1`. The kit
    /// computes so, with boxes counted from 1. On small boxes that is worth several points of average precision.
    pub inclusive: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self { overlap: 0.5, inclusive: false }
    }
}

/// How the precisions of a curve are averaged. In both cases the precision at a recall is the highest at that recall or
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Over 11 recalls, 0 to 1: VOC until 2009. The kit's numpy form has 0.30000000000000004 for 0.3 (likewise 0.6 and
    /// 0.7), which a recall of exactly 0.3 does not reach; so has this.
    ElevenPoints,
    /// Over all recalls, which is the area under the curve: VOC since 2010.
    Area,
}

/// The metric of a data set, picture by picture.
#[derive(Clone, Debug)]
pub struct Voc {
    rule: Rule,
    classes: Vec<Class>,
}

#[derive(Clone, Debug, Default)]
struct Class {
    /// Objects to be found.
    objects: usize,
    /// Score of each detection, and whether it is a hit.
    detections: Vec<(f32, bool)>,
}

impl Voc {
    /// A metric of so many classes, without pictures yet.
    pub fn new(classes: usize, rule: Rule) -> Self {
        Self { rule, classes: vec![Class::default(); classes] }
    }

    /// Adds a picture. Classes that the metric does not have are left out.
    ///
    /// A detection belongs to the object of its class that it overlaps most. If it overlaps that enough, it is a hit,
    /// or, if a better detection has hit the object before, a miss. If the object is difficult or a crowd, it is
    /// neither, and nobody misses the object.
    pub fn add(&mut self, objects: &[Object], detections: &[Detection]) {
        for (index, class) in self.classes.iter_mut().enumerate() {
            let objects: Vec<&Object> = objects.iter().filter(|object| object.class as usize == index).collect();
            let counts = |object: &Object| !object.difficult && !object.crowd;
            class.objects += objects.iter().filter(|object| counts(object)).count();
            let mut is_hit = vec![false; objects.len()];
            for detection in ranked(detections, index) {
                let overlaps = objects.iter().map(|object| self.rule.overlap_of(detection.bounds, object.bounds));
                // The first of the highest, as numpy's argmax.
                let best = overlaps.enumerate().reduce(|best, other| if other.1 > best.1 { other } else { best });
                match best.filter(|&(_, overlap)| overlap > self.rule.overlap) {
                    Some((object, _)) if !counts(objects[object]) => {}
                    Some((object, _)) => {
                        class.detections.push((detection.score, !is_hit[object]));
                        is_hit[object] = true;
                    }
                    None => class.detections.push((detection.score, false)),
                }
            }
        }
    }

    /// Precision over recall of a class, highest score first; `None` if it has no objects to be found.
    ///
    /// # Panics
    /// If the metric does not have the class.
    pub fn curve(&self, class: usize) -> Option<Vec<Point>> {
        let Class { objects, detections } = &self.classes[class];
        let mut detections = detections.clone();
        detections.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        (*objects > 0).then(|| curve(detections.into_iter(), *objects))
    }

    /// The average precision of a class, 0 to 1; `None` if it has no objects to be found.
    ///
    /// # Panics
    /// If the metric does not have the class.
    pub fn average_precision(&self, class: usize, average: Average) -> Option<f64> {
        let mut curve = self.curve(class)?;
        raise(&mut curve);
        match average {
            Average::ElevenPoints => mean((0..11).map(|tenths| precision_at(&curve, f64::from(tenths) * 0.1))),
            Average::Area => {
                let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
                Some(curve.iter().zip(before).map(|(point, before)| (point.recall - before) * point.precision).sum())
            }
        }
    }

    /// The mean of the classes' average precisions, 0 to 1, without classes that have no objects to be found; `None` if
    /// no class has any.
    pub fn mean(&self, average: Average) -> Option<f64> {
        mean((0..self.classes.len()).filter_map(|class| self.average_precision(class, average)))
    }
}

impl Rule {
    /// Intersection over union.
    fn overlap_of(&self, a: Bounds, b: Bounds) -> f64 {
        let (a, b, more) = (a.map(f64::from), b.map(f64::from), f64::from(u8::from(self.inclusive)));
        let area = |[left, top, right, bottom]: [f64; 4]| (right - left + more) * (bottom - top + more);
        let width = (a[2].min(b[2]) - a[0].max(b[0]) + more).max(0.0);
        let height = (a[3].min(b[3]) - a[1].max(b[1]) + more).max(0.0);
        let shared = width * height;
        if shared > 0.0 { shared / (area(a) + area(b) - shared) } else { 0.0 }
    }
}
