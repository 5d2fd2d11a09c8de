//! Average precision of the boxes found, by COCO's and by VOC's rules.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Metric, worst};
use super::coco::{self, Coco};
use super::voc::{Average, Rule, Voc};
use crate::boxes::{self, Anchors, Detection, Object, Selection};
use crate::data::{Batch, Truth};
use crate::graph::Elements;
use crate::train::Numbers;

/// The least score of the boxes that a report draws.
const DRAWN: f32 = 0.3;

/// Collects what was found in each picture.
pub(super) struct Precision {
    /// Classes of the network, with the background.
    classes: usize,
    coco: Coco,
    voc: Voc,
    loss: f64,
    pictures: usize,
    worst: Vec<Worst>,
    keep: Option<usize>,
}

/// What a validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// COCO's twelve numbers by name; those without objects are left out.
    pub coco: Vec<(String, f64)>,
    /// Of each class of the data: the average precision at an intersection over union of 0.5, COCO's mean over ten
    /// thresholds, and VOC's; `None` for a class without objects.
    pub per_class: Vec<[Option<f64>; 2]>,
    /// Pictures in which most objects are missed or invented, worst first.
    pub worst: Vec<Worst>,
}

/// A picture with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Its index in the source.
    pub index: usize,
    /// Share of its objects and of the boxes found that belong together.
    pub agreement: f64,
    /// The boxes found with a score above 0.3, in pixels of the picture: class of the data, score, edges.
    pub found: Vec<(u32, f32, [f32; 4])>,
}

impl Precision {
    pub(super) fn new(classes: usize, keep: Option<usize>) -> Self {
        let coco = Coco::new(classes - 1);
        let voc = Voc::new(classes - 1, Rule { overlap: 0.5, inclusive: true });
        Self { classes, coco, voc, loss: 0.0, pictures: 0, worst: Vec::new(), keep }
    }

    /// The objects found in picture `n` of a batch, in pixels of the picture, with classes of the data.
    fn found(&self, n: usize, count: usize, maps: &[&[f32]], anchors: &Anchors, batch: &Batch) -> Vec<Detection> {
        let [logits, deltas] = [0, 1].map(|kind| {
            let levels = maps.len() / 2;
            let of_level = |map: &&[f32]| map[n * (map.len() / count)..][..map.len() / count].to_vec();
            maps[kind * levels..][..levels].iter().flat_map(of_level).collect::<Vec<f32>>()
        });
        let found = Selection::default().detections(&logits, &deltas, anchors, batch.size);
        let (view, size) = (&batch.views[n], batch.picture_sizes[n]);
        let in_picture = |found: Detection| {
            // The background is never a target, so a box of it is noise.
            let class = found.class.checked_sub(1)?;
            Some(Detection { class, bounds: view.bounds_to_picture(found.bounds, size), ..found })
        };
        found.into_iter().filter_map(in_picture).collect()
    }
}

/// Share of objects and drawn boxes that belong together: twice the pairs over the sum of both numbers.
fn agreement(objects: &[Object], found: &[Detection]) -> f64 {
    let found: Vec<&Detection> = found.iter().filter(|found| found.score > DRAWN).collect();
    let mut free: Vec<&Object> = objects.iter().filter(|object| !object.difficult && !object.crowd).collect();
    let total = free.len() + found.len();
    let mut pairs = 0;
    for detection in found {
        let fits =
            |object: &&Object| object.class == detection.class && boxes::overlap(object.bounds, detection.bounds) > 0.5;
        if let Some(at) = free.iter().position(fits) {
            free.swap_remove(at);
            pairs += 1;
        }
    }
    if total == 0 { 1.0 } else { 2.0 * pairs as f64 / total as f64 }
}

impl Metric for Precision {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        let (losses, maps) = outputs.split_at(2);
        let maps: Vec<&[f32]> = maps.iter().map(Elements::floats).collect();
        let anchors = Anchors::of_picture(batch.size);
        // The network's batch: there may be fewer pictures.
        let count = maps[0].len() / (anchors.levels[0] * self.classes);
        let loss: f32 = losses.iter().map(|loss| loss.floats()[0]).sum();
        // Padding has no loss.
        self.loss += f64::from(loss) * count as f64;
        let this = &*self;
        let found: Vec<Vec<Detection>> =
            (0..batch.truths.len()).into_par_iter().map(|n| this.found(n, count, &maps, &anchors, batch)).collect();
        for ((truth, found), &index) in batch.truths.iter().zip(found).zip(&batch.indices) {
            let Truth::Objects(objects) = truth else { unreachable!("the data was opened for its objects") };
            self.coco.add(objects, &found);
            self.voc.add(objects, &found);
            self.pictures += 1;
            if let Some(keep) = self.keep {
                let agreement = agreement(objects, &found);
                worst::keep(
                    &mut self.worst,
                    keep,
                    |worst| worst.agreement,
                    agreement,
                    || {
                        let drawn = found.iter().filter(|found| found.score > DRAWN);
                        let found = drawn.map(|found| (found.class, found.score, found.bounds)).collect();
                        Worst { index, agreement, found }
                    },
                );
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let coco = self.coco.numbers();
        let of_coco = |name: &str| coco::NAMES.iter().position(|n| *n == name).and_then(|at| coco[at]);
        let voc = |average| self.voc.mean(average).unwrap_or(0.0);
        let numbers = ["ap50", "ap", "ap75"]
            .into_iter()
            .fold(Numbers::default(), |numbers, name| numbers.with(name, of_coco(name).unwrap_or(0.0)));
        let numbers = numbers.with("voc_ap50", voc(Average::Area)).with("voc07_ap50", voc(Average::ElevenPoints));
        numbers.with("loss", self.loss / self.pictures.max(1) as f64)
    }

    fn findings(&self) -> Value {
        let Some(_) = self.keep else { return Value::Object(serde_json::Map::new()) };
        let named = coco::NAMES.iter().zip(self.coco.numbers());
        let of_class = |class| [self.coco.average_precision(class), self.voc.average_precision(class, Average::Area)];
        let findings = Findings {
            coco: named.filter_map(|(name, number)| Some(((*name).to_owned(), number?))).collect(),
            per_class: (0..self.classes - 1).map(of_class).collect(),
            worst: self.worst.clone(),
        };
        serde_json::to_value(findings).unwrap_or_else(|e| unreachable!("findings are plain data: {e}"))
    }
}
