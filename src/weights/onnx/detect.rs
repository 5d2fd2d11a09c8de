//! The outputs of a detector: those of all levels joined, and the detections among them.

use super::nodes::Translation;
use super::proto::{AttributeProto, Elements, ValueInfoProto};
use crate::boxes::{Anchors, LARGEST, PER_CELL, Selection};
use crate::graph::Port;

/// A detector's outputs on all levels, finest first, for pictures of one size.
pub(super) struct Detector<'p> {
    /// The network's outputs.
    pub(super) ports: &'p [Port],
    /// Number of classes.
    pub(super) classes: usize,
    /// Height and width of the pictures, px.
    pub(super) size: [usize; 2],
}

impl Detector<'_> {
    /// Appends what joins the levels: `logits` `[N, A, K]`, `boxes` `[N, A, 4]` and the anchors `[A, 4]`, px.
    pub(super) fn raw(&self, t: &mut Translation<'_>) -> Vec<ValueInfoProto> {
        let anchors = self.anchors(t);
        let count = anchors.boxes.len();
        for (name, numbers) in [("logits", self.classes), ("boxes", 4)] {
            let levels = self.levels(t, name, numbers);
            let joined = concat(t, &format!("{name}.joined"), &levels, 1);
            t.output(name, &joined);
        }
        let boxes = t.constant("anchor_boxes".into(), &[count, 4], anchors.boxes.into_flattened());
        t.output("anchors", &boxes);
        let boxes = "changes of the anchors: centres in sides of the anchor, logarithms of the sides";
        let anchors = "left, top, right, bottom in px of the input";
        vec![
            ValueInfoProto::batch("logits", &[count, self.classes], "before the sigmoid"),
            ValueInfoProto::batch("boxes", &[count, 4], boxes),
            ValueInfoProto::new("anchors", Elements::F32, None, &[count, 4], anchors),
        ]
    }

    /// Appends the choice of detections as [`Selection`] makes it: `boxes` `[M, 4]`, `scores` `[M]`, `classes` `[M]`
    /// and `pictures` `[M]`, sorted by picture, then by falling score.
    pub(super) fn chosen(&self, t: &mut Translation<'_>) -> Vec<ValueInfoProto> {
        let anchors = self.anchors(t);
        let logits = self.levels(t, "logits", self.classes);
        let [logits, anchor, class] = self.candidates(t, &logits, &anchors);
        let deltas = self.levels(t, "boxes", 4);
        let deltas = concat(t, "boxes.joined", &deltas, 1);
        let boxes = self.decoded(t, &deltas, &anchor, &anchors);
        let scores = t.emit("detections", "Sigmoid", &[&logits], Vec::new());
        let kept = self.suppressed(t, &boxes, &scores, &class);
        let most = Selection::default().most.min(self.most_candidates(&anchors));
        chosen(t, most, &kept, [&boxes, &class]);
        let output =
            |name: &str, elements, item: &[usize], doc: &str| ValueInfoProto::new(name, elements, Some("M"), item, doc);
        vec![
            output("boxes", Elements::F32, &[4], "left, top, right, bottom in px of the input"),
            output("scores", Elements::F32, &[], "confidence, 0 to 1"),
            output("classes", Elements::I64, &[], "index of the class"),
            output("pictures", Elements::I64, &[], "index of the picture in the batch"),
        ]
    }

    fn anchors(&self, t: &Translation<'_>) -> Anchors {
        let maps = self.ports.iter().filter(|port| port.name == "boxes").map(|port| t.tensor(port.id).1);
        Anchors::new(&maps.map(|[_, h, w, _]| [h, w]).collect::<Vec<_>>(), self.size)
    }

    /// An output on each level, as `[N, anchors of the level, numbers]`.
    fn levels(&self, t: &mut Translation<'_>, name: &str, numbers: usize) -> Vec<String> {
        let of_level = |(level, port): (usize, &Port)| {
            let (value, [_, h, w, _]) = t.tensor(port.id);
            let at = format!("{name}.p{}", level + 3);
            // From [N, anchors of a cell * numbers, H, W].
            let last = t.emit(&at, "Transpose", &[&value], vec![AttributeProto::ints("perm", &[0, 2, 3, 1])]);
            // A zero keeps the number of pictures.
            let shape = t.ints(&at, &[0, h * w * PER_CELL, numbers]);
            t.emit(&at, "Reshape", &[&last, &shape], Vec::new())
        };
        self.ports.iter().filter(|port| port.name == name).enumerate().map(of_level).collect()
    }

    /// The best predictions of each level: their logits, anchors and classes, each `[N, C]`. A score below the
    /// threshold is left to the suppression.
    fn candidates(&self, t: &mut Translation<'_>, logits: &[String], anchors: &Anchors) -> [String; 3] {
        let mut found: [Vec<String>; 3] = Default::default();
        let mut first = 0;
        for (level, (logits, &count)) in logits.iter().zip(&anchors.levels).enumerate() {
            let at = |part: &str| format!("candidates.p{}/{part}", level + 3);
            let rows = t.ints(&at("rows"), &[0, count * self.classes]);
            let rows = t.emit(&at("rows"), "Reshape", &[logits, &rows], Vec::new());
            let most = t.ints(&at("most"), &[Selection::default().per_level.min(count * self.classes)]);
            let [best, index] = t.emit_many(&at("best"), "TopK", &[&rows, &most], Vec::new());
            let classes = t.ints(&at("classes"), &[self.classes]);
            let anchor = t.emit(&at("anchor"), "Div", &[&index, &classes], Vec::new());
            let before = t.ints(&at("before"), &[first]);
            let anchor = t.emit(&at("anchor"), "Add", &[&anchor, &before], Vec::new());
            let class = t.emit(&at("class"), "Mod", &[&index, &classes], Vec::new());
            found.iter_mut().zip([best, anchor, class]).for_each(|(found, value)| found.push(value));
            first += count;
        }
        let [logits, anchor, class] = &found;
        [("logits", logits), ("anchors", anchor), ("classes", class)]
            .map(|(name, values)| concat(t, &format!("candidates/{name}"), values, 1))
    }

    /// The boxes `[N, C, 4]` of candidates, inside the picture: [`crate::boxes::decode`] and [`crate::boxes::clip`].
    fn decoded(&self, t: &mut Translation<'_>, deltas: &str, anchor: &str, anchors: &Anchors) -> String {
        let at = |part: &str| format!("decoded/{part}");
        let count = anchors.boxes.len();
        let middle = anchors
            .boxes
            .iter()
            .flat_map(|[left, top, right, bottom]| [left + 0.5 * (right - left), top + 0.5 * (bottom - top)]);
        let middle = t.constant("anchor_centres".into(), &[count, 2], middle.collect());
        let sides = anchors.boxes.iter().flat_map(|[left, top, right, bottom]| [right - left, bottom - top]);
        let sides = t.constant("anchor_sides".into(), &[count, 2], sides.collect());
        let [middle, sides] = [("middle", middle), ("sides", sides)]
            .map(|(part, table)| t.emit(&at(part), "Gather", &[&table, anchor], Vec::new()));

        let two = t.ints(&at("index"), &[2]);
        let index = t.emit(&at("index"), "Unsqueeze", &[anchor, &two], Vec::new());
        let batch = vec![AttributeProto::int("batch_dims", 1)];
        let deltas = t.emit(&at("deltas"), "GatherND", &[deltas, &index], batch);
        let pairs = t.ints(&at("parts"), &[2, 2]);
        let [shift, logs] =
            t.emit_many(&at("parts"), "Split", &[&deltas, &pairs], vec![AttributeProto::int("axis", 2)]);
        let shift = t.emit(&at("shift"), "Mul", &[&shift, &sides], Vec::new());
        let centre = t.emit(&at("centre"), "Add", &[&shift, &middle], Vec::new());
        let largest = t.float(&at("largest"), LARGEST);
        let logs = t.emit(&at("logs"), "Min", &[&logs, &largest], Vec::new());
        let factor = t.emit(&at("factor"), "Exp", &[&logs], Vec::new());
        let size = t.emit(&at("size"), "Mul", &[&factor, &sides], Vec::new());
        let half = t.float(&at("half"), 0.5);
        let half = t.emit(&at("half"), "Mul", &[&size, &half], Vec::new());

        let [zero, edge] = [[0.0; 2], [self.size[1] as f32, self.size[0] as f32]];
        let zero = t.constant("picture_start".into(), &[2], zero.into());
        let edge = t.constant("picture_end".into(), &[2], edge.into());
        let corners = [("first", "Sub"), ("last", "Add")].map(|(part, op)| {
            let corner = t.emit(&at(part), op, &[&centre, &half], Vec::new());
            let corner = t.emit(&at(part), "Max", &[&corner, &zero], Vec::new());
            t.emit(&at(part), "Min", &[&corner, &edge], Vec::new())
        });
        concat(t, "decoded", &corners, 2)
    }

    /// The scores `[N, C]` of the candidates that no better one of their class overlaps too much; 0 for the others.
    fn suppressed(&self, t: &mut Translation<'_>, boxes: &str, scores: &str, class: &str) -> String {
        let at = |part: &str| format!("suppression/{part}");
        let count = t.ints(&at("count"), &[self.classes]);
        let values = t.constant(at("values"), &[2], vec![0.0, 1.0]);
        let first = vec![AttributeProto::int("axis", 1)];
        let is_of_class = t.emit(&at("class"), "OneHot", &[class, &count, &values], first.clone());
        let axis = t.ints(&at("axis"), &[1]);
        let of_classes = t.emit(&at("scores"), "Unsqueeze", &[scores, &axis], Vec::new());
        let of_classes = t.emit(&at("scores"), "Mul", &[&of_classes, &is_of_class], Vec::new());
        let Selection { score, overlap, most, .. } = Selection::default();
        let most = t.ints(&at("most"), &[most]);
        // Lists of one number, as the operator wants them.
        let [overlap, score] =
            [("overlap", overlap), ("score", score)].map(|(part, value)| t.constant(at(part), &[1], vec![value]));
        let inputs = [boxes, &of_classes, &most, &overlap, &score];
        let found = t.emit("suppression", "NonMaxSuppression", &inputs, Vec::new());

        // Of picture, class and candidate.
        let pair = t.ints(&at("pair"), &[0, 2]);
        let pair = t.emit(&at("pair"), "Gather", &[&found, &pair], first);
        let kept = t.emit(&at("kept"), "GatherND", &[scores, &pair], Vec::new());
        let shape = t.emit(&at("shape"), "Shape", &[scores], Vec::new());
        let zeros = t.emit(&at("zeros"), "ConstantOfShape", &[&shape], Vec::new());
        t.emit(&at("kept"), "ScatterND", &[&zeros, &pair, &kept], Vec::new())
    }

    /// Number of a picture's candidates.
    fn most_candidates(&self, anchors: &Anchors) -> usize {
        let per_level = Selection::default().per_level;
        anchors.levels.iter().map(|anchors| per_level.min(anchors * self.classes)).sum()
    }
}

/// Appends the outputs: the candidates of each picture with the highest scores that are not 0, from their scores, boxes
/// and classes `[N, C, ..]`.
fn chosen(t: &mut Translation<'_>, most: usize, scores: &str, [boxes, class]: [&str; 2]) {
    let at = |part: &str| format!("detections/{part}");
    let most = t.ints(&at("best"), &[most]);
    let [best, candidate] = t.emit_many(&at("best"), "TopK", &[scores, &most], Vec::new());
    let found = t.emit(&at("found"), "NonZero", &[&best], Vec::new());
    let places = t.emit(&at("places"), "Transpose", &[&found], Vec::new());
    let best = t.emit(&at("scores"), "GatherND", &[&best, &places], Vec::new());
    t.output("scores", &best);
    let candidate = t.emit(&at("candidate"), "GatherND", &[&candidate, &places], Vec::new());
    let first = t.emit(&at("picture"), "Constant", &[], vec![AttributeProto::int("value_int", 0)]);
    let picture = t.emit(&at("picture"), "Gather", &[&found, &first], Vec::new());
    t.output("pictures", &picture);
    let one = t.ints(&at("axis"), &[1]);
    let pair = [("picture", "pictures"), ("candidate", &candidate)]
        .map(|(part, value)| t.emit(&at(part), "Unsqueeze", &[value, &one], Vec::new()));
    let pair = concat(t, &at("pair"), &pair, 1);
    for (name, values) in [("boxes", boxes), ("classes", class)] {
        let of_chosen = t.emit(&at(name), "GatherND", &[values, &pair], Vec::new());
        t.output(name, &of_chosen);
    }
}

fn concat(t: &mut Translation<'_>, at: &str, values: &[String], axis: usize) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    t.emit(at, "Concat", &values, vec![AttributeProto::int("axis", axis)])
}
