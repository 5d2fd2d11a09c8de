//! Average precision of the boxes found, by COCO's and by VOC's rules.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Metric, worst};
use super::coco::{self, Coco};
use super::voc::{self, Average, Rule, Voc};
use crate::boxes::{self, Anchors, Detection, Object, Selection};
use crate::data::{Batch, Truth};
use crate::graph::Elements;
use crate::train::Numbers;
use crate::train::report::parts::Names;

/// The least score of the boxes that a report draws.
const DRAWN: f32 = 0.3;

/// Collects what was found in each picture.
pub(super) struct Precision {
    /// Classes of the network, with the background.
    classes: usize,
    /// The factor of the loss of boxes.
    box_weight: f32,
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
    /// COCO's twelve [numbers](coco::MEASURES); NaN where there are no objects.
    pub coco: Numbers,
    /// Of each class of the data, or `None` for a class without objects.
    pub classes: Vec<Option<OfClass>>,
    /// Pictures with the most objects missed and false alarms, worst first.
    pub worst: Vec<Worst>,
}

/// How well a class is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfClass {
    /// Its objects, without crowds.
    pub objects: usize,
    /// COCO's average precision at an intersection over union of 0.5.
    pub ap50: f64,
    /// COCO's mean over ten thresholds, 0.5 to 0.95.
    pub ap: f64,
    /// VOC's average precision since 2010; `None` if all objects are difficult.
    pub voc_ap50: Option<f64>,
    /// The precision at an intersection over union of 0.5, at 101 recalls from 0 to 1: [`Coco::precisions`], with four
    /// digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<f64>,
}

/// A picture with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Its index in the source.
    pub index: usize,
    /// Its objects, without difficult ones and crowds.
    pub objects: usize,
    /// Objects that are among those found.
    pub right: usize,
    /// The boxes found with a score above 0.3, in pixels of the picture: class of the data, score, edges.
    pub found: Vec<(u32, f32, [f32; 4])>,
}

impl Worst {
    fn new(index: usize, objects: &[Object], found: &[Detection]) -> Self {
        // A box that is no number could not be read again.
        let drawn =
            found.iter().filter(|found| found.score > DRAWN && found.bounds.iter().all(|edge| edge.is_finite()));
        let found: Vec<_> = drawn.map(|found| (found.class, found.score, found.bounds)).collect();
        let mut free: Vec<&Object> = objects.iter().filter(|object| !object.difficult && !object.crowd).collect();
        let objects = free.len();
        for &(class, _, bounds) in &found {
            let fits = |object: &&Object| object.class == class && boxes::overlap(object.bounds, bounds) > 0.5;
            if let Some(at) = free.iter().position(fits) {
                free.swap_remove(at);
            }
        }
        Self { index, objects, right: objects - free.len(), found }
    }

    /// Share of objects and boxes found that belong together: twice the pairs over the sum of both numbers.
    fn agreement(&self) -> f64 {
        let total = self.objects + self.found.len();
        if total == 0 { 1.0 } else { 2.0 * self.right as f64 / total as f64 }
    }
}

impl Precision {
    pub(super) fn new(classes: usize, box_weight: f32, keep: Option<usize>) -> Self {
        let coco = Coco::new(classes - 1);
        let voc = Voc::new(classes - 1, Rule { overlap: 0.5, inclusive: true });
        Self { classes, box_weight, coco, voc, loss: 0.0, pictures: 0, worst: Vec::new(), keep }
    }

    /// COCO's twelve numbers; NaN where there are no objects.
    fn coco_numbers(&self) -> Numbers {
        let mut numbers = Numbers::default();
        for (measure, number) in coco::MEASURES.iter().zip(self.coco.numbers()) {
            numbers.push(measure.name, number.unwrap_or(f64::NAN));
        }
        numbers
    }

    /// Numbers of a class without its curve; `None` if it has no objects.
    fn of_class(&self, class: usize) -> Option<OfClass> {
        let precisions = self.coco.precisions(class)?;
        Some(OfClass {
            objects: self.coco.objects(class),
            ap50: precisions.iter().sum::<f64>() / precisions.len() as f64,
            ap: self.coco.average_precision(class)?,
            voc_ap50: self.voc.average_precision(class, Average::Area),
            curve: Vec::new(),
        })
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
            let found = found.in_picture(view, size)?;
            Some(Detection { class: found.class - 1, ..found })
        };
        found.into_iter().filter_map(in_picture).collect()
    }
}

impl Metric for Precision {
    fn add(&mut self, batch: &Batch, outputs: &[Elements<'_>]) {
        let (losses, maps) = outputs.split_at(2);
        let maps: Vec<&[f32]> = maps.iter().map(Elements::floats).collect();
        let anchors = Anchors::of_picture(batch.size);
        // The network's batch: there may be fewer pictures.
        let count = maps[0].len() / (anchors.levels[0] * self.classes);
        let loss = losses[0].floats()[0] + self.box_weight * losses[1].floats()[0];
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
                let worst = Worst::new(index, objects, &found);
                worst::keep(&mut self.worst, keep, Worst::agreement, worst.agreement(), || worst);
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let mut numbers = self.coco_numbers();
        for (measure, average) in voc::MEASURES.iter().zip([Average::Area, Average::ElevenPoints]) {
            numbers.push(measure.name, self.voc.mean(average).unwrap_or(f64::NAN));
        }
        numbers.with("loss", self.loss / self.pictures.max(1) as f64)
    }

    fn by_class(&self, classes: &[String]) -> serde_json::Map<String, Value> {
        let of_class = |class: usize| (Names(classes).of(class), serde_json::json!(self.of_class(class)));
        let per_class = (0..self.classes - 1).map(of_class).collect::<serde_json::Map<_, _>>();
        std::iter::once(("per_class".to_owned(), per_class.into())).collect()
    }

    fn findings(&self) -> Value {
        let Some(_) = self.keep else { return Value::Object(serde_json::Map::new()) };
        let rounded = |precision: f64| (1e4 * precision).round() / 1e4;
        let of_class = |class| {
            let curve = self.coco.precisions(class)?.into_iter().map(rounded).collect();
            Some(OfClass { curve, ..self.of_class(class)? })
        };
        let findings = Findings {
            coco: self.coco_numbers(),
            classes: (0..self.classes - 1).map(of_class).collect(),
            worst: self.worst.clone(),
        };
        serde_json::to_value(findings).unwrap_or_else(|e| unreachable!("findings are plain data: {e}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LEFT: [f32; 4] = [0.0, 0.0, 40.0, 40.0];
    const RIGHT: [f32; 4] = [60.0, 0.0, 100.0, 40.0];

    /// Two objects of class 0, one of which is found.
    #[test]
    fn classes_have_their_numbers_by_name() {
        let mut metric = Precision::new(3, 1.0, Some(1));
        let (objects, found) = ([LEFT, RIGHT].map(|bounds| Object::new(0, bounds)), [(0, LEFT), (1, RIGHT)]);
        let found = found.map(|(class, bounds)| Detection { class, score: 0.9, bounds });
        metric.coco.add(&objects, &found);
        metric.voc.add(&objects, &found);
        let numbers = metric.numbers();
        let names: Vec<&str> = super::super::MEASURES.iter().map(|measure| measure.name).collect();
        let expected = [51.0 / 101.0; 3].into_iter().chain([0.5, 6.0 / 11.0]);
        for (name, expected) in names.into_iter().zip(expected) {
            let number = numbers.get(name).unwrap();
            assert!((number - expected).abs() < 1e-12, "{name}: {number}");
        }
        let json = Value::from(metric.by_class(&["cat".to_owned()]));
        // 51 of 101 recalls are reached.
        let ap = 51.0 / 101.0;
        let near = |number: &Value, want: f64| (number.as_f64().unwrap() - want).abs() < 1e-12;
        let cat = &json["per_class"]["cat"];
        assert!(cat["objects"] == 2 && near(&cat["ap50"], ap) && near(&cat["ap"], ap) && near(&cat["voc_ap50"], 0.5));
        assert!(json["per_class"]["1"].is_null() && json["per_class"].as_object().unwrap().len() == 2, "{json}");
        let findings: Findings = serde_json::from_value(metric.findings()).unwrap();
        assert_eq!(findings.classes[1], None);
        let curve = &findings.classes[0].as_ref().unwrap().curve;
        assert_eq!((curve.len(), curve[0], curve[50], curve[51]), (101, 1.0, 1.0, 0.0));
        assert!((findings.coco.get("ap50").unwrap() - ap).abs() < 1e-12);
    }

    #[test]
    fn objects_found_and_invented_are_counted() {
        let objects = [
            Object::new(0, LEFT),
            Object { difficult: true, ..Object::new(1, RIGHT) },
            Object { crowd: true, ..Object::new(1, RIGHT) },
        ];
        let found = |class, score, bounds| Detection { class, score, bounds };
        let nan = [f32::NAN, 0.0, 40.0, 40.0];
        let worst = Worst::new(
            5,
            &objects,
            &[found(0, 0.9, LEFT), found(0, 0.8, LEFT), found(1, 0.7, LEFT), found(0, 0.2, LEFT), found(0, 0.9, nan)],
        );
        assert_eq!((worst.index, worst.objects, worst.right, worst.found.len()), (5, 1, 1, 3));
        assert!((worst.agreement() - 0.5).abs() < 1e-12, "{worst:?}");
        assert!((Worst::new(0, &objects[1..], &[]).agreement() - 1.0).abs() < 1e-12);
        let text = serde_json::to_string(&worst).unwrap();
        assert_eq!(serde_json::from_str::<Worst>(&text).unwrap(), worst);
    }
}
