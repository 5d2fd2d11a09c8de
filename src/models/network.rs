//! A network: its forward graph, and the tensors that are fed and read.

use super::builder::{Builder, Style};
use super::{Config, Error, Head, Layers, Parts};
use crate::graph::{Graph, Port, TensorId};

/// The input of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// `pixels` `[N, H, W]`: packed RGBA, 8 bits each, standardised on the GPU.
    Pixels {
        /// Mean of each colour, on a scale from 0 to 1.
        mean: [f32; 3],
        /// Standard deviation of each colour.
        std: [f32; 3],
    },
    /// `input` `[N, H, W, 3]`: f32, standardised already.
    Tensor,
}

/// Inference or training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norm uses running statistics.
    Inference,
    /// Dropout is on. The graph has one more input, `clock` `[2]`, u32: seed and step, from which dropout's random
    /// numbers are drawn.
    Training {
        /// Number of leading parts ([`Config::parts`]) that are frozen: they run as in inference, fused, and their
        /// weights are states.
        frozen: usize,
        /// How the other parts of the backbone normalise. A head always uses the batch's statistics.
        norm: Norm,
    },
}

impl Mode {
    /// Training in which every part learns.
    pub const TRAINING: Self = Self::Training { frozen: 0, norm: Norm::Batch };
}

/// How a backbone normalises in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Norm {
    /// By the batch's statistics.
    #[default]
    Batch,
    /// By the running statistics, which do not move; scale and shift learn.
    Running,
    /// By the running statistics; scale and shift do not learn either: torchvision's `FrozenBatchNorm2d`.
    Frozen,
}

/// A map on which a neck or another network can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The part that computes it, one of [`Layers::stages`].
    pub name: &'static str,
    /// Distance between neighbouring elements in pixels of the input.
    pub stride: usize,
    /// The map, `[N, H / stride, W / stride, C]`, sides rounded up.
    pub map: TensorId,
}

/// A network's forward graph with its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Network {
    /// The graph.
    pub graph: Graph,
    /// The tensor to feed: `pixels` or `input`.
    pub input: TensorId,
    /// The outputs, which [`super::Head`] describes: `logits` `[N, classes]` (before the softmax) for a classifier.
    pub outputs: Vec<Port>,
    /// The last map of each of the strides 2, 4, 8, 16 and 32, finest first: timm's `features_only`. With an output
    /// stride of 16 or 8 the coarser ones have that stride.
    pub levels: Vec<Level>,
    /// Its parts, from the stem to the head.
    pub parts: Parts,
}

/// The layers of a network up to its last map.
pub(super) trait Backbone {
    /// The family's choices that all layers share.
    fn style(&self) -> Style;

    /// Appends the stem and the stages, notes levels and the ends of parts, and returns the last map.
    fn stages(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error>;

    /// Appends what a classifier has between the stages and its pool, and returns the last map.
    fn top(&self, _b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        Ok(x)
    }
}

impl Network {
    /// Builds the forward graph for `batch` pictures of `size` (height, width) pixels.
    ///
    /// # Errors
    /// If the configuration is out of range, or the pictures are too small.
    pub fn build(config: &Config, batch: usize, size: [usize; 2], input: Input, mode: Mode) -> Result<Self, Error> {
        config.validate()?;
        if batch == 0 {
            return Err(Error::Config { field: "batch", range: "at least 1", got: "0".into() });
        }
        let backbone: &dyn Backbone = match &config.layers {
            Layers::ResNet(layers) => layers,
            Layers::EfficientNet(layers) => layers,
        };
        let mut b = Builder::new(config, backbone.style(), batch, mode)?;
        let (input, x) = b.input(input, size)?;
        let mut last = backbone.stages(&mut b, x)?;
        if config.head == Head::Classifier {
            last = backbone.top(&mut b, last)?;
        }
        let outputs = config.head.build(&mut b, last, size)?;
        let (graph, levels, parts) = b.finish();
        Ok(Self { graph, input, outputs, levels, parts })
    }

    /// The output with this name.
    ///
    /// # Panics
    /// If the network has no such output.
    pub fn output(&self, name: &str) -> TensorId {
        let port = self.outputs.iter().find(|port| port.name == name);
        port.unwrap_or_else(|| panic!("the network has no output {name:?}")).id
    }

    /// The tensors of all outputs.
    pub fn output_ids(&self) -> Vec<TensorId> {
        self.outputs.iter().map(|port| port.id).collect()
    }
}

/// The output with this name; of a detector, that of its finest level.
///
/// # Errors
/// If there is none.
pub fn output(outputs: &[Port], name: &'static str) -> Result<TensorId, Error> {
    let port = outputs.iter().find(|port| port.name == name);
    port.map(|port| port.id).ok_or_else(|| Error::NoOutput { name, outputs: outputs.iter().map(|p| p.name).collect() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::super::{
        DeepLabV3, DeepLabV3Plus, DenseDepth, Fcn, Preset, ResNet, RetinaNet, Shortcut, Stem, StemDownsampling, UNet,
    };
    use super::*;
    use crate::graph::{Op, Role};

    fn build(name: &str, res: usize, mode: Mode) -> Network {
        let config = Preset::find(name).unwrap().config(1000);
        Network::build(&config, 1, [res, res], Input::Tensor, mode).unwrap()
    }

    fn learned(graph: &Graph) -> impl Iterator<Item = &crate::graph::Tensor> {
        graph.tensors().iter().filter(|t| matches!(t.role, Role::Parameter(_)))
    }

    fn parameters(graph: &Graph) -> usize {
        learned(graph).map(|t| t.spec.elements()).sum()
    }

    fn gmacs(graph: &Graph) -> String {
        let macs: u64 = graph.nodes().iter().map(|n| n.cost(graph).macs).sum();
        format!("{:.3}", macs as f64 / 1e9)
    }

    /// timm's numbers of parameters and learnable tensors, and GMACs of convolutions and linear layers. (timm's GMACs
    /// also count two for each output of a batch norm.)
    #[test]
    fn sizes_of_resnet_rs_equal_timms() {
        let rows = [
            ("resnet-rs-50", 160, 35_691_912, 234, "2.279"),
            ("resnet-rs-101", 160, 63_618_696, 455, "4.182"),
            ("resnet-rs-101", 192, 63_618_696, 455, "6.012"),
            ("resnet-rs-152", 192, 86_621_576, 676, "8.747"),
            ("resnet-rs-152", 224, 86_621_576, 676, "11.895"),
            ("resnet-rs-152", 256, 86_621_576, 676, "15.528"),
            ("resnet-rs-200", 256, 93_209_992, 884, "20.093"),
            ("resnet-rs-270", 256, 129_861_448, 1196, "26.950"),
            ("resnet-rs-350", 256, 163_956_168, 1534, "34.377"),
            ("resnet-rs-350", 320, 163_956_168, 1534, "53.684"),
            ("resnet-rs-420", 320, 191_891_656, 1833, "63.942"),
        ];
        for (name, res, expected, tensors, macs) in rows {
            let g = build(name, res, Mode::Inference).graph;
            assert_eq!((parameters(&g), learned(&g).count()), (expected, tensors), "{name}");
            assert_eq!(gmacs(&g), macs, "{name} at {res} px");
        }
    }

    /// Sizes of timm's `tf_efficientnet_b*`, with the channels and depths of each stage.
    #[test]
    fn sizes_of_efficientnet_equal_timms() {
        let rows = [
            ("b0", 5_288_548, "0.386", [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1]),
            ("b1", 7_794_184, "0.687", [16, 24, 40, 80, 112, 192, 320], [2, 3, 3, 4, 4, 5, 2]),
            ("b2", 9_109_994, "0.994", [16, 24, 48, 88, 120, 208, 352], [2, 3, 3, 4, 4, 5, 2]),
            ("b3", 12_233_232, "1.827", [24, 32, 48, 96, 136, 232, 384], [2, 3, 3, 5, 5, 6, 2]),
            ("b4", 19_341_616, "4.394", [24, 32, 56, 112, 160, 272, 448], [2, 4, 4, 6, 6, 8, 2]),
            ("b5", 30_389_784, "10.266", [24, 40, 64, 128, 176, 304, 512], [3, 5, 5, 7, 7, 9, 3]),
            ("b6", 43_040_704, "19.068", [32, 40, 72, 144, 200, 344, 576], [3, 6, 6, 8, 8, 11, 3]),
            ("b7", 66_347_960, "37.746", [32, 48, 80, 160, 224, 384, 640], [4, 7, 7, 10, 10, 13, 4]),
        ];
        for (name, expected, macs, channels, depths) in rows {
            let preset = Preset::find(&format!("tf_efficientnet_{name}")).unwrap();
            let network = build(preset.name, preset.res as usize, Mode::Inference);
            let g = &network.graph;
            assert_eq!((parameters(g), gmacs(g).as_str()), (expected, macs), "{name}");
            let of_stages: Vec<usize> = network.parts.ends()[1..8].iter().map(|&map| g.spec(map).last()).collect();
            assert_eq!(of_stages, channels, "{name}");
            assert_eq!(preset.layers.depths(), depths, "{name}");
        }
    }

    /// timm's numbers of parameters.
    #[test]
    fn sizes_of_older_resnets_equal_timms() {
        let rows = [
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
            ("resnet200", 64_673_832),
            ("resnet50d", 25_576_264),
            ("resnet101d", 44_568_392),
            ("resnet152d", 60_212_040),
            ("resnet200d", 64_693_064),
            ("seresnet50", 28_088_024),
            ("seresnet101", 49_326_872),
            ("seresnet152", 66_821_848),
        ];
        for (name, expected) in rows {
            assert_eq!(parameters(&build(name, 224, Mode::Inference).graph), expected, "{name}");
        }
        // He et al. 2015, table 1, count ResNet-50 as 3.8 GMACs, with the stride on the 1x1 convolution; timm counts
        // 4.1 for this form.
        assert_eq!(gmacs(&build("resnet50", 224, Mode::Inference).graph), "4.089");
    }

    /// Numbers of parameters of torchvision's networks with weights for 21 and 91 classes, and of the same heads on
    /// other backbones, counted with PyTorch.
    #[test]
    fn sizes_of_dense_networks_equal_torchvisions() {
        let retinanet = Head::RetinaNet(RetinaNet::default());
        let deeplab = |auxiliary| Head::DeepLabV3(DeepLabV3 { auxiliary, ..DeepLabV3::default() });
        let fcn = |auxiliary| Head::Fcn(Fcn { auxiliary });
        let plus = Head::DeepLabV3Plus(DeepLabV3Plus::default());
        // The decoder's last convolution has 21 outputs instead of 1: 20 * (9 * 32 + 1) more than depth's.
        let unet = Head::UNet(UNet::default());
        let depth = |first: usize| {
            let widths = std::array::from_fn(|level| first >> level);
            Head::DenseDepth(DenseDepth { widths, ..DenseDepth::default() })
        };
        let rows = [
            ("resnet-rs-50", retinanet, 21, 42_750_849),
            ("resnet-rs-101", retinanet, 21, 70_677_633),
            ("resnet-rs-152", retinanet, 21, 93_680_513),
            ("resnet-50", retinanet, 21, 32_615_969),
            ("resnet-50", retinanet, 91, 34_068_119),
            ("resnet-rs-50", deeplab(false), 21, 49_773_749),
            ("resnet-50", deeplab(false), 21, 39_638_869),
            ("resnet-50", deeplab(true), 21, 42_004_074),
            ("resnet-50", fcn(false), 21, 32_957_013),
            ("resnet-50", fcn(true), 21, 35_322_218),
            ("resnet-rs-50", plus, 21, 36_817_605),
            ("resnet-50", plus, 21, 26_682_725),
            ("resnet-rs-50", unet, 21, 40_165_077),
            ("resnet-rs-50", depth(2048), 1, 87_909_409),
            ("resnet-rs-50", depth(512), 1, 40_159_297),
        ];
        for (name, head, classes, expected) in rows {
            let config = Config { head, ..Preset::find(name).unwrap().config(classes) };
            let network = Network::build(&config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap();
            assert_eq!(parameters(&network.graph), expected, "{name} with {head:?} for {classes} classes");
        }
    }

    #[test]
    fn another_epsilon_is_the_backbones_alone() {
        let eps = |bn_eps| {
            let config =
                Config { head: Head::DeepLabV3(DeepLabV3::default()), bn_eps, ..Config::resnet_rs([1; 4], 0.25, 5) };
            let network = Network::build(&config, 1, [64; 2], Input::Tensor, Mode::Inference).unwrap();
            let of_norms = network.graph.nodes().iter().filter_map(|node| match &node.op {
                Op::BatchNormInference(norm) => Some((node.name.contains("classifier"), norm.eps)),
                _ => None,
            });
            of_norms.collect::<Vec<_>>()
        };
        assert!(eps(None).iter().all(|(_, eps)| *eps == 1e-5));
        assert!(eps(Some(0.0)).iter().all(|(of_head, eps)| *eps == if *of_head { 1e-5 } else { 0.0 }));
        assert!(eps(Some(0.0)).iter().any(|(of_head, _)| *of_head));
        let refused = Config { bn_eps: Some(-1e-5), ..Config::resnet_rs([1; 4], 0.25, 5) }.validate().unwrap_err();
        assert!(refused.to_string().contains("BN epsilon must be from 0 to 1"), "{refused}");
    }

    /// Fusing the frozen parts removes no map that a later part reads.
    #[test]
    fn every_head_builds_on_every_number_of_frozen_parts() {
        let heads = [
            Head::Classifier,
            Head::RetinaNet(RetinaNet::default()),
            Head::DeepLabV3(DeepLabV3::default()),
            Head::DeepLabV3Plus(DeepLabV3Plus::default()),
            Head::Fcn(Fcn { auxiliary: true }),
            Head::UNet(UNet::default()),
            Head::DenseDepth(DenseDepth::default()),
        ];
        for (model, head) in ["small", "efficientnet-b0"].into_iter().flat_map(|model| heads.map(|head| (model, head)))
        {
            let config = Config { head, ..Preset::find(model).unwrap().config(5) };
            for frozen in 0..config.parts().len() {
                let mode = Mode::Training { frozen, norm: Norm::Batch };
                let graph = Network::build(&config, 2, [64; 2], Input::Tensor, mode).unwrap().graph;
                let mut known: HashSet<TensorId> = graph.persistent().collect();
                known.extend(["input", "clock"].into_iter().filter_map(|name| graph.find(name)));
                for node in graph.nodes() {
                    let unknown = node.inputs.iter().find(|id| !known.contains(id)).map(|&id| &graph.tensor(id).name);
                    assert_eq!(unknown, None, "{model}, {head:?}, {frozen} frozen parts: {}", node.name);
                    known.extend(&node.outputs);
                }
            }
        }
    }

    /// RS-50 at 160 px, as in timm.
    #[test]
    fn stage_shapes() {
        let n = build("resnet-rs-50", 160, Mode::TRAINING);
        let shapes: Vec<_> = n.parts.ends()[..5].iter().map(|&t| n.graph.spec(t).shape[1..].to_vec()).collect();
        assert_eq!(shapes, [[40, 40, 64], [40, 40, 256], [20, 20, 512], [10, 10, 1024], [5, 5, 2048]]);
    }

    #[test]
    fn switches_build() {
        let (stem_downsampling, shortcut) = (StemDownsampling::FirstBlock, Shortcut::Strided);
        let layers = ResNet { stem: Stem::Plain, stem_downsampling, shortcut, ..ResNet::rs([1, 1, 1, 1], 0.25) };
        let config = Config { drop_path: 0.2, dropout: 0.5, ..Config::new(ResNet { se_ratio: 0.0, ..layers }, 10) };
        let mode = Mode::TRAINING;
        let n = Network::build(&config, 2, [33, 47], Input::Pixels { mean: [0.5; 3], std: [0.2; 3] }, mode).unwrap();
        assert_eq!(n.graph.spec(n.parts.ends()[1]).shape, [2, 9, 12, 64]);
        assert!(Network::build(&config, 0, [32, 32], Input::Tensor, mode).is_err());
    }

    #[test]
    fn tensors_and_nodes_know_their_part() {
        let of = |network: &Network, name: &str| network.parts.names()[network.parts.of(name).unwrap()];
        let resnet = build("resnet-rs-50", 64, Mode::Training { frozen: 2, norm: Norm::Batch });
        let cases = [
            ("conv1.0.weight", "stem"),
            ("bn1.bias", "stem"),
            ("maxpool.0", "stem"),
            ("layer1.0.bn2.weight", "layer1"),
            ("layer1.0.bn2.running_var", "layer1"),
            ("layer4.0.se.fc1.bias", "layer4"),
            ("layer4.1", "layer4"),
            ("fc.weight", "fc"),
            ("fc.pool", "fc"),
        ];
        for (name, part) in cases {
            assert_eq!(of(&resnet, name), part, "{name}");
        }
        assert_eq!(resnet.parts.of("fcx"), None);
        let efficient = build("efficientnet-rs-b0", 64, Mode::Inference);
        let cases = [
            ("conv_stem.weight", "stem"),
            ("blocks.6.0.conv_pwl.weight", "blocks.6"),
            ("conv_head.weight", "head"),
            ("bn2.running_var", "head"),
            ("classifier.bias", "classifier"),
        ];
        for (name, part) in cases {
            assert_eq!(of(&efficient, name), part, "{name}");
        }
    }

    /// timm's shapes at 513 px with `output_stride`, and the same parameters.
    #[test]
    fn dilated_networks_keep_their_size() {
        for name in ["resnet-rs-50", "resnet50", "tf_efficientnet_b0"] {
            let config = Preset::find(name).unwrap().config(10);
            let built = |output_stride| {
                let config = Config { output_stride, ..config.clone() };
                Network::build(&config, 1, [513; 2], Input::Tensor, Mode::Inference).unwrap()
            };
            let sides = |output_stride| {
                let network = built(output_stride);
                network.levels.iter().map(|l| (l.stride, network.graph.spec(l.map).shape[1])).collect::<Vec<_>>()
            };
            assert_eq!(sides(32), [(2, 257), (4, 129), (8, 65), (16, 33), (32, 17)], "{name}");
            assert_eq!(sides(16), [(2, 257), (4, 129), (8, 65), (16, 33), (16, 33)], "{name}");
            assert_eq!(sides(8), [(2, 257), (4, 129), (8, 65), (8, 65), (8, 65)], "{name}");
            assert_eq!(parameters(&built(8).graph), parameters(&built(32).graph), "{name}");
        }
    }

    #[test]
    fn levels_halve_the_picture() {
        for name in ["resnet-rs-50", "resnet50", "tf_efficientnet_b0"] {
            let network = build(name, 64, Mode::Inference);
            let of = |level: &Level| (level.stride, network.graph.spec(level.map).shape[1]);
            assert_eq!(network.levels.iter().map(of).collect::<Vec<_>>(), [2, 4, 8, 16, 32].map(|s| (s, 64 / s)));
        }
    }
}
