//! Tensors larger than one binding give the same answers as small batches.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;

use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::{Gpu, Target, Tuning};
use resnet_rs::graph::autodiff::{self, Loss};
use resnet_rs::graph::op::{
    AvgPool, BatchNorm, Conv2d, FocalLoss, GlobalAvgPool, Linear, MAX_BINDING_BYTES, Padding, ScaleAdd,
    SoftmaxCrossEntropy, Window,
};
use resnet_rs::graph::{Activation, DType, Graph, Init, Spec, StateKind};
use resnet_rs::inference::{Answer, Inference};
use resnet_rs::kernels::{Choices, ConvShape, Method, candidates, lower};
use resnet_rs::models::{Config, Input, Mode, Network, ResNet};
use resnet_rs::reference::{self, Values};

const RES: usize = 224;

/// The direct method for all convolutions of a network, since by default the algorithm depends on the size of the
/// batch.
fn direct(gpu: &Gpu, graph: &Graph) -> Choices {
    let mut tuning = Tuning::new(gpu.report());
    for shape in graph.nodes().iter().filter_map(|node| ConvShape::of(graph, node, gpu.target())) {
        let methods = candidates(gpu.target(), &shape);
        let method = methods.iter().find(|method| matches!(method, Method::Direct(_))).unwrap();
        tuning.choices.insert(shape.to_string(), method.to_string());
    }
    Choices::of(Some(&tuning))
}

/// RS-50 at 224 px with batch 48: the stem's last map takes 147 MiB, more than the 128 MiB of one binding. Each pixel's
/// sums have the same order in every slice, so the logits agree to the bit.
#[test]
fn batch_of_48_equals_batches_of_4() {
    // If the last batch norms were zero, the residual branches would not affect the logits.
    let config = Config::new(ResNet { zero_init_last: false, ..ResNet::rs([3, 4, 6, 3], 1.0) }, 1000);
    let large = Network::build(&config, 48, [RES; 2], Input::Tensor, Mode::Inference).unwrap();
    let largest = large.graph.tensors().iter().map(|t| t.spec.bytes()).max().unwrap();
    assert!(largest > MAX_BINDING_BYTES, "the test needs a tensor beyond one binding, the largest has {largest} bytes");

    let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let pictures: Vec<f32> = (0..48 * RES * RES * 3).map(noise).collect();
    adapters::on_fastest(|gpu| {
        let answer = |batch: usize| {
            let mut store = ParameterStore::new(gpu);
            let graph = Network::build(&config, batch, [RES; 2], Input::Tensor, Mode::Inference).unwrap().graph;
            let choices = direct(gpu, &graph);
            let options = SessionOptions { choices: Some(&choices), ..SessionOptions::default() };
            let mut net =
                Inference::new(&mut store, &config, batch, [RES; 2], Input::Tensor, &Answer::Outputs, &options)
                    .unwrap();
            store.initialize(1).unwrap();
            net.prepare().unwrap();
            let logits = pictures.chunks(batch * RES * RES * 3).map(|p| net.logits_of_tensor(p).unwrap());
            logits.collect::<Vec<_>>().concat()
        };
        let (whole, parts) = (answer(48), answer(4));
        assert!(whole.iter().any(|&z| z != whole[0]), "the logits differ between classes");
        assert!(whole[..1000] != whole[1000..2000], "and between pictures");
        assert!(whole == parts, "every logit agrees to the bit");
    });
}

/// A training step on maps of 160 MiB: convolutions, batch norm, pools and all their gradients, in slices, against the
/// reference.
#[test]
fn training_step_in_slices() {
    let mut g = Graph::new();
    let (images, side, channels) = (5, 1024, 8);
    let x = g.input("x", Spec::channels([images, side, side, channels])).unwrap();
    let labels = g.input("labels", Spec::plain([images], DType::U32)).unwrap();
    let mut parameter = |name: &str, spec| g.parameter(name.into(), spec, Init::Constant(0.0)).unwrap();
    let kernels = ["w0", "w1"].map(|name| parameter(name, Spec::weights([1, 1, channels, channels])));
    let [gamma, beta, bias] = ["gamma", "beta", "bias"].map(|name| parameter(name, Spec::channels([channels])));
    let fc = parameter("fc", Spec::weights([channels, channels]));
    let mean = g.state("mean".into(), Spec::channels([channels]), StateKind::Statistic, 0.0).unwrap();
    let variance = g.state("variance".into(), Spec::channels([channels]), StateKind::Statistic, 1.0).unwrap();
    let h = g.apply1("conv0", Conv2d::new(Window::POINTWISE), &[x, kernels[0]]).unwrap();
    let norm = BatchNorm { eps: 1e-5, momentum: 0.1, activation: Activation::Relu };
    let h = g.apply("norm", norm, &[h, gamma, beta], &[mean, variance]).unwrap()[0];
    let branch = g.apply1("conv1", Conv2d::new(Window::POINTWISE), &[h, kernels[1]]).unwrap();
    let sum = g.apply1("sum", ScaleAdd { activation: Activation::Silu, ..ScaleAdd::ADD }, &[branch, h]).unwrap();
    let halved = g.apply1("halve", AvgPool::new(Window::square(2, 2, Padding::Same)), &[sum]).unwrap();
    let pooled = g.apply1("pool", GlobalAvgPool::TO_FEATURES, &[halved]).unwrap();
    let logits = g.apply1("fc", Linear { activation: Activation::Identity }, &[pooled, fc, bias]).unwrap();
    let loss = g.apply1("loss", SoftmaxCrossEntropy { label_smoothing: 0.1, mixed: false }, &[logits, labels]).unwrap();
    let mut outputs = vec![loss];
    autodiff::differentiate(&mut g, &[Loss { id: loss, weight: 1.0 }], None, |_, _, gradient| {
        outputs.push(gradient);
        Ok(())
    })
    .unwrap();
    let slices = |node| lower(&g, node, Target::TILES, Choices::TABLE).unwrap().len();
    let most = (0..g.nodes().len()).map(slices).max().unwrap();
    assert!(most >= 2, "some node runs in slices");

    let mut values = Values::new();
    let noise = |seed: usize| {
        move |i: usize| f64::from((((i * 31 + seed) as u32).wrapping_mul(2_654_435_761) >> 16) as f32 / 32768.0 - 1.0)
    };
    for id in g.ids().filter(|&id| g.tensor(id).role.is_persistent() || id == x) {
        values.set(&g, id, (0..g.spec(id).elements()).map(noise(id.index())).collect()).unwrap();
    }
    values.set(&g, labels, vec![0.0, 3.0, 7.0, 1.0, 2.0]).unwrap();
    let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    adapters::on_fastest(|gpu| {
        let mut store = ParameterStore::new(gpu);
        store.allocate(&g).unwrap();
        for id in g.persistent() {
            store.write(&g.tensor(id).name, &narrow(values.get(id).unwrap())).unwrap();
        }
        let mut session = Session::new(&store, g.clone(), &outputs, &SessionOptions::default()).unwrap();
        session.prepare().unwrap();
        session.feed(&[(x, &narrow(values.get(x).unwrap()))], &[(labels, &[0, 3, 7, 1, 2])]).unwrap();
        session.run().unwrap();
        let mut expected = Values::new();
        for id in g.ids() {
            if let Some(v) = values.get(id) {
                expected.set(&g, id, v.to_vec()).unwrap();
            }
        }
        reference::run(&g, &mut expected).unwrap();
        for &id in &outputs {
            let (got, want) = (session.read(id).unwrap(), expected.get(id).unwrap());
            let largest = want.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            let error = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
            // A gradient passes through two reductions: batch norm's, an eighth of a chunk of 10,240 rows at a time,
            // and the weight gradient's, in runs of at most 32,768 pixels. Rounding grows with the root of the terms
            // added one after another.
            let allowed = 8.0 * (1_280.0 + 32_768f64).sqrt() * 2f64.powi(-24) * largest;
            assert!(error <= allowed, "{}: off by {error:e}, allowed {allowed:e}", g.tensor(id).name);
        }
    });
}

/// The loss of a detector whose first level takes 61 MiB a picture, of which a binding holds two, at offsets that no
/// binding may start at. Loss and gradients of three pictures are those of each picture alone.
#[test]
fn a_detectors_loss_in_slices() {
    let (sizes, anchors, classes) = ([[397, 401], [3, 5]], 7, 14);
    let total = sizes.iter().map(|[h, w]| h * w * anchors).sum::<usize>();
    let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    // The numbers of some pictures, `size` each; `seed` tells one tensor from another.
    let floats = |pictures: &[usize], size: usize, seed: usize| -> Vec<f32> {
        pictures.iter().flat_map(|p| (0..size).map(move |i| noise((p * 7 + seed) * 0x0100_0001 + i))).collect()
    };
    adapters::on_fastest(|gpu| {
        let answer = |pictures: &[usize]| {
            let (mut g, n) = (Graph::new(), pictures.len());
            let labels = g.input("labels", Spec::plain([n, total], DType::U32)).unwrap();
            let normalisers = g.input("normalisers", Spec::plain([n], DType::F32)).unwrap();
            let levels = sizes.map(|[h, w]| {
                let spec = Spec::channels([n, h, w, anchors * classes]);
                g.parameter(format!("level of {h}"), spec, Init::Constant(0.0)).unwrap()
            });
            let focal = FocalLoss { classes, alpha: 0.25, gamma: 2.0 };
            let inputs = [&[labels, normalisers], &levels[..]].concat();
            let loss = g.apply1("loss", focal, &inputs).unwrap();
            let mut outputs = vec![loss];
            autodiff::differentiate(&mut g, &[Loss { id: loss, weight: 1.0 }], None, |_, _, gradient| {
                outputs.push(gradient);
                Ok(())
            })
            .unwrap();
            let mut store = ParameterStore::new(gpu);
            store.allocate(&g).unwrap();
            for (i, id) in levels.into_iter().enumerate() {
                let values = floats(pictures, g.spec(id).elements() / n, i);
                store.write(&g.tensor(id).name, &values).unwrap();
            }
            let mut session = Session::new(&store, g, &outputs, &SessionOptions::default()).unwrap();
            session.prepare().unwrap();
            let of_label = |v: f32| ((v + 1.0) * 8.0) as u32; // 0 to 15: a class, the background, or ignored
            let of_picture: Vec<f32> = pictures.iter().map(|&p| 1e-5 * (1.0 + p as f32)).collect();
            let words: Vec<u32> = floats(pictures, total, 5).into_iter().map(of_label).collect();
            session.feed(&[(normalisers, &of_picture)], &[(labels, &words)]).unwrap();
            session.run().unwrap();
            outputs.iter().map(|&id| session.read(id).unwrap()).collect::<Vec<_>>()
        };
        let together = answer(&[0, 1, 2]);
        let mut mean = 0.0;
        for picture in 0..3 {
            let alone = answer(&[picture]);
            mean += alone[0][0] / 3.0;
            for (all, one) in together[1..].iter().zip(&alone[1..]) {
                let of_picture = &all[picture * one.len()..][..one.len()];
                assert!(one.iter().any(|&v| v != 0.0));
                // Thirds are rounded once, and their products once more.
                let near =
                    of_picture.iter().zip(one).filter(|(a, b)| (**a * 3.0 - **b).abs() <= b.abs() * 2f32.powi(-21));
                assert_eq!(near.count(), one.len(), "picture {picture}");
            }
        }
        // Each invocation adds up some thousands of terms, in one order for three pictures, in another for one.
        assert!(
            (together[0][0] - mean).abs() <= mean * 8.0 * 4096f32.sqrt() * 2f32.powi(-24),
            "{} and {mean}",
            together[0][0]
        );
    });
}
