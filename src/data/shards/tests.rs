#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

use super::super::{Augmentation, Batches, LoaderOptions, Transform};
use super::*;

/// Bytes of a tar's end: two blocks of zeros.
const END_BYTES: usize = 1024;

/// A PNG of one pixel that shows a number.
fn picture(number: u32) -> Vec<u8> {
    let [low, high, ..] = number.to_le_bytes();
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(1, 1, Rgb([low, high, 0])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A data set of two classes with one sample each in its training shard and in its validation shard.
fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (picture(0), picture(1));
    let good = tar(&[("a.jpg", &a), ("a.cls", b"0"), ("b.jpg", &b), ("b.cls", b"1")]);
    put(&folder, "train-0.tar", &good);
    put(&folder, "val-0.tar", &good);
    folder
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn message(folder: &TempDir) -> String {
    open(folder.path(), Wanted::Training).unwrap_err().to_string()
}

/// The error of [`open`] for [`small`] with another shard beside its own.
fn refusal(members: &[(&str, &[u8])]) -> String {
    let folder = small();
    put(&folder, "train-1.tar", &tar(members));
    message(&folder)
}

/// 2,000 samples in 20 shards: the picture shows the sample's number; the class is the number modulo 7.
fn numbered() -> (TempDir, Dataset) {
    let folder = small();
    std::fs::remove_file(folder.path().join("train-0.tar")).unwrap();
    for shard in 0..20 {
        let mut members = Vec::new();
        for number in shard * 100..(shard + 1) * 100 {
            let class = number % 7;
            members.push((format!("some/folder/{number:05}.png"), picture(number)));
            members.push(match number % 2 {
                0 => (format!("some/folder/{number:05}.cls"), format!("{class}\n").into_bytes()),
                _ => (format!("some/folder/{number:05}.json"), format!("{{\"label\": {class}}}").into_bytes()),
            });
            members.push((format!("some/folder/{number:05}.txt"), b"a caption".to_vec()));
        }
        let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        put(&folder, &format!("train-{shard:03}.tar"), &tar(&members));
    }
    let data = open(folder.path(), Wanted::Training).unwrap();
    (folder, data)
}

#[test]
fn a_pass_over_two_thousand_samples_gives_each_with_its_class() {
    let (_folder, data) = numbered();
    assert_eq!(data.train.len(), 2000);
    assert_eq!(data.classes, ["0", "1", "2", "3", "4", "5", "6"]);
    let augmentation = Augmentation::default();
    let transform = Transform::Train { augmentation, small: true, shuffle: true, seed: 3 };
    let options = LoaderOptions { batch: 50, at_once: 1, size: [1, 1], transform };
    let pass = |epoch, start| -> Vec<(u32, u32)> {
        Batches::new(data.train.clone(), options, epoch, start)
            .map(|batch| batch.unwrap())
            .flat_map(|batch| {
                batch
                    .pixels
                    .into_iter()
                    .map(|pixel| pixel & 0xFFFF)
                    .zip(batch.truths.into_iter().filter_map(|truth| truth.class()))
            })
            .collect()
    };
    let epoch = pass(0, 0);
    assert!(epoch.iter().all(|&(number, label)| label == number % 7));
    assert_ne!(epoch, pass(1, 0));
    assert_eq!(epoch[17 * 50..], pass(0, 17)[..], "entered in the middle");
    let mut numbers: Vec<u32> = epoch.into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2000), "each once");
}

#[test]
fn members_are_told_apart_by_key_and_ending() {
    let folder = small();
    let [a, b, c] = [5, 6, 7].map(picture);
    let long = format!("{}/c", "folder.with.dots/".repeat(10));
    put(
        &folder,
        "train/more.tar",
        &tar(&[
            ("x/a.PNG", &a),
            ("x/b.webp", &b),
            ("x/b.seg.png", b"another kind"),
            ("x/b.json", b"{\"url\": \"no label\"}"),
            ("x/b.cls", b"1"),
            ("x/._b.png", b"hidden"),
            ("x/a.json", b"{\"label\": 0, \"width\": 1}"),
            (&format!("{long}.jpeg"), &c),
            (&format!("{long}.cls"), b" 1\r\n"),
        ]),
    );
    put(&folder, "classes.txt", b"cat\r\ndog\r\nnever seen\n\n");
    let data = open(folder.path(), Wanted::Training).unwrap();
    assert_eq!(data.classes, ["cat", "dog", "never seen"]);
    let samples: Vec<(u8, u32)> = (0..data.train.len())
        .map(|index| data.train.sample(index).unwrap())
        .map(|sample| (sample.image.get_pixel(0, 0)[0], sample.truth.class().unwrap()))
        .collect();
    assert_eq!(samples, [(0, 0), (1, 1), (5, 0), (6, 1), (7, 1)]);
}

/// Cuts a shard of two samples at every byte, except within the padding at its end.
#[test]
fn cut_shards_are_refused_and_named() {
    let folder = small();
    let whole = std::fs::read(folder.path().join("val-0.tar")).unwrap();
    for (length, expected) in [
        (0, "train-0.tar: cut short after its start"),
        (300, "train-0.tar: no tar, or cut short or damaged after its start"),
        (512 + 20, "train-0.tar/a.jpg: the shard is cut short in this member, which should end at byte"),
        (1024, "train-0.tar: cut short after a.jpg"),
        (1024 + 300, "train-0.tar: no tar, or cut short or damaged after a.jpg"),
        (1024 + 512, "train-0.tar/a.cls: the shard is cut short in this member, which should end at byte 1537 of 1536"),
        (2048, "train-0.tar: cut short after a.cls, since no block of zeros marks the end"),
        (whole.len() - END_BYTES, "train-0.tar: cut short after b.cls"),
    ] {
        put(&folder, "train-0.tar", &whole[..length]);
        let message = message(&folder);
        assert!(message.contains(expected) && message.contains("again"), "{length}: {message}");
    }
    for length in (0..whole.len() - END_BYTES).step_by(37) {
        put(&folder, "train-0.tar", &whole[..length]);
        assert!(message(&folder).contains("train-0.tar"), "{length}");
    }
    put(&folder, "train-0.tar", &whole[..whole.len() - 512]);
    assert!(open(folder.path(), Wanted::Training).is_ok());
}

#[test]
fn contradictory_samples_are_refused_and_named() {
    let a = picture(0);
    for (members, expected) in [
        (&[("k/a.jpg", &a[..])][..], "train-1.tar/k/a: a picture without a class: add k/a.cls"),
        (&[("a.jpg", &a), ("a.json", b"{}")], "train-1.tar/a: a picture without a class"),
        (&[("a.cls", b"1")], "train-1.tar/a: a class without a picture: add a.jpg"),
        (
            &[("a.jpg", &a), ("a.cls", b"1"), ("a.jpg", &a), ("a.cls", b"1")],
            "train-1.tar/a.jpg: a second picture for a:",
        ),
        (&[("a.jpg", &a), ("a.png", &a), ("a.cls", b"1")], "train-1.tar/a.png: a second picture for a:"),
        (&[("a.jpg", &a), ("a.cls", b"1"), ("a.json", b"{\"label\":0}")], "train-1.tar/a.json: a second class for a"),
        (
            &[("a.jpg", &a), ("a.cls", b"65536")],
            "train-1.tar/a.cls: class 65536 is out of range: without a classes.txt",
        ),
        (&[("a.jpg", &a), ("a.cls", b"-1")], "train-1.tar/a.cls: \"-1\" is no class"),
        (&[("a.jpg", &a), ("a.cls", b"\xFF")], "train-1.tar/a.cls: "),
        (&[("a.jpg", &a), ("a.json", &[b' '; 1048577])], "train-1.tar/a.json: has 1048577 bytes"),
        (&[("a.jpg", &a), ("a.json", b"{")], "train-1.tar/a.json: no JSON"),
        (&[("a.jpg", &a), ("a.cls", b"1.5")], "train-1.tar/a.cls: \"1.5\" is no class"),
        (&[("a.jpg", &a), ("a.cls", b" \n")], "train-1.tar/a.cls: \"\" is no class"),
        (&[("a.jpg", &a), ("a.cls", b"two\nlines")], "train-1.tar/a.cls: \"two\\nlines\" is no class"),
        (&[("a.jpg", &a), ("a.json", b"{\"label\":[1]}")], "train-1.tar/a.json: \"label\" is [1]"),
        (&[("a.jpg", &a), ("a.cls", b"dog")], "train-1.tar: its classes are numbers and those of other shards names"),
        (
            &[("a.jpg", &a), ("a.cls", b"dog"), ("b.jpg", &a), ("b.cls", b"1")],
            "train-1.tar/b.cls: some classes are numbers and others names",
        ),
    ] {
        let message = refusal(members);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn shards_are_found_as_other_tools_name_them() {
    let whole = std::fs::read(small().path().join("val-0.tar")).unwrap();
    for (train, val) in [
        ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"),
        ("train/0.tar", "test/0.tar"),
        ("Train_00.tar", "valid.00.tar"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        put(&folder, train, &whole);
        put(&folder, val, &whole);
        // This name stands for no split.
        put(&folder, "retrained-0.tar", &[1; 600]);
        let data = open(folder.path(), Wanted::Training).unwrap();
        assert_eq!((data.train.len(), data.val.len()), (2, 2), "{train}, {val}");
    }
    // No shard is in both.
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "speed-test-train-0.tar", &whole);
    put(&folder, "speed-test-dev-0.tar", &whole);
    let data = open(folder.path(), Wanted::Training).unwrap();
    assert_eq!([data.train.name(0), data.val.name(1)], ["speed-test-train-0.tar/a.jpg", "speed-test-dev-0.tar/b.jpg"]);
    assert_eq!((data.train.len(), data.val.len()), (2, 2));
    let folder = small();
    std::fs::remove_file(folder.path().join("train-0.tar")).unwrap();
    let data = open(folder.path(), Wanted::Validation).unwrap();
    assert_eq!((data.train.len(), data.val.len(), data.classes.len()), (0, 2, 2));
}

#[test]
fn what_is_no_sample_is_passed_over() {
    let folder = small();
    let a = picture(3);
    put(
        &folder,
        "train-1.tar",
        &tar(&[
            ("README.md", b"text"),
            ("index.json", b"{\"shards\": 1}"),
            ("a.jpg", &a),
            ("a.cls", b"1"),
            ("a.txt", b"c"),
        ]),
    );
    let data = open(folder.path(), Wanted::Training).unwrap();
    assert_eq!((data.train.len(), &*data.passed_over.to_string()), (3, "1 .json, 1 .md, 1 .txt"));
    assert_eq!(data.train.names_of(&[2, 0]), ["train-1.tar/a.jpg", "train-0.tar/a.jpg"]);
}

#[test]
fn what_is_unfit_for_training_is_open_for_inspection() {
    let folder = small();
    std::fs::remove_file(folder.path().join("val-0.tar")).unwrap();
    assert_eq!(open(folder.path(), Wanted::Everything).unwrap().train.len(), 2);
    put(&folder, "val-0.tar", &tar(&[("c.jpg", &picture(2)), ("c.cls", b"2")]));
    assert!(message(&folder).contains("is in no training shard"));
    assert_eq!(open(folder.path(), Wanted::Everything).unwrap().classes, ["0", "1", "2"]);
}

#[test]
fn dotted_endings_count_where_there_are_no_plain_ones() {
    let folder = small();
    let [a, b] = [5, 6].map(picture);
    put(
        &folder,
        "train-1.tar",
        &tar(&[
            ("a.mask.png", b"another kind"),
            ("a.input.jpg", &a),
            ("a.target.cls", b"1"),
            ("__MACOSX/._a.input.jpg", b"junk"),
            ("IMG_0.5.jpg", &b),
            ("IMG_0.5.cls", b"0"),
        ]),
    );
    let data = open(folder.path(), Wanted::Training).unwrap();
    let of = |index| data.train.sample(index).map(|s| (s.image.get_pixel(0, 0)[0], s.truth.class().unwrap())).unwrap();
    assert_eq!([of(2), of(3)], [(5, 1), (6, 0)]);
    assert!(refusal(&[("a.1.jpg", &a), ("a.2.jpg", &a), ("a.cls", b"0")]).contains("a second picture for a:"));
}

#[test]
fn classes_may_be_given_by_name() {
    let named = |train: [&str; 2], val: &str| {
        let folder = tempfile::tempdir().unwrap();
        let sample = |class: &str| tar(&[("a.png", &picture(0)), ("a.cls", class.as_bytes())]);
        train.iter().zip(0..).for_each(|(class, n)| put(&folder, &format!("train-{n}.tar"), &sample(class)));
        put(
            &folder,
            "val-0.tar",
            &tar(&[("a.png", &picture(0)), ("a.json", format!("{{\"label\": {val:?}}}").as_bytes())]),
        );
        folder
    };
    let data = open(named(["dog\r\n", "cat"], "dog").path(), Wanted::Training).unwrap();
    assert_eq!(data.classes, ["cat", "dog"]);
    assert_eq!([data.train.label(0), data.train.label(1), data.val.label(0)], [Some(1), Some(0), Some(1)]);
    let unlearnt = named(["dog", "cat"], "wolf");
    assert!(
        message(&unlearnt).contains("val-0.tar/a.png: class wolf is in no training shard"),
        "{}",
        message(&unlearnt)
    );
    assert_eq!(open(unlearnt.path(), Wanted::Everything).unwrap().classes, ["cat", "dog", "wolf"]);

    let listed = named(["dog", "cat"], "cat");
    put(&listed, "classes.txt", b"\xEF\xBB\xBFdog\r\ncat\r\n");
    let data = open(listed.path(), Wanted::Training).unwrap();
    assert_eq!(
        (data.train.label(0), data.val.label(0), data.classes),
        (Some(0), Some(1), vec!["dog".into(), "cat".into()])
    );
    put(&listed, "classes.txt", b"dog\nowl\n");
    assert!(
        message(&listed).contains("train-1.tar/a.cls: class \"cat\" is not in classes.txt"),
        "{}",
        message(&listed)
    );
}

#[test]
fn classes_must_be_named_and_learnt() {
    let folder = small();
    put(&folder, "classes.txt", b"cat\ndog\nbird\n");
    put(&folder, "val-1.tar", &tar(&[("x/c.png", &picture(2)), ("x/c.cls", b"2")]));
    let unlearnt = message(&folder);
    assert!(unlearnt.contains("val-1.tar/x/c.png: class 2 (bird) is in no training shard"), "{unlearnt}");
    put(&folder, "classes.txt", b"cat\ndog\n");
    let unnamed = message(&folder);
    assert!(
        unnamed.contains("val-1.tar/x/c.cls: class 2 is out of range: classes.txt names 2, counted from 0"),
        "{unnamed}"
    );
    std::fs::remove_file(folder.path().join("classes.txt")).unwrap();
    let unlearnt = message(&folder);
    assert!(unlearnt.contains("val-1.tar/x/c.png: class 2 is in no training shard"), "{unlearnt}");
    put(&folder, "train-0.tar", &tar(&[("a.png", &picture(2)), ("a.cls", b"2")]));
    assert!(message(&folder).contains("fewer than 2 classes"));
}

#[test]
fn folders_without_usable_shards_are_refused() {
    let folder = small();
    std::fs::remove_file(folder.path().join("val-0.tar")).unwrap();
    assert!(message(&folder).contains("no shards val-*.tar or val/*.tar here; there is only train-0.tar"));
    put(&folder, "val-0.tar", &[0; END_BYTES]);
    assert!(message(&folder).contains("the val shards hold no samples"));
    put(&folder, "val/0.tar.gz", b"");
    assert!(
        message(&folder).contains("val/0.tar.gz: is compressed") && message(&folder).contains("(gzip -d 0.tar.gz)")
    );
    std::fs::remove_file(folder.path().join("val/0.tar.gz")).unwrap();
    put(&folder, "train-1.tar", &[1; 2000]);
    assert!(message(&folder).contains("train-1.tar: no tar, or cut short or damaged after its start"));
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert!(matches!(open(folder.path(), Wanted::Training), Err(Error::Read { .. })));
}

#[test]
fn what_follows_the_last_member_is_a_writers_padding() {
    let folder = small();
    let mut shard = tar(&[("c.jpg", &picture(0)), ("c.cls", b"0")]);
    shard.resize(shard.len() + 20 * 512, 0);
    put(&folder, "train-1.tar", &shard);
    assert_eq!(open(folder.path(), Wanted::Training).unwrap().train.len(), 3);
    shard.extend(tar(&[("d.jpg", &picture(1)), ("d.cls", b"1")]));
    put(&folder, "train-1.tar", &shard);
    assert!(message(&folder).contains("train-1.tar: more follows its end at byte 2048"), "{}", message(&folder));
    shard.truncate(2048);
    shard.resize(2 << 20, 0);
    put(&folder, "train-1.tar", &shard);
    assert!(message(&folder).contains("nothing but zeros from byte 2048 on"), "{}", message(&folder));
}

#[test]
fn pictures_that_do_not_decode_are_named() {
    let folder = small();
    put(&folder, "train-1.tar", &tar(&[("k/x.jpg", b"text"), ("k/x.cls", b"1")]));
    let message = open(folder.path(), Wanted::Training).unwrap().train.sample(2).err().unwrap().to_string();
    assert!(message.contains("train-1.tar/k/x.jpg: not a usable picture: a text file"), "{message}");
}
