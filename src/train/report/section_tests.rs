//! The sections of detection, segmentation and depth, from findings made up for the test.
#![allow(clippy::unwrap_used)]

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

use super::super::Numbers;
use super::super::task::{self, Depth, Detect, Findings, Segment, Task, depth, detect, segment};
use super::*;
use crate::data::{Dataset, DepthMap, Object, Sample, Truth, TruthKind};
use crate::drawing::overlay;
use crate::drawing::png;
use crate::models::Config;

/// Two grey pictures of 32 x 32 px with this truth.
struct Two(Truth);

impl Source for Two {
    fn len(&self) -> usize {
        2
    }

    fn sample(&self, _index: usize) -> Result<Sample, crate::data::Error> {
        Ok(Sample { image: grey(), truth: self.0.clone() })
    }

    fn name(&self, index: usize) -> String {
        format!("<i>{index}</i>.png")
    }
}

fn grey() -> RgbImage {
    RgbImage::from_pixel(32, 32, Rgb([100; 3]))
}

/// A card whose pictures are those of the source, pixel by pixel.
fn card(names: &[String]) -> ModelCard {
    let card = ModelCard::for_preset_of(Config::resnet_rs([1; 4], 0.25, names.len()));
    ModelCard { res: 32, crop_pct: 1.0, classes: names.to_vec(), ..card }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("<b>{class}</b>")).collect()
}

fn section(task: &dyn Task, found: impl Serialize, names: &[String], truth: Truth) -> Result<Section, Error> {
    let findings = Findings { epoch: 3, found: serde_json::to_value(found).unwrap(), path: "validation.json".into() };
    task.section(findings, &card(names), &Two(truth))
}

fn assert_shown(html: &str, texts: &[&str]) {
    for text in texts {
        assert!(html.contains(text), "no {text} in {html}");
    }
    assert!(!html.contains("<b>0") && !html.contains("<i>"), "names are escaped: {html}");
}

/// The page holds this picture.
fn assert_drawn(html: &str, what: &str, picture: &RgbImage) {
    assert!(html.contains(&data_uri(&png(picture).unwrap()).replace('/', "&#x2f;")), "{what}");
}

fn names_of(section: &Section) -> Vec<&str> {
    section.drawings.iter().map(|(name, _)| *name).collect()
}

fn picture(section: &Section, name: &str) -> RgbImage {
    let (_, bytes) = section.drawings.iter().find(|(other, _)| *other == name).unwrap();
    image::load_from_memory(bytes).unwrap().to_rgb8()
}

fn detections(classes: usize) -> detect::Findings {
    let of_class = |class: usize| {
        let ap = 1.0 / (class + 2) as f64;
        let curve = (0..=100).map(|at| if at <= 100 / (class + 2) { 1.0 } else { 0.0 }).collect();
        (class != 1).then_some(detect::OfClass { objects: 7, ap50: ap, ap: ap / 2.0, voc_ap50: None, curve })
    };
    // The first picture has a box that is right, and one of another class; the second has gone.
    let found = vec![(0, 0.75, [2.0, 14.0, 20.0, 30.0]), (2, 0.5, [20.0, 14.0, 30.0, 30.0])];
    let worst = |index| detect::Worst { index, objects: 2, right: 1, found: found.clone() };
    detect::Findings {
        coco: Numbers::default().with("ap", 0.25).with("ar100", 0.625),
        classes: (0..classes).map(of_class).collect(),
        worst: vec![worst(1), worst(2)],
    }
}

/// The names of a detector's card.
fn with_background(classes: usize) -> Vec<String> {
    [vec![detect::BACKGROUND.to_owned()], names(classes)].concat()
}

fn objects() -> Truth {
    Truth::Objects(vec![Object::new(0, [2.0, 14.0, 20.0, 30.0])])
}

#[test]
fn detections_are_tables_curves_and_boxes() {
    let section = section(&Detect::default(), detections(3), &with_background(3), objects()).unwrap();
    let html = &section.html;
    assert_shown(
        html,
        &[
            "after epoch 3",
            "&lt;b&gt;0&lt;&#x2f;b&gt;</td><td>7</td><td> 50.0 %</td><td> 25.0 %</td><td>-</td>",
            "&lt;b&gt;1&lt;&#x2f;b&gt;</td><td>0</td><td>-</td>",
            "mean</td><td>14</td><td> 37.5 %</td>",
            "ap</td><td> 25.0 %</td><td>mean over IoU 0.5 to 0.95<",
            "ar100</td><td> 62.5 %</td><td>recall with 100 boxes<",
            "1 of 2 found",
            "1 false alarm",
            "#1<",
            "recall, %",
        ],
    );
    assert!(!html.contains("#2<") && !html.contains("found worst"), "{html}");
    assert_eq!(html.matches("stroke-width=\"2\"").count(), 3, "two classes and the mean");
    // Each has its colour, which is that of its boxes too.
    for color in ["#0072b2", "#009e73", "#222222"] {
        assert!(html.contains(&format!("background: {color}")) && html.contains(&color.to_uppercase()), "{color}");
    }
    let outline = |class: usize, bounds, more: &str| overlay::Outline {
        bounds,
        text: format!("<b>{class}</b>{more}"),
        colour: overlay::box_colour(class),
    };
    let mut truth = grey();
    overlay::boxes(&mut truth, &[outline(0, [2.0, 14.0, 20.0, 30.0], "")]).unwrap();
    assert_drawn(html, "the true box", &truth);
    let mut answer = grey();
    let found = [outline(0, [2.0, 14.0, 20.0, 30.0], " 75 %"), outline(2, [20.0, 14.0, 30.0, 30.0], " 50 %")];
    overlay::boxes(&mut answer, &found).unwrap();
    assert_drawn(html, "the boxes found", &answer);
    assert_eq!((names_of(&section), section.footnote.trim()), (vec!["precision.png", "worst.png"], ""));
    assert_eq!(picture(&section, "precision.png").width(), 960);
    let none = detect::Findings { coco: Numbers::default(), classes: vec![None], worst: vec![] };
    let empty = super::section_tests::section(&Detect::default(), none, &with_background(1), objects()).unwrap();
    assert!(names_of(&empty) == ["precision.png"] && !empty.html.contains("The worst pictures"), "{}", empty.html);
}

#[test]
fn of_many_classes_the_worst_have_curves() {
    let section = section(&Detect::default(), detections(20), &with_background(20), objects()).unwrap();
    assert!(section.html.contains("the classes that are found worst"));
    let marked = |class: usize| {
        let name = format!("</span> &lt;b&gt;{class}&lt;");
        section.html.contains(&name)
    };
    assert_eq!((0..20).filter(|&class| marked(class)).collect::<Vec<_>>(), [12, 13, 14, 15, 16, 17, 18, 19]);
}

fn masks(classes: usize) -> segment::Findings {
    let mut confusion = vec![vec![0; classes]; classes];
    (confusion[0][0], confusion[0][1], confusion[1][1]) = (600, 200, 200);
    let predicted = [0, 1, 1, 2].into();
    let worst = |index| segment::Worst { index, right: 0.625, size: [2, 2], predicted: Vec::clone(&predicted) };
    segment::Findings { confusion, worst: vec![worst(0), worst(7)] }
}

/// The upper half does not count, the lower one is of class 1.
fn mask() -> GrayImage {
    GrayImage::from_fn(32, 32, |_, y| Luma([if y < 16 { 255 } else { 1 }]))
}

#[test]
fn masks_are_tables_a_matrix_and_pictures() {
    let section = section(&Segment, masks(3), &names(3), Truth::Mask(mask())).unwrap();
    let html = &section.html;
    assert_shown(
        html,
        &[
            "&lt;b&gt;0&lt;&#x2f;b&gt;</td><td> 75.0 %</td><td> 80.0 %</td><td> 60.0 %</td>",
            "&lt;b&gt;1&lt;&#x2f;b&gt;</td><td> 50.0 %</td><td> 20.0 %</td><td> 40.0 %</td>",
            "&lt;b&gt;2&lt;&#x2f;b&gt;</td><td>-</td>",
            "in per cent of the row",
            ">75.0</td>",
            ">25.0</td>",
            "20.00\u{a0}%</td><td>25.0\u{a0}%",
            "62.5\u{a0}% right",
            "#0<",
            "background: #800000",
        ],
    );
    assert!(!html.contains("#7<"), "{html}");
    assert_drawn(html, "the picture", &grey());
    // Half way to white.
    let pale = RgbImage::from_pixel(32, 32, Rgb([177; 3]));
    assert_drawn(html, "the true mask", &overlay::mask(&pale, &mask()));
    let answer = GrayImage::from_fn(32, 32, |x, y| Luma([if y < 16 { 255 } else { 1 + (x / 16) as u8 }]));
    assert_drawn(html, "the answer, where the truth counts", &overlay::mask(&pale, &answer));
    assert_eq!(names_of(&section), ["confusion.png", "worst.png"]);
    let many = super::section_tests::section(&Segment, masks(26), &names(26), Truth::Mask(mask())).unwrap();
    assert!(!many.html.contains("scope=\"col\"") && many.html.contains("Most frequent mistakes"), "{}", many.html);
    assert_eq!(names_of(&many), ["worst.png"]);
}

#[test]
fn depths_are_a_table_and_pictures_of_one_scale() {
    let predicted_mm = vec![1000, 2000, 3000, 4000];
    let worst = |index, truth_mm| depth::Worst {
        index,
        delta1: 0.25,
        truth_mm,
        size: [2, 2],
        predicted_mm: predicted_mm.clone(),
    };
    let errors = Numbers::default().with("delta1", 0.5).with("rmse", 0.125).with("silog", f64::NAN);
    let findings = depth::Findings { errors, worst: vec![worst(1, [2000, 2500]), worst(0, [1000, 2000])] };
    let truth = DepthMap::from_pixel(32, 32, Luma([2.0]));
    let section = section(&Depth::default(), findings, &[], Truth::Depth(truth.clone())).unwrap();
    let html = &section.html;
    assert_shown(
        html,
        &[
            "delta 1</td><td>50.00 %</td><td>of the pixels are wrong by less than a factor of 1.25",
            "error, m</td><td>0.125</td>",
            "100</td><td>-</td>",
            "from 1.0 m",
            "to 2.5 m",
            "25.0\u{a0}% nearly right",
            "2.0 to 2.5 m",
        ],
    );
    assert!(html.find("#1<") < html.find("#0<"), "the worst is the first");
    let answer = DepthMap::from_fn(32, 32, |x, y| Luma([1.0 + (x / 16) as f32 + 2.0 * (y / 16) as f32]));
    for (what, picture) in [
        ("the picture", grey()),
        ("its depths", overlay::depth(&truth, [1.0, 2.5])),
        ("the answer", overlay::depth(&answer, [1.0, 2.5])),
    ] {
        assert_drawn(html, what, &picture);
    }
    assert_eq!(names_of(&section), ["worst.png"]);
}

/// No font serves right-to-left scripts, since they are not supported.
#[test]
fn boxes_of_names_without_a_font_have_numbers() {
    let named = |name: &str| {
        section(&Detect::default(), detections(1), &["background".into(), name.into()], objects()).unwrap()
    };
    let (by_number, by_name) = (named("class 0"), named("قط"));
    assert!(picture(&by_number, "worst.png") == picture(&by_name, "worst.png"));
    assert!(by_name.footnote.contains("In precision.png and the boxes") && by_name.footnote.contains("class 0 is قط."));
}

#[test]
fn findings_and_pictures_of_another_task_are_told_apart() {
    let tasks: [&dyn Task; 3] = [&Detect::default(), &Segment, &Depth::default()];
    for task in tasks {
        let error = section(task, json!({"mistakes": []}), &names(3), objects()).unwrap_err().to_string();
        assert!(error.contains("validation.json: ") && error.contains("delete that file"), "{error}");
    }
    // The data has other truths now.
    let html = section(&Segment, masks(3), &names(3), objects()).unwrap().html;
    assert!(!html.contains("The worst pictures"), "{html}");
}

#[test]
fn tables_for_a_terminal_name_classes_and_pictures() {
    let dataset = Dataset::open("shapes", TruthKind::Mask).unwrap();
    let tables = |task: &dyn Task, found: Value, names: &[String]| -> Vec<String> {
        let tables = task.tables(&found, &card(names), &dataset).unwrap();
        let text = |table: task::Table| {
            assert!(table.rows.iter().all(|row| row.len() == table.header.len()));
            table.rows.iter().map(|row| row.join("|")).collect::<Vec<_>>().join("\n")
        };
        tables.into_iter().map(text).collect()
    };
    let found = serde_json::to_value(detections(2)).unwrap();
    let [classes, coco, worst] = tables(&Detect::default(), found, &with_background(2)).try_into().unwrap();
    assert!(classes.contains("<b>0</b>|7| 50.0 %| 25.0 %|-") && coco.contains("ap| 25.0 %|mean over IoU 0.5 to 0.95"));
    assert_eq!(worst, "1|2|1|1|picture 1\n2|2|1|1|picture 2");
    let found = serde_json::to_value(masks(2)).unwrap();
    let [classes, pairs, worst] = tables(&Segment, found, &[]).try_into().unwrap();
    assert!(classes.starts_with(&format!("{}| 75.0 %", dataset.classes[0])), "{classes}");
    assert_eq!(pairs, format!("25.0 %|{}|{}", dataset.classes[0], dataset.classes[1]));
    assert!(worst.starts_with("0|62.5 %|picture 0"), "{worst}");
}
