//! The library as an application uses it: answers through every form of the front door, and failures.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/synth.rs"]
mod synth;
#[path = "common/weights.rs"]
mod weights;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adapters::hermetic;
use golden::{BRANCH_GAMMA, SEED, assert_close};
use image::{DynamicImage, RgbImage};
use rayon::prelude::*;
use resnet_rs::gpu::{self, Gpu, adapters};
use resnet_rs::models::{Config, Input, Mode, Network, Preset};
use resnet_rs::reference::{self, Values};
use resnet_rs::weights::{ModelCard, TrainedNetwork};
use resnet_rs::{Classifier, Error, Features, InferenceOptions, Precision, exec};

/// Largest error as a share of the largest element.
const TOLERANCE: f64 = 1e-4;

fn small() -> ModelCard {
    ModelCard { res: 48, ..ModelCard::for_preset_of(Config::resnet_rs([1, 1, 1, 1], 0.25, 10)) }
}

fn options(batch: usize) -> InferenceOptions<'static> {
    InferenceOptions { batch, ..InferenceOptions::default() }
}

fn classifier(gpu: &Gpu, card: &ModelCard, batch: usize) -> Classifier {
    Classifier::new(gpu, &weights::network(card), &options(batch)).unwrap()
}

/// Waits for something that must happen soon.
fn soon(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::yield_now();
    }
}

/// A picture in colours derived from a seed.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    let bytes = synth::value("picture", (3 * width * height) as usize, seed);
    RgbImage::from_raw(width, height, bytes.iter().map(|v| (127.5 * (v + 1.0)) as u8).collect()).unwrap()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

fn same(what: &str, got: &[f32], want: &[f32]) {
    assert_close(what, &widen(got), want, TOLERANCE);
}

/// Logits of several shapes one after another, as from timm's model.
#[test]
fn golden_logits() {
    adapters::on_each(|gpu| {
        let card = ModelCard { res: 64, ..ModelCard::for_preset_of(Preset::find("resnetrs50").unwrap().config(1000)) };
        let net = classifier(gpu, &card, 1);
        for size in [64, 75] {
            let want = golden::load(&format!("infer_rs50_{size}"));
            let shape = [2, 3, size, size];
            let nchw: Vec<f32> = synth::value("input", 6 * size * size, SEED).iter().map(|v| 1.7 * v).collect();
            same("logits", &net.logits(&nchw, shape).unwrap(), &want["logits"]);
        }
    });
}

/// Pictures submitted without waiting, in batches, awaited, polled, by several threads at once: each has the same
/// answer.
#[test]
fn every_form_gives_the_same_answers() {
    adapters::on_each(|gpu| {
        let pictures: Vec<RgbImage> = (1..=5).map(|i| picture(40 + 9 * i, 97 - 8 * i, i)).collect();
        let one = classifier(gpu, &small(), 1);
        let want: Vec<Vec<f32>> = pictures.iter().map(|p| one.classify(p).unwrap().logits).collect();
        assert_ne!(want[0], want[1]);
        let check = |form: &str, got: &[resnet_rs::Prediction]| {
            assert_eq!(got.len(), want.len(), "{form}");
            got.iter().zip(&want).for_each(|(got, want)| same(form, &got.logits, want));
        };
        let two = classifier(gpu, &small(), 2);
        check("batches", &two.classify_all(&pictures).unwrap());
        check("awaited", &pollster::block_on(two.submit_all(&pictures).unwrap()).unwrap());

        let dynamic = pictures.iter().map(|p| DynamicImage::from(p.clone()));
        let pending: Vec<_> = dynamic.map(|p| one.submit(p).unwrap()).collect();
        let polled = pending.into_iter().map(|pending| {
            soon("an answer", || pending.is_ready());
            pending.wait().unwrap()
        });
        check("polled", &polled.collect::<Vec<_>>());

        // The first answer is dropped, the second awaited before the third.
        drop(one.submit(&pictures[4]).unwrap());
        let later: Vec<_> = pictures.iter().map(|p| one.submit(p).unwrap()).collect();
        let awaited = later.into_iter().map(|pending| pollster::block_on(pending).unwrap());
        check("awaited one by one", &awaited.collect::<Vec<_>>());

        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for _ in 0..3 {
                        check("by three threads", &two.classify_all(&pictures).unwrap());
                    }
                });
            }
        });
        assert!(one.classify_all(Vec::<RgbImage>::new()).unwrap().is_empty());
    });
}

/// The five maps equal those of the reference before fusion.
#[test]
fn features_are_the_last_maps_of_each_stride() {
    let efficient = ModelCard::for_preset_of(Preset::find("tf_efficientnet_b0").unwrap().config(10));
    let classic = ModelCard::for_preset_of(Preset::find("resnet50").unwrap().config(10));
    let cards = [(small(), BRANCH_GAMMA), (efficient, golden::EFFICIENTNET_GAMMA), (classic, BRANCH_GAMMA)];
    for (card, gamma) in cards {
        let card = ModelCard { res: 64, crop_pct: 1.0, ..card };
        let weights = weights::synthetic(&card.config, gamma);
        let input = Input::Pixels { mean: card.mean, std: card.std };
        let network = Network::build(&card.config, 2, [64; 2], input, Mode::Inference).unwrap();
        let pictures = [picture(64, 64, 1), picture(64, 64, 2)];
        let mut values = Values::new();
        for (name, data) in resnet_rs::weights::timm::values(Path::new("w"), &weights, &network.graph).unwrap() {
            let id = network.graph.find(&name).unwrap();
            values.set(&network.graph, id, widen(&data)).unwrap();
        }
        let packed = |p: &image::Rgb<u8>| f64::from(u32::from_le_bytes([p[0], p[1], p[2], 255]));
        let pixels = pictures.iter().flat_map(RgbImage::pixels).map(packed).collect();
        values.set(&network.graph, network.input, pixels).unwrap();
        reference::run(&network.graph, &mut values).unwrap();

        let trained = TrainedNetwork { path: "synthetic".into(), weights, card };
        adapters::on_fastest(|gpu| {
            let features = Features::new(gpu, &trained, &options(2)).unwrap();
            for (i, maps) in features.extract_all(&pictures).unwrap().iter().enumerate() {
                for (level, map) in maps.iter().enumerate() {
                    let want = values.get(network.levels[level].map).unwrap();
                    let of_picture: Vec<f32> =
                        want[i * want.len() / 2..(i + 1) * want.len() / 2].iter().map(|&v| v as f32).collect();
                    assert_eq!((map.stride, map.shape[0], map.shape[1]), (2 << level, 32 >> level, 32 >> level));
                    same("features", &map.data, &of_picture);
                }
            }
        });
    }
}

#[test]
fn half_precision_through_the_front_door() {
    adapters::on_each_half(|gpu| {
        let card = small();
        let full = classifier(gpu, &card, 1);
        let half = InferenceOptions { precision: Precision::F16, ..InferenceOptions::default() };
        let half = Classifier::new(gpu, &weights::network(&card), &half).unwrap();
        for seed in 1..4 {
            let picture = picture(48, 48, seed);
            let [full, half] = [&full, &half].map(|net| net.classify(&picture).unwrap());
            let off =
                full.probabilities.iter().zip(&half.probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 0.01 && off > 0.0, "{off}");
        }
    });
}

#[test]
fn pictures_without_pixels_and_tensors_of_other_shapes_are_refused() {
    adapters::on_fastest(|gpu| {
        let net = classifier(gpu, &small(), 1);
        let empty = net.classify(RgbImage::new(0, 7)).unwrap_err().to_string();
        assert!(empty.contains("0 x 7 pixels"), "{empty}");
        for (shape, got) in [([1, 3, 8, 8], 191), ([1, 1, 8, 8], 64), ([0, 3, 8, 8], 0), ([usize::MAX, 3, 8, 8], 192)] {
            let refused = net.logits(&vec![0.0; got], shape).unwrap_err().to_string();
            assert!(refused.contains("is not [N, 3, H, W]"), "{refused}");
        }
        net.classify(picture(3000, 2, 1)).unwrap();
        let narrow = ModelCard { res: 32, ..small() };
        let prepared = classifier(gpu, &narrow, 1).prepare(picture(30, 30, 1)).unwrap();
        let refused = net.classify(prepared).unwrap_err().to_string();
        assert!(refused.contains("another size or crop"), "{refused}");
    });
}

#[test]
fn a_card_that_says_what_cannot_be_is_refused() {
    adapters::on_fastest(|gpu| {
        let changes: [fn(&mut ModelCard); 5] = [
            |c| c.crop_pct = 1.2,
            |c| c.crop_pct = f64::NAN,
            |c| c.std[1] = 0.0,
            |c| c.res = 0,
            |c| c.classes.truncate(3),
        ];
        for change in changes {
            let mut card = ModelCard { classes: vec!["a".into(); 10], ..small() };
            change(&mut card);
            let refused = Classifier::new(gpu, &weights::network(&card), &options(1)).unwrap_err().to_string();
            assert!(refused.contains("synthetic: the card has"), "{refused}");
        }
    });
}

/// Workers of a pool wait for each other's work, while a network is made for each new shape.
#[test]
fn a_pool_of_threads_may_share_a_classifier() {
    adapters::on_fastest(|gpu| {
        let net = classifier(gpu, &small(), 1);
        let answers: Vec<Vec<f32>> = (0..24usize)
            .into_par_iter()
            .map(|i| {
                let side = 16 + 8 * (i % 3);
                net.logits(&vec![0.5; 3 * side * side], [1, 3, side, side]).unwrap()
            })
            .collect();
        for (i, answer) in answers.iter().enumerate() {
            assert_eq!(answer, &answers[i % 3], "{i}");
        }
    });
}

/// With all workers, and then in a pool of one, with more pictures than are ever decoded ahead.
#[test]
fn a_stream_of_files_ends_in_every_way() {
    stream_files();
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(stream_files);
}

/// Some files are not pictures; the callback breaks; the device is lost.
fn stream_files() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..20).map(|i| folder.path().join(format!("{i:02}.png"))).collect();
    for (i, path) in (0..).zip(&paths) {
        if i % 7 == 3 {
            std::fs::write(path, "no picture").unwrap();
        } else {
            picture(40 + i, 60 - i, i).save(path).unwrap();
        }
    }
    let gpu = Gpu::new(&hermetic()).unwrap();
    let (net, one) = (classifier(&gpu, &small(), 3), classifier(&gpu, &small(), 1));
    let mut told = 0;
    let whole = net.classify_files(&paths, |path, answer| {
        assert_eq!(path, paths[told]);
        match answer {
            Ok(answer) => {
                let want = one.classify(image::open(path).unwrap()).unwrap();
                same("a file", &answer.logits, &want.logits);
            }
            Err(error) => assert!(told % 7 == 3 && error.to_string().contains("not a usable picture"), "{error}"),
        }
        told += 1;
        ControlFlow::<()>::Continue(())
    });
    assert_eq!((whole.unwrap(), told), (ControlFlow::Continue(()), 20));

    let mut told = 0;
    let enough = net.classify_files(&paths, |_, _| {
        told += 1;
        if told == 5 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
    });
    assert_eq!((enough.unwrap(), told), (ControlFlow::Break("enough"), 5));

    let lost = net.classify_files(&paths, |_, _| {
        gpu.destroy();
        ControlFlow::<()>::Continue(())
    });
    assert!(lost.unwrap_err().to_string().contains("was lost"));
}

/// Pending answers fail with the reason, and so do later calls. A new device works.
#[test]
fn a_lost_device_is_an_error_and_a_new_one_works() {
    for adapter in adapters() {
        let options = gpu::GpuOptions { device: Some(adapter.index.to_string()), ..hermetic() };
        let gpu = Gpu::new(&options).unwrap();
        let (net, picture) = (classifier(&gpu, &small(), 1), picture(50, 50, 1));
        let want = net.classify(&picture).unwrap().logits;
        let awaited = net.submit(&picture).unwrap();
        let waited = net.submit(&picture).unwrap();
        gpu.destroy();
        let lost = |result: Result<_, Error>| {
            let lost = matches!(result, Err(Error::Exec(exec::Error::Gpu(gpu::Error::DeviceLost { .. }))));
            assert!(lost || result.is_ok(), "{:?}", result.err());
            lost
        };
        // Answers that were finished before the loss may still arrive.
        lost(pollster::block_on(awaited));
        soon("an answer, or the loss", || waited.is_ready());
        lost(waited.wait());
        assert!(lost(net.classify(&picture)), "nothing new is begun");

        let gpu = Gpu::new(&options).unwrap();
        assert_eq!(classifier(&gpu, &small(), 1).classify(&picture).unwrap().logits, want);
    }
}
