//! COCO's twelve numbers, as pycocotools computes them.

use std::array;

use super::curve::{Point, curve, mean, precision_at, raise, ranked};
use crate::boxes::{Bounds, Detection, Object};
use crate::train::Measure;

/// What the twelve numbers of [`Coco::numbers`] are, in order: average precision, at an overlap of 50 % and 75 %, of
/// small, medium and large objects; average recall with 1, 10 and 100 detections, and of small, medium and large
/// objects.
pub const MEASURES: [Measure; 12] = [
    share("ap", "AP"),
    share("ap50", "AP at IoU 0.5"),
    share("ap75", "AP at IoU 0.75"),
    share("ap_small", "AP of small objects"),
    share("ap_medium", "AP of medium objects"),
    share("ap_large", "AP of large objects"),
    share("ar1", "recall with 1 box"),
    share("ar10", "recall with 10 boxes"),
    share("ar100", "recall with 100 boxes"),
    share("ar_small", "recall of small objects"),
    share("ar_medium", "recall of medium objects"),
    share("ar_large", "recall of large objects"),
];

const fn share(name: &'static str, label: &'static str) -> Measure {
    Measure { name, label, is_share: true, higher_is_better: true }
}

/// Intersections over union from which on a detection is a hit; numpy's `linspace(0.5, 0.95, 10)`.
const OVERLAPS: [f64; 10] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95];
/// The least and largest area in px² of all, small, medium and large objects.
const SIZES: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 32.0 * 32.0], [32.0 * 32.0, 96.0 * 96.0], [96.0 * 96.0, 1e10]];
/// All objects, in [`SIZES`].
const ALL: usize = 0;
/// The most detections of a class in a picture.
const MOST: usize = 100;

/// The metric of a data set, picture by picture.
#[derive(Clone, Debug)]
pub struct Coco {
    classes: Vec<Class>,
}

#[derive(Clone, Debug, Default)]
struct Class {
    /// Objects to be found of each size.
    objects: [usize; SIZES.len()],
    detections: Vec<Judged>,
}

/// A detection: by size, a bit for each of [`OVERLAPS`]. Where neither is set, the detection does not count.
#[derive(Clone, Debug, Default)]
struct Judged {
    score: f32,
    /// Its place among those of its class and picture.
    place: u8,
    hit: [u16; SIZES.len()],
    miss: [u16; SIZES.len()],
}

impl Coco {
    /// A metric of so many classes, without pictures yet.
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![Class::default(); classes] }
    }

    /// Adds a picture. Classes that the metric does not have are left out.
    ///
    /// For each least overlap the detections of a class, highest score first, take the free object that they overlap
    /// most. Objects of another size, and crowds, are taken only if there is no other; such a detection does not
    /// count, nor does one of another size that takes nothing. Crowds stay free, and their overlap is the share of the
    /// detection that lies inside them. COCO knows no difficult objects: they are ordinary ones here.
    pub fn add(&mut self, objects: &[Object], detections: &[Detection]) {
        for (index, class) in self.classes.iter_mut().enumerate() {
            let objects: Vec<&Object> = objects.iter().filter(|object| object.class as usize == index).collect();
            let mut detections = ranked(detections, index);
            detections.truncate(MOST);
            class.add(&objects, &detections);
        }
    }

    /// The numbers that [`MEASURES`] lists, each 0 to 1: means over the classes that have objects. `None`, for which
    /// pycocotools writes -1, if no class has any.
    pub fn numbers(&self) -> [Option<f64>; 12] {
        const SMALL: usize = 1;
        const MEDIUM: usize = 2;
        const LARGE: usize = 3;
        let averages = |size, most| -> Vec<[Averages; OVERLAPS.len()]> {
            self.classes.iter().filter_map(|class| class.averages(size, most)).collect()
        };
        let all = averages(ALL, MOST);
        let [small, medium, large] = [SMALL, MEDIUM, LARGE].map(|size| averages(size, MOST));
        let precision = |of: &[[Averages; OVERLAPS.len()]]| mean(of.iter().flatten().map(|a| a.precision));
        let recall = |of: &[[Averages; OVERLAPS.len()]]| mean(of.iter().flatten().map(|a| a.recall));
        let precision_of = |overlap: usize| mean(all.iter().map(|class| class[overlap].precision));
        [
            precision(&all),
            precision_of(0),
            precision_of(5),
            precision(&small),
            precision(&medium),
            precision(&large),
            recall(&averages(ALL, 1)),
            recall(&averages(ALL, 10)),
            recall(&all),
            recall(&small),
            recall(&medium),
            recall(&large),
        ]
    }

    /// Objects of a class, without crowds.
    ///
    /// # Panics
    /// If the metric does not have the class.
    pub fn objects(&self, class: usize) -> usize {
        self.classes[class].objects[ALL]
    }

    /// The precision of a class at 101 recalls, 0 to 1 by hundredths, at an overlap of 50 %: the highest at that recall
    /// or more. Their mean is the class's part of `AP50`. `None` if it has no objects.
    ///
    /// # Panics
    /// If the metric does not have the class.
    pub fn precisions(&self, class: usize) -> Option<Vec<f64>> {
        let class = &self.classes[class];
        (class.objects[ALL] > 0).then(|| precisions(&class.curve(&class.ranked(MOST), ALL, 0)).collect())
    }

    /// The average precision of a class, the mean at overlaps of 50 % to 95 %, 0 to 1; `None` if it has no objects.
    ///
    /// # Panics
    /// If the metric does not have the class.
    pub fn average_precision(&self, class: usize) -> Option<f64> {
        let averages = self.classes[class].averages(ALL, MOST)?;
        mean(averages.iter().map(|a| a.precision))
    }
}

/// Of a class, at one of [`OVERLAPS`].
#[derive(Clone, Copy)]
struct Averages {
    /// The mean precision over 101 recalls, 0 to 1.
    precision: f64,
    /// The recall of all detections.
    recall: f64,
}

impl Class {
    /// Adds the objects of this class in a picture, and its detections, highest score first.
    fn add(&mut self, objects: &[&Object], detections: &[&Detection]) {
        let rows = |d: &&Detection| -> Vec<f64> { objects.iter().map(|o| overlap(d.bounds, o)).collect() };
        let overlaps: Vec<Vec<f64>> = detections.iter().map(rows).collect();
        let places = detections.iter().zip(0..);
        let mut judged: Vec<Judged> =
            places.map(|(d, place)| Judged { score: d.score, place, ..Judged::default() }).collect();
        for (size, &[least, most]) in SIZES.iter().enumerate() {
            let is_other = |area: f64| area < least || area > most;
            let skipped: Vec<bool> = objects.iter().map(|o| o.crowd || is_other(f64::from(o.area))).collect();
            self.objects[size] += skipped.iter().filter(|&&skipped| !skipped).count();
            for (bit, &threshold) in OVERLAPS.iter().enumerate() {
                let found = found(objects, &skipped, &overlaps, threshold);
                for ((judged, found), detection) in judged.iter_mut().zip(found).zip(detections) {
                    match found {
                        Some(object) => judged.hit[size] |= u16::from(!skipped[object]) << bit,
                        None => judged.miss[size] |= u16::from(!is_other(area(detection.bounds))) << bit,
                    }
                }
            }
        }
        self.detections.extend(judged);
    }

    /// For each of [`OVERLAPS`], with so many detections a picture; `None` if there are no objects of this size.
    fn averages(&self, size: usize, most: usize) -> Option<[Averages; OVERLAPS.len()]> {
        if self.objects[size] == 0 {
            return None;
        }
        let best = self.ranked(most);
        Some(array::from_fn(|overlap| {
            let curve = self.curve(&best, size, overlap);
            Averages {
                precision: mean(precisions(&curve)).unwrap_or(0.0),
                recall: curve.last().map_or(0.0, |point| point.recall),
            }
        }))
    }

    /// Detections, so many a picture, highest score first.
    fn ranked(&self, most: usize) -> Vec<&Judged> {
        let mut best: Vec<&Judged> = self.detections.iter().filter(|d| usize::from(d.place) < most).collect();
        best.sort_by(|a, b| b.score.total_cmp(&a.score));
        best
    }

    /// The raised curve of these detections at one of [`OVERLAPS`].
    fn curve(&self, best: &[&Judged], size: usize, overlap: usize) -> Vec<Point> {
        let is_set = |marks: &[u16; SIZES.len()]| marks[size] >> overlap & 1 == 1;
        let counted = best.iter().filter(|d| is_set(&d.hit) || is_set(&d.miss));
        let mut curve = curve(counted.map(|d| (d.score, is_set(&d.hit))), self.objects[size]);
        raise(&mut curve);
        curve
    }
}

/// The object that each detection finds, from its `overlaps` with them: of those that overlap by the threshold or more
/// and that no detection with a higher score has found, the one that overlaps most, the last of equal ones. An object
/// that is `skipped` is found where no other can be, and a crowd is found any number of times (pycocotools).
fn found(objects: &[&Object], skipped: &[bool], overlaps: &[Vec<f64>], threshold: f64) -> Vec<Option<usize>> {
    let mut taken = vec![false; objects.len()];
    let found = |overlaps: &Vec<f64>| {
        let best = |skip: bool| {
            let those = (0..objects.len()).filter(|&o| skipped[o] == skip && overlaps[o] >= threshold);
            let free = those.filter(|&o| !taken[o] || objects[o].crowd);
            free.max_by(|&a, &b| overlaps[a].total_cmp(&overlaps[b]))
        };
        let object = best(false).or_else(|| best(true))?;
        taken[object] = true;
        Some(object)
    };
    overlaps.iter().map(found).collect()
}

/// The precisions of a raised curve at 101 recalls.
fn precisions(curve: &[Point]) -> impl Iterator<Item = f64> {
    (0..=100).map(|hundredths| precision_at(curve, f64::from(hundredths) * 0.01))
}

/// The area of a box in px².
fn area(bounds: Bounds) -> f64 {
    let [left, top, right, bottom] = bounds.map(f64::from);
    (right - left) * (bottom - top)
}

/// Intersection over union; for a crowd, over the detection's area.
fn overlap(detection: Bounds, object: &Object) -> f64 {
    let (a, b) = (detection.map(f64::from), object.bounds.map(f64::from));
    let (width, height) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let (shared, own) = (width * height, area(detection));
    if object.crowd { shared / own } else { shared / (own + area(object.bounds) - shared) }
}
