#![allow(clippy::unwrap_used)]
use std::fs;
use std::sync::Arc;

use super::super::plot::png;
use super::super::task::classify::{self, Classify, Mistake};
use super::super::{EpochLine, Metrics, Numbers, Recipe, StepLine};
use super::*;
use crate::data::{Sample, Truth};
use crate::models::Config;

/// Pictures of one colour each.
struct Plain;

impl Source for Plain {
    fn len(&self) -> usize {
        100
    }

    fn sample(&self, index: usize) -> Result<Sample, crate::data::Error> {
        Ok(Sample { image: image::RgbImage::from_pixel(8, 8, image::Rgb([index as u8, 0, 0])), truth: Truth::Class(0) })
    }
}

fn card(classes: usize) -> ModelCard {
    let names = (0..classes).map(|i| format!("<b>class & {i}</b>")).collect();
    ModelCard {
        res: 8,
        crop_pct: 1.0,
        classes: names,
        ..ModelCard::for_preset_of(Config::resnet_rs([1; 4], 0.25, classes))
    }
}

/// A folder as training leaves it, with `epochs` validated epochs.
fn run(epochs: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut metrics = Metrics::create(folder.path()).unwrap();
    for step in 0..2 * epochs + 1 {
        let (epoch, loss) = (step / 2, 2.0 - step as f32 * 0.1);
        let line = StepLine { step, epoch, loss, lr: 0.1, images_per_s: 50.0, ..StepLine::default() };
        metrics.write(&Line::Step(line)).unwrap();
        if step % 2 == 1 {
            let raw = Numbers::default().with("top1", 0.5 + 0.125 * epoch as f64).with("loss", 0.0);
            let averaged = Numbers::default().with("top1", 0.25);
            metrics.write(&Line::Epoch(EpochLine::new(epoch, &raw, Some(&averaged)))).unwrap();
        }
    }
    folder
}

/// A resumed run may have lost its `run.toml`.
fn settings(folder: &Path) -> Run {
    let recipe = Recipe { epochs: 3, ..Recipe::default() };
    Run { folder: folder.to_owned(), data: "a<b>".into(), data_from: None, recipe }
}

fn page(folder: &Path, classes: usize) -> String {
    let source: Arc<dyn Source> = Arc::new(Plain);
    write(&settings(folder), &Classify::default(), &card(classes), &*source, &BrokenPictures::default()).unwrap();
    fs::read_to_string(folder.join("report.html")).unwrap()
}

fn found(folder: &Path, classes: usize) {
    let mut confusion = vec![vec![0; classes]; classes];
    (confusion[0][0], confusion[0][1], confusion[1][0]) = (30, 10, 3);
    let mistake = |index| Mistake { index, label: 0, predicted: 1, probability: 0.75, loss: 3.0 };
    let findings = classify::Findings { confusion, mistakes: vec![mistake(7), mistake(9)] };
    Validation { epoch: 1, findings: serde_json::to_value(findings).unwrap() }.write(folder).unwrap();
}

#[test]
fn the_page_shows_everything_and_needs_nothing() {
    let folder = run(2);
    found(folder.path(), 3);
    let html = page(folder.path(), 3);
    for expected in [
        "62.50\u{a0}%",
        "25.00\u{a0}%",
        "best of 2 epochs",
        "of 6<",
        "&lt;b&gt;class &amp; 0&lt;&#x2f;b&gt; → &lt;b&gt;class &amp; 1",
        "25.0\u{a0}%",
        ">30</td>",
        "#7<",
        "small on a&lt;b&gt;",
        "train --resume",
        "&#x27;a&lt;b&gt;&#x27;",
        "after epoch 2",
        "cannot fall below 0.29",
    ] {
        assert!(html.contains(expected), "no {expected} in {html}");
    }
    assert_eq!(html.matches("<svg").count(), 3);
    assert_eq!(html.matches("<b>class").count(), 0, "class names are escaped");
    for elsewhere in ["<script", "src=\"http", "href", "url(", "@import"] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
    let uri = data_uri(&png(&image::RgbImage::from_pixel(8, 8, image::Rgb([7, 0, 0]))).unwrap());
    let escaped = uri.replace('/', "&#x2f;");
    assert!(html.contains(&format!("src=\"{escaped}\"")), "picture 7 in {html}");
}

#[test]
fn the_page_of_a_run_at_its_beginning() {
    let folder = run(0);
    let html = page(folder.path(), 3);
    assert!(html.contains("no epoch validated yet") && html.contains(">1</dd>"), "{html}");
    assert!(!html.contains("What is taken for what") && !html.contains("worst mistakes"), "{html}");
}

/// No font serves right-to-left scripts, since they are not supported.
#[test]
fn names_without_a_font_stand_by_number_in_drawings() {
    let folder = run(2);
    found(folder.path(), 3);
    let source: Arc<dyn Source> = Arc::new(Plain);
    let drawn = |names: [&str; 3]| {
        let card = ModelCard { classes: names.map(String::from).to_vec(), ..card(3) };
        write(&settings(folder.path()), &Classify::default(), &card, &*source, &BrokenPictures::default()).unwrap();
        ["confusion.png", "mistakes.png"].map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    let by_number = drawn(["class 0", "cat", "class 2"]);
    let html = || fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(!html().contains("stand by number"));
    assert!(drawn(["قط", "cat", "כלב"]) == by_number);
    assert!(html().contains("class 0 is قط,") && html().contains("class 2 is כלב."), "{}", html());
}

#[test]
fn many_classes_are_a_list() {
    let folder = run(2);
    found(folder.path(), 26);
    let html = page(folder.path(), 26);
    assert!(!html.contains("scope=\"col\"") && html.contains("Most frequent mistakes"), "{html}");
}

#[test]
fn broken_pictures_are_listed() {
    let folder = run(1);
    assert!(!page(folder.path(), 3).contains("Broken pictures"));
    let broken = |index: usize| Broken { index, picture: format!("cat/{index:03}.jpg"), problem: "cut <short>".into() };
    let broken = BrokenPictures {
        train: (0..BROKEN + 1).map(|index| (index, broken(index))).collect(),
        val: [(7, broken(7))].into(),
    };
    write(&settings(folder.path()), &Classify::default(), &card(3), &Plain, &broken).unwrap();
    let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("52 pictures could not be read") && html.contains("The first 50 of them"), "{html}");
    assert!(html.contains("train&#x2f;cat&#x2f;007.jpg") && html.contains("cut &lt;short&gt;"), "{html}");
}

#[test]
fn a_damaged_file_is_named() {
    let folder = run(1);
    let (task, none) = (Classify::default(), BrokenPictures::default());
    // The second is what another task may have found.
    for found in ["{", r#"{"epoch":0,"boxes":[]}"#] {
        fs::write(folder.path().join("validation.json"), found).unwrap();
        let error = write(&settings(folder.path()), &task, &card(3), &Plain, &none).unwrap_err().to_string();
        assert!(error.contains("validation.json: ") && error.contains("delete that file"), "{error}");
    }
}

#[test]
fn base64_of_the_standard() {
    for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(data_uri(text.as_bytes()), format!("data:image/png;base64,{expected}"));
    }
}

#[test]
fn words_for_a_shell() {
    for (word, expected) in
        [("a/b.c", "a/b.c"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$(x)", "'$(x)'")]
    {
        assert_eq!(quoted(word), expected);
    }
}
