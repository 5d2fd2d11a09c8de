//! Detectors, segmentation and depth networks as an application uses them: their answers are those that an evaluation
//! of the same pictures counts, in the pictures' own pixels.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/synth.rs"]
mod synth;
#[path = "common/weights.rs"]
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;

use golden::{SEED, assert_close};
use image::RgbImage;
use resnet_rs::boxes::{self, Object, Selection};
use resnet_rs::data::{self, CropMode, Sample, Source, Truth};
use resnet_rs::exec::SessionOptions;
use resnet_rs::gpu::Gpu;
use resnet_rs::inference::Inference;
use resnet_rs::models::{DeepLabV3, DenseDepth, Head, Input, RetinaNet};
use resnet_rs::train::task::{self, detect, segment};
use resnet_rs::train::{Evaluation, Show, evaluate};
use resnet_rs::weights::{HostTensor, StateDict, TrainedNetwork};
use resnet_rs::{
    Classifier, DepthEstimator, Detector, Features, InferenceOptions, Picture, Precision, Segmentation, Segmenter,
};

/// The golden file's detector.
fn detector() -> TrainedNetwork {
    weights::with_head(Head::RetinaNet(RetinaNet { channels: 32 }), 4, 32)
}

/// The golden files' segmentation network.
fn segmenter() -> TrainedNetwork {
    weights::with_head(Head::DeepLabV3(DeepLabV3 { channels: 32, auxiliary: true }), 4, 16)
}

/// The golden file's depth network.
fn depth_network() -> TrainedNetwork {
    let head = DenseDepth { widths: [64, 32, 32, 16, 16], max_m: 10.0 };
    weights::with_head(Head::DenseDepth(head), 1, 32)
}

fn options(batch: usize) -> InferenceOptions<'static> {
    InferenceOptions { batch, ..InferenceOptions::default() }
}

/// Smooth shapes in colours derived from a seed. Each side is three times as long as the part of the input that shows
/// it, so the centre of each of the input's pixels is that of a pixel of the picture, whose answer is the input's.
fn picture(seed: u32) -> RgbImage {
    let [width, height] = if seed.is_multiple_of(2) { [192, 144] } else { [96, 192] };
    let wave = |at: u32, period: f32| (127.5 + 127.5 * (at as f32 / period + seed as f32).sin()) as u8;
    RgbImage::from_fn(width, height, |x, y| image::Rgb([wave(x, 9.0), wave(y, 17.0), wave(x + 2 * y, 31.0)]))
}

/// One picture with its truth.
struct One(RgbImage, Truth);

impl Source for One {
    fn len(&self) -> usize {
        1
    }

    fn sample(&self, _index: usize) -> Result<Sample, data::Error> {
        Ok(Sample { image: self.0.clone(), truth: self.1.clone() })
    }
}

/// What the task's evaluation finds for one picture: its numbers, and its findings.
fn evaluated(gpu: &Gpu, network: &TrainedNetwork, picture: &RgbImage, truth: Truth) -> (Evaluation, serde_json::Value) {
    let (card, size) = (&network.card, [network.card.res as usize; 2]);
    let task = task::of_network(card);
    let input = Input::Pixels { mean: card.mean, std: card.std };
    let mut inference = Inference::load(gpu, network, size, input, task::readings(&task), &options(1)).unwrap();
    let mut metric = task.metric(card, Some(1));
    let source: Arc<dyn Source> = Arc::new(One(picture.clone(), truth));
    let show = Show { batch: 1, size, view: card.view() };
    let result = evaluate(&mut inference, &source, show, task.clone(), &mut *metric, |_, _| true).unwrap().unwrap();
    (result, metric.findings())
}

#[test]
fn a_detector_answers_what_an_evaluation_counts() {
    adapters::on_fastest(|gpu| {
        let network = detector();
        let net = Detector::new(gpu, &network, &options(1)).unwrap();
        let pictures = [1, 2, 3].map(picture);
        let answers = net.submit_all(&pictures).unwrap().wait().unwrap();
        for (picture, answer) in pictures.iter().zip(&answers) {
            let truth = Truth::Objects(vec![Object::new(0, [5.0, 5.0, 50.0, 50.0])]);
            let (_, findings) = evaluated(gpu, &network, picture, truth);
            let findings: detect::Findings = serde_json::from_value(findings).unwrap();
            // A score between f32's neighbours of 0.3 is one's and not the other's; there is none.
            let sure = answer.above(0.3f32.next_up());
            let got: Vec<_> = sure.iter().map(|found| (found.class as u32 - 1, found.score, found.bounds)).collect();
            assert!(got.len() > 3, "{} objects", got.len());
            // An evaluation also counts boxes that no part of the picture is in.
            let counted = findings.worst[0].found.iter().filter(|(.., bounds)| boxes::area(*bounds) > 0.0);
            assert!(got.iter().eq(counted), "other objects than in the evaluation");

            let [width, height] = [picture.width() as f32, picture.height() as f32];
            let inside = |[left, top, right, bottom]: [f32; 4]| {
                (0.0..=right).contains(&left) && (0.0..=bottom).contains(&top) && right <= width && bottom <= height
            };
            assert!(answer.objects.iter().all(|found| inside(found.bounds) && found.class > 0));
            assert!(answer.objects.iter().any(|found| found.bounds[3] > 64.0), "in pixels of the picture");
            assert!(answer.objects.iter().all(|found| found.label == format!("kind {}", found.class)));
            assert!(answer.objects.is_sorted_by(|a, b| a.score >= b.score));
        }

        // Batches add up in another order; each picture has its own size.
        let two = Detector::new(gpu, &network, &options(2)).unwrap().submit_all(&pictures).unwrap().wait().unwrap();
        for (two, one) in two.iter().zip(&answers) {
            let near = |a: f32, b: f32| (a - b).abs() < 0.01;
            let [two, one] = [two, one].map(|answer| &answer.objects[0]);
            assert!(near(two.score, one.score) && two.bounds.iter().zip(one.bounds).all(|(a, b)| near(*a, b)));
        }

        let net = net.with_selection(Selection { most: 40, ..Selection::default() });
        let few = net.detect(&pictures[0]).unwrap();
        // Some of the forty are of the background, or outside of the picture.
        let count = few.objects.len();
        assert!((1..40).contains(&count) && few.objects == answers[0].objects[..count], "{count}");
    });
}

#[test]
fn a_segmenter_answers_what_an_evaluation_counts() {
    adapters::on_fastest(|gpu| {
        let network = segmenter();
        let net = Segmenter::new(gpu, &network, &options(1)).unwrap();
        for picture in [2, 3].map(picture) {
            let answer = net.segment(&picture).unwrap();
            assert_eq!(answer.classes.dimensions(), picture.dimensions());
            let shares = answer.shares();
            assert!(shares.len() > 1 && shares.is_sorted_by(|a, b| a.share >= b.share), "{shares:?}");
            assert!((shares.iter().map(|class| class.share).sum::<f64>() - 1.0).abs() < 1e-9, "all pixels are seen");
            assert_eq!(answer.label(shares[0].class as u16), Some(shares[0].label.clone()));

            let (result, findings) = evaluated(gpu, &network, &picture, Truth::Mask(answer.mask().unwrap()));
            assert_eq!(result.numbers.get("pixel_accuracy"), Some(1.0));
            let findings: segment::Findings = serde_json::from_value(findings).unwrap();
            // Each of the input's pixels, without the border, is nine pixels of the picture.
            for class in shares {
                let counted = 9 * findings.confusion[class.class].iter().sum::<u64>();
                let pixels = f64::from(picture.width() * picture.height());
                assert!((class.share * pixels - counted as f64).abs() < 1e-6, "{class:?}, {counted}");
            }
        }
    });
}

#[test]
fn a_depth_network_answers_what_an_evaluation_counts() {
    adapters::on_fastest(|gpu| {
        let network = depth_network();
        let net = DepthEstimator::new(gpu, &network, &options(1)).unwrap();
        for picture in [2, 3].map(picture) {
            let answer = net.estimate(&picture).unwrap();
            assert_eq!(answer.metres.dimensions(), picture.dimensions());
            let [near, far] = answer.range().unwrap();
            assert!(near > 0.0 && near < far && far <= 10.0, "{near} {far}");
            let (result, _) = evaluated(gpu, &network, &picture, Truth::Depth(answer.metres));
            // The picture's depths are interpolated: of two depths of the input, with weights that are rounded.
            assert_eq!(result.numbers.get("delta1"), Some(1.0));
            assert!(result.numbers.get("abs_rel").unwrap() < 1e-6, "{:?}", result.numbers);
        }
    });
}

/// Each form of a picture: prepared ahead, as a texture's bytes would be, in f16.
#[test]
fn every_form_of_a_picture_maps_back_to_its_own_size() {
    adapters::on_fastest(|gpu| {
        let picture = picture(2);
        let net = Segmenter::new(gpu, &segmenter(), &options(1)).unwrap();
        let want = net.segment(&picture).unwrap();
        assert_eq!(net.segment(net.prepare(&picture).unwrap()).unwrap(), want);
        assert_eq!(pollster::block_on(net.submit(Picture::from(&picture)).unwrap()).unwrap(), want);
        let net = Detector::new(gpu, &detector(), &options(1)).unwrap();
        assert_eq!(net.detect(net.prepare(&picture).unwrap()).unwrap(), net.detect(&picture).unwrap());

        // The sides of a centre crop are not seen.
        let mut network = segmenter();
        network.card.crop_mode = CropMode::Center;
        let cropped = Segmenter::new(gpu, &network, &options(1)).unwrap().segment(&picture).unwrap();
        // Of 85 resized columns the first is 10; a column is 192 / 85 pixels.
        let unseen = |x| cropped.classes.get_pixel(x, 70)[0] == Segmentation::UNSEEN;
        assert!(unseen(0) && unseen(22) && !unseen(23) && !unseen(166) && unseen(167) && unseen(191));
        assert_eq!(cropped.mask().unwrap().get_pixel(0, 0)[0], data::IGNORED);
        assert_eq!(cropped.label(Segmentation::UNSEEN), None);
        assert!((cropped.shares().iter().map(|class| class.share).sum::<f64>() - 0.75).abs() < 1e-9);
    });
}

#[test]
fn half_precision_changes_few_pixels() {
    adapters::on_each_half(|gpu| {
        let half = InferenceOptions { precision: Precision::F16, ..options(1) };
        let [full, half] = [options(1), half].map(|options| {
            let answer = Segmenter::new(gpu, &segmenter(), &options).unwrap().segment(picture(2)).unwrap();
            answer.classes
        });
        let off = full.iter().zip(half.iter()).filter(|(full, half)| full != half).count();
        assert!(off < full.len() / 20, "{off} of {}", full.len());
    });
}

#[test]
fn outputs_are_those_of_torchvision() {
    adapters::on_fastest(|gpu| {
        let check = |case: &str, shape: [usize; 4], got: BTreeMap<String, HostTensor>, shapes: &[(&str, &[usize])]| {
            let want = golden::load(case);
            assert_eq!(got.len(), shapes.len(), "{case}");
            for (name, of) in shapes {
                assert_eq!(got[*name].shape, *of, "{case} {name} of {shape:?}");
                let wide: Vec<f64> = got[*name].data.iter().map(|&v| v.into()).collect();
                assert_close(&format!("{case} {name}"), &wide, &want[&format!("eval_{name}")], 1e-4);
            }
        };
        let nchw = |shape: [usize; 4]| -> Vec<f32> {
            synth::value("input", shape.iter().product(), SEED).iter().map(|v| 1.7 * v).collect()
        };
        let shape = [2, 3, 128, 160];
        let got = Detector::new(gpu, &detector(), &options(1)).unwrap().outputs(&nchw(shape), shape).unwrap();
        // 16 x 20, 8 x 10, 4 x 5, 2 x 3 and 1 x 2 cells.
        let anchors = 9 * (320 + 80 + 20 + 6 + 2);
        check("retinanet", shape, got, &[("logits", &[2, anchors, 4]), ("boxes", &[2, anchors, 4])]);
        let shape = [2, 3, 65, 97];
        let got = Segmenter::new(gpu, &segmenter(), &options(1)).unwrap().outputs(&nchw(shape), shape).unwrap();
        check("deeplabv3_os16", shape, got, &[("logits", &[2, 4, 65, 97])]);
        let shape = [2, 3, 64, 96];
        let got =
            DepthEstimator::new(gpu, &depth_network(), &options(1)).unwrap().outputs(&nchw(shape), shape).unwrap();
        check("depth", shape, got, &[("depth", &[2, 1, 32, 48])]);
    });
}

#[test]
fn backbones_of_all_networks_give_features() {
    adapters::on_fastest(|gpu| {
        for (network, strides) in
            [(detector(), [2, 4, 8, 16, 32]), (segmenter(), [2, 4, 8, 16, 16]), (depth_network(), [2, 4, 8, 16, 32])]
        {
            let maps = Features::new(gpu, &network, &options(1)).unwrap().extract(picture(2)).unwrap();
            assert_eq!(maps.each_ref().map(|map| map.stride), strides);
            assert!(maps.iter().all(|map| map.shape[0] == 64 / map.stride), "{strides:?}");
        }
    });
}

#[test]
fn weights_for_another_task_are_refused_with_the_predictor_that_takes_them() {
    adapters::on_fastest(|gpu| {
        let classifier = weights::network(&{
            let mut card = segmenter().card;
            card.config.head = Head::Classifier;
            card
        });
        let refused = |error: resnet_rs::Error, expected: &str| {
            assert_eq!(error.to_string(), format!("synthetic: these weights are those of a {expected}"));
        };
        refused(Classifier::new(gpu, &detector(), &options(1)).unwrap_err(), "detector: load them with Detector");
        let segmenter = segmenter();
        let expected = "segmentation network: load them with Segmenter";
        refused(Detector::new(gpu, &segmenter, &options(1)).unwrap_err(), expected);
        let expected = "depth network: load them with DepthEstimator";
        refused(Segmenter::new(gpu, &depth_network(), &options(1)).unwrap_err(), expected);
        let expected = "classifier: load them with Classifier";
        refused(DepthEstimator::new(gpu, &classifier, &options(1)).unwrap_err(), expected);
    });
}

/// A file as torchvision has it, without a card.
#[test]
fn weights_without_a_card_are_recognised() {
    adapters::on_fastest(|gpu| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.safetensors");
        StateDict { metadata: BTreeMap::new(), ..detector().weights }.write(&path).unwrap();
        let mut network = TrainedNetwork::read(&path).unwrap();
        assert_eq!((&network.card.config, network.card.res), (&detector().card.config, 800));
        network.card.res = 64;
        let session = SessionOptions::default();
        let net = Detector::new(gpu, &network, &InferenceOptions { session, ..options(1) }).unwrap();
        assert!(net.detect(picture(2)).unwrap().objects.iter().all(|found| found.label == found.class.to_string()));
    });
}
