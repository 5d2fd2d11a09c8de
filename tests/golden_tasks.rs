//! Compares detection, segmentation and depth with PyTorch: outputs, losses and gradients, in f64 and on every
//! adapter.
#![allow(clippy::unwrap_used)]

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/kinks.rs"]
mod kinks;
#[path = "common/synth.rs"]
mod synth;

use std::collections::BTreeMap;

use golden::{BRANCH_GAMMA, SEED, close, load};
use image::GrayImage;
use resnet_rs::boxes::Object;
use resnet_rs::data::{DepthMap, Geometry, IGNORED, Truth};
use resnet_rs::exec::{ParameterStore, Session, SessionOptions};
use resnet_rs::gpu::Gpu;
use resnet_rs::graph::{DType, Elements, Graph, Role, Tensor, TensorId, autodiff, fuse};
use resnet_rs::models::{Config, DeepLabV3, DeepLabV3Plus, DenseDepth, Head, Input, Mode, Network, ResNet, RetinaNet};
use resnet_rs::reference::{Values, run};
use resnet_rs::train::task::{Depth, Detect, Segment, Task};

/// Pictures of every golden case.
const PICTURES: usize = 2;

/// A golden file, the network behind it, and the truths of its pictures.
struct Case {
    name: &'static str,
    config: Config,
    size: [usize; 2],
    task: Box<dyn Task>,
    truths: Vec<Truth>,
    /// Names of the loss's terms in the file; one for all of them together if there is only one.
    losses: &'static [&'static str],
}

/// What a case's network computes, by the names of the golden file.
type Results = BTreeMap<String, Vec<f64>>;

/// Runs a graph with these values of its inputs, and returns those of tensors.
type Run<'r> = dyn Fn(&Graph, &[(&str, Elements<'_>)], &[TensorId]) -> Vec<Vec<f64>> + 'r;

/// A network of timm's parts with narrow stages, as `golden/tiny.py` builds it.
fn tiny(depths: [usize; 4], classes: usize, output_stride: usize, head: Head) -> Config {
    Config { output_stride, head, ..Config::new(ResNet::rs(depths, 0.25), classes) }
}

fn segmentation(name: &'static str, output_stride: usize, head: Head, [height, width]: [usize; 2]) -> Case {
    // Integers below 4, of which the first five rows do not count.
    let values = synth::value("mask", PICTURES * height * width, SEED);
    let class = |value: f32| (((f64::from(value) + 1.0) / 2.0 * 4.0) as u8).min(3);
    let mask = |values: &[f32]| {
        let mut mask: Vec<u8> = values.iter().map(|&value| class(value)).collect();
        mask[..5 * width].fill(IGNORED);
        Truth::Mask(GrayImage::from_raw(width as u32, height as u32, mask).unwrap())
    };
    Case {
        name,
        config: tiny([1, 1, 2, 2], 4, output_stride, head),
        size: [height, width],
        task: Box::new(Segment),
        truths: values.chunks(height * width).map(mask).collect(),
        losses: &["loss"],
    }
}

fn detection() -> Case {
    let object = |class, bounds| Object::new(class, bounds);
    Case {
        name: "retinanet",
        config: tiny([1; 4], 4, 32, Head::RetinaNet(RetinaNet { channels: 32 })),
        size: [128, 160],
        task: Box::new(Detect::default()),
        truths: vec![
            Truth::Objects(vec![object(0, [10.0, 12.0, 60.0, 80.0]), object(2, [55.0, 20.0, 140.0, 95.0])]),
            Truth::Objects(vec![object(1, [5.0, 30.0, 50.0, 120.0])]),
        ],
        losses: &["loss_class", "loss_box"],
    }
}

fn depth() -> Case {
    let [height, width] = [64, 96];
    let values = synth::images("depth", [PICTURES, 1, height, width], SEED);
    let map = |values: &[f32]| {
        let metres = |(i, &value): (usize, &f32)| {
            if i < 3 * width { 0.0 } else { (5.25 + f64::from(value) * 4.75 / 1.7) as f32 }
        };
        let metres = values.iter().enumerate().map(metres).collect();
        Truth::Depth(DepthMap::from_raw(width as u32, height as u32, metres).unwrap())
    };
    Case {
        name: "depth",
        config: tiny([1; 4], 1, 32, Head::DenseDepth(DenseDepth { widths: [64, 32, 32, 16, 16], max_m: 10.0 })),
        size: [height, width],
        task: Box::new(Depth::default()),
        truths: values.chunks(height * width).map(map).collect(),
        losses: &["loss"],
    }
}

/// A parameter or statistic of the golden files.
fn golden_value(tensor: &Tensor) -> Vec<f32> {
    match &*tensor.name {
        // So that about an eighth of all scores is above the threshold.
        "head.classification_head.cls_logits.bias" => vec![-2.0; tensor.spec.elements()],
        name => synth::parameter(name, &tensor.spec.shape, SEED, BRANCH_GAMMA),
    }
}

/// Runs a graph in f64.
fn in_f64(graph: &Graph, feeds: &[(&str, Elements<'_>)], outputs: &[TensorId]) -> Vec<Vec<f64>> {
    let mut values = Values::new();
    for id in graph.persistent() {
        let value = golden_value(graph.tensor(id)).into_iter().map(f64::from).collect();
        values.set(graph, id, value).unwrap();
    }
    for id in graph.ids().filter(|&id| graph.tensor(id).role == Role::Input) {
        let (_, elements) = feeds.iter().find(|(name, _)| *name == graph.tensor(id).name).unwrap();
        let elements = match graph.spec(id).dtype {
            DType::U32 => elements.words().iter().map(|&word| word.into()).collect(),
            _ => elements.floats().iter().map(|&float| float.into()).collect(),
        };
        values.set(graph, id, elements).unwrap();
    }
    run(graph, &mut values).unwrap();
    outputs.iter().map(|&id| values.get(id).unwrap().to_vec()).collect()
}

/// Runs a graph on a device.
fn on_device(gpu: &Gpu, graph: &Graph, feeds: &[(&str, Elements<'_>)], outputs: &[TensorId]) -> Vec<Vec<f64>> {
    let mut store = ParameterStore::new(gpu);
    store.allocate(graph).unwrap();
    store.tensors().for_each(|tensor| store.write(&tensor.name, &golden_value(tensor)).unwrap());
    let mut session = Session::new(&store, graph.clone(), outputs, &SessionOptions::default()).unwrap();
    session.prepare().unwrap();
    session.feed_inputs(feeds).unwrap();
    session.run().unwrap();
    outputs.iter().map(|&id| session.read(id).unwrap().into_iter().map(f64::from).collect()).collect()
}

/// The outputs of a network by name, in the golden files' order: of a detector `[N, anchors, numbers]`, else NCHW.
fn named(network: &Network, graph: &Graph, values: &[Vec<f64>], prefix: &str) -> Results {
    let mut results = Results::new();
    let detector = matches!(network.outputs[0].name, "logits") && network.outputs.len() > 2;
    for n in 0..PICTURES {
        for (port, values) in network.outputs.iter().zip(values) {
            let [_, h, w, c] = graph.spec(port.id).as_map();
            let picture = &values[n * h * w * c..][..h * w * c];
            let result = results.entry(format!("{prefix}{}", port.name)).or_default();
            match detector {
                true => result.extend(picture),
                false => result.extend((0..c).flat_map(|c_at| (0..h * w).map(move |p| picture[p * c + c_at]))),
            }
        }
    }
    results
}

impl Case {
    fn build(&self, mode: Mode) -> Network {
        Network::build(&self.config, PICTURES, self.size, Input::Tensor, mode).unwrap()
    }

    fn pictures(&self, nearby: u32) -> Vec<f32> {
        kinks::pictures("input", [PICTURES, 3, self.size[0], self.size[1]], nearby)
    }

    /// Outputs by the running statistics, fused as for an answer.
    fn evaluated(&self, run: &Run<'_>) -> Results {
        let mut network = self.build(Mode::Inference);
        let outputs = network.output_ids();
        network.graph.retain_ancestors(&outputs);
        fuse::for_inference(&mut network.graph, &outputs).unwrap();
        let values = run(&network.graph, &[("input", self.pictures(0).into())], &outputs);
        named(&network, &network.graph, &values, "eval_")
    }

    /// Outputs, losses and norms of the gradients by the batch's statistics.
    fn trained(&self, run: &Run<'_>, nearby: u32) -> Results {
        let mut network = self.build(Mode::TRAINING);
        let mut graph = network.graph.clone();
        let loss = self.task.loss(&mut graph, &network.outputs).unwrap();
        let mut gradients = Vec::new();
        autodiff::differentiate(&mut graph, &loss.terms, None, |graph, parameter, gradient| {
            gradients.push((graph.tensor(parameter).name.clone(), gradient));
            Ok(())
        })
        .unwrap();
        network.graph = graph;

        let targets = self.task.encode(&self.truths, &[Geometry::whole(self.size); PICTURES], None).unwrap();
        let mut feeds = vec![("input", self.pictures(nearby).into()), ("clock", vec![0u32; 2].into())];
        feeds.extend(targets.iter());
        let terms = loss.terms.iter().map(|term| term.id);
        let outputs: Vec<TensorId> =
            network.output_ids().into_iter().chain(terms).chain(gradients.iter().map(|(_, id)| *id)).collect();
        let values = run(&network.graph, &feeds, &outputs);
        let (of_network, values) = values.split_at(network.outputs.len());
        let (terms, of_gradients) = values.split_at(loss.terms.len());

        let mut results = named(&network, &network.graph, of_network, "");
        let weighted: Vec<f64> =
            loss.terms.iter().zip(terms).map(|(of, value)| f64::from(of.weight) * value[0]).collect();
        match self.losses {
            [all] => drop(results.insert((*all).to_owned(), vec![weighted.iter().sum()])),
            each => results.extend(each.iter().zip(weighted).map(|(name, term)| ((*name).to_owned(), vec![term]))),
        }
        let norm = |values: &Vec<f64>| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let norms: BTreeMap<&String, f64> =
            gradients.iter().zip(of_gradients).map(|((name, _), values)| (name, norm(values))).collect();
        // Of the classifier, which the file's backbone still has, there is no gradient.
        let in_order = parameters(self.name).iter().map(|name| norms.get(name).copied().unwrap_or(0.0)).collect();
        results.insert("grad_norms".to_owned(), in_order);
        results
    }

    /// Compares everything with the golden file, where outputs may be off by a share of the largest, losses and norms
    /// by a share of their own. `nearby` is the number of pictures that are tried.
    fn check(&self, run: &Run<'_>, [output, loss, norm]: [f64; 3], nearby: u32) -> Result<(), String> {
        let want = load(self.name);
        let mut results = self.evaluated(run);
        results.extend(self.trained(run, nearby));
        let evaluated = results.keys().filter(|name| name.starts_with("eval_")).count();
        assert!(evaluated > 0 && results.len() > evaluated + 2, "{:?}", results.keys());
        for (name, got) in &results {
            let what = format!("{} {name}", self.name);
            match &**name {
                "grad_norms" => {
                    for ((got, want), parameter) in got.iter().zip(&want[name]).zip(parameters(self.name)) {
                        let off = (got - f64::from(*want)).abs();
                        if off.is_nan() || off > norm * f64::from(*want) {
                            return Err(format!("{what} of {parameter}: {got} instead of {want}"));
                        }
                    }
                }
                name if name.starts_with("loss") => close(&what, got, &want[name], loss)?,
                name => close(&what, got, &want[name], output)?,
            }
        }
        Ok(())
    }
}

/// The parameters in the order of a file's norms.
fn parameters(case: &str) -> Vec<String> {
    let text = std::fs::read_to_string(golden::path("tasks.json")).unwrap();
    let mut cases: BTreeMap<String, Vec<String>> = serde_json::from_str(&text).unwrap();
    cases.remove(case).unwrap()
}

/// Both sides compute in f64, and the files hold f32.
const EXACT: [f64; 3] = [1e-5; 3];

/// f32 against f64.
const ROUNDED: [f64; 3] = [1e-4, 1e-5, 1e-3];

fn cases() -> [Case; 5] {
    let deeplab = Head::DeepLabV3(DeepLabV3 { channels: 32, auxiliary: true });
    let plus = Head::DeepLabV3Plus(DeepLabV3Plus { channels: 32 });
    [
        segmentation("deeplabv3_os8", 8, deeplab, [65, 97]),
        segmentation("deeplabv3_os16", 16, deeplab, [65, 97]),
        segmentation("deeplabv3plus", 16, plus, [33, 49]),
        detection(),
        depth(),
    ]
}

#[test]
fn the_reference_computes_what_torchvision_does() {
    cases().iter().for_each(|case| case.check(&in_f64, EXACT, 0).unwrap());
}

#[test]
fn devices_compute_what_torchvision_does() {
    adapters::on_each(|gpu| {
        let run =
            |graph: &Graph, feeds: &[(&str, Elements<'_>)], outputs: &[TensorId]| on_device(gpu, graph, feeds, outputs);
        cases().iter().for_each(|case| kinks::through_kinks(|nearby| case.check(&run, ROUNDED, nearby)));
    });
}
