//! Builds a network's graph, forward part: what all families have in common.

use super::{Config, Error, Layers};
use crate::graph::op::{
    BatchNorm, BatchNormInference, Conv2d, DepthwiseConv2d, Dropout, DropoutScope, Fill, GlobalAvgPool, Linear,
    Padding, SoftmaxCrossEntropy, Standardize,
};
use crate::graph::{Activation, DType, Graph, Init, Role, Spec, TensorId, fuse};

/// What the network is fed.
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

/// What the network is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Running statistics, no loss.
    Inference,
    /// Batch statistics, dropout, and a loss.
    Training(Training),
}

/// What training asks of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Training {
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// Whether each picture has two labels and a share, as mixup and CutMix give them.
    pub mixed_labels: bool,
    /// How many of the network's parts ([`Layers::parts`]), from the first, stay as they are: they run as in inference, fused, and their
    /// weights are states.
    pub frozen: usize,
}

/// A network's forward graph and its ends.
#[derive(Clone, Debug)]
pub struct Network {
    /// The graph.
    pub graph: Graph,
    /// The tensor to feed: `pixels` or `input`.
    pub input: TensorId,
    /// Results before the softmax, `[N, classes]`.
    pub logits: TensorId,
    /// The map at the end of each part but the classifier: of a ResNet those of strides 4, 4, 8, 16, 32.
    pub stages: Vec<TensorId>,
    /// The last map of each of the strides 2, 4, 8, 16 and 32: timm's `features_only`.
    pub pyramid: [TensorId; 5],
    /// Training only: the ends of the loss.
    pub training: Option<TrainingEnds>,
}

/// What training feeds and reads besides the pictures.
#[derive(Clone, Copy, Debug)]
pub struct TrainingEnds {
    /// `labels` `[N]`, u32.
    pub labels: TensorId,
    /// Where labels are mixed: `others` `[N]`, u32, and `shares` `[N]`, f32, of the first labels.
    pub mixed: Option<[TensorId; 2]>,
    /// `clock` `[2]`, u32: seed, step. What dropout's random numbers are drawn from.
    pub clock: TensorId,
    /// Mean loss `[1]`.
    pub loss: TensorId,
    /// Share of the pictures whose likeliest class is right `[1]`.
    pub top1: TensorId,
}

/// The layers between the pictures and the logits.
pub(super) trait Body {
    /// The family's choices that all layers share.
    fn style(&self) -> Style;

    /// Appends the layers.
    fn build(&self, b: &mut Builder<'_>, x: TensorId) -> Result<Ends, Error>;
}

/// Where the layers end; [`Network`] has the same fields.
pub(super) struct Ends {
    pub(super) stages: Vec<TensorId>,
    pub(super) pyramid: [TensorId; 5],
    pub(super) logits: TensorId,
}

/// What a family of networks chooses once.
pub(super) struct Style {
    /// Added to a batch's variance.
    pub(super) bn_eps: f32,
    /// Zeros around a map, by the side of the kernel.
    pub(super) padding: fn(usize) -> Padding,
    /// Initial weights and biases of the classifier, by its inputs and outputs.
    pub(super) classifier_init: fn(usize, usize) -> [Init; 2],
    /// Initial biases of a gate's layer, by its inputs.
    pub(super) gate_bias_init: fn(usize) -> Init,
}

impl Network {
    /// Builds the forward graph for `batch` pictures of `size` (height, width) pixels.
    pub fn build(config: &Config, batch: usize, size: [usize; 2], input: Input, mode: Mode) -> Result<Self, Error> {
        config.validate()?;
        if batch == 0 {
            return Err(Error::Config { field: "batch", range: "at least 1", got: "0".into() });
        }
        let body: &dyn Body = match &config.layers {
            Layers::ResNet(layers) => layers,
            Layers::EfficientNet(layers) => layers,
        };
        let (graph, style) = (Graph::new(), body.style());
        let mut b = Builder { graph, config, style, batch, mode, part: 0, clock: None, dropouts: 0 };
        if mode != Mode::Inference {
            b.clock = Some(b.graph.input("clock", Spec::plain([2], DType::U32))?);
        }
        let (input, x) = b.input(input, size)?;
        let Ends { stages, pyramid, logits } = body.build(&mut b, x)?;
        let training = match (mode, b.clock) {
            (Mode::Training(training), Some(clock)) => Some(b.loss(training, logits, clock)?),
            _ => None,
        };
        Ok(Self { graph: b.graph, input, logits, stages, pyramid, training })
    }
}

/// A graph under construction.
pub(super) struct Builder<'c> {
    pub(super) graph: Graph,
    pub(super) config: &'c Config,
    style: Style,
    batch: usize,
    mode: Mode,
    /// The part under construction, an index into [`Layers::parts`].
    part: usize,
    clock: Option<TensorId>,
    dropouts: u32,
}

impl Builder<'_> {
    fn input(&mut self, input: Input, [h, w]: [usize; 2]) -> Result<(TensorId, TensorId), Error> {
        let id = match input {
            Input::Tensor => {
                let id = self.graph.input("input", Spec::channels([self.batch, h, w, 3]))?;
                return Ok((id, id));
            }
            Input::Pixels { .. } => self.graph.input("pixels", Spec::plain([self.batch, h, w], DType::U32))?,
        };
        let Input::Pixels { mean, std } = input else { return Ok((id, id)) };
        Ok((id, self.graph.apply1("input", Standardize { mean, std }, &[id])?))
    }

    fn frozen(&self) -> usize {
        match self.mode {
            Mode::Training(training) => training.frozen,
            Mode::Inference => 0,
        }
    }

    /// Whether the part under construction learns.
    fn learns(&self) -> bool {
        self.mode != Mode::Inference && self.part >= self.frozen()
    }

    /// Turns to the next part. Frozen ones behind it are fused; `ends` are their results.
    pub(super) fn next_part(&mut self, ends: &[TensorId]) -> Result<(), Error> {
        self.part += 1;
        if self.part == self.frozen() {
            fuse::for_inference(&mut self.graph, ends)?;
        }
        Ok(())
    }

    /// A parameter, or where the part is frozen a state, which nothing differentiates.
    fn parameter(&mut self, name: String, spec: Spec, init: Init) -> Result<TensorId, Error> {
        let frozen = self.part < self.frozen();
        let role = if frozen { Role::State(init) } else { Role::Parameter(init) };
        Ok(self.graph.add_tensor(name, spec, role)?)
    }

    fn loss(&mut self, training: Training, logits: TensorId, clock: TensorId) -> Result<TrainingEnds, Error> {
        let Training { label_smoothing, mixed_labels, .. } = training;
        let mut words = |name: &str| self.graph.input(name, Spec::plain([self.batch], DType::U32));
        let labels = words("labels")?;
        let mixed = if mixed_labels {
            Some([words("others")?, self.graph.input("shares", Spec::plain([self.batch], DType::F32))?])
        } else {
            None
        };
        let inputs: Vec<TensorId> = [logits, labels].into_iter().chain(mixed.into_iter().flatten()).collect();
        let op = SoftmaxCrossEntropy { label_smoothing, mixed: mixed_labels };
        let outcome = self.graph.apply("loss", op, &inputs, &[])?;
        Ok(TrainingEnds { labels, mixed, clock, loss: outcome[0], top1: outcome[1] })
    }

    pub(super) fn channels(&self, map: TensorId) -> usize {
        self.graph.spec(map).last()
    }

    /// A convolution without bias, given its kernel's side, output channels and stride.
    pub(super) fn conv(
        &mut self,
        name: &str,
        x: TensorId,
        (kernel, out, stride): (usize, usize, usize),
    ) -> Result<TensorId, Error> {
        let spec = Spec::weights([kernel, kernel, self.channels(x), out]);
        let w = self.parameter(format!("{name}.weight"), spec, Init::KaimingFanOut)?;
        Ok(self.graph.apply1(name, Conv2d::new(stride, (self.style.padding)(kernel)), &[x, w])?)
    }

    /// A depthwise convolution without bias.
    pub(super) fn depthwise(
        &mut self,
        name: &str,
        x: TensorId,
        kernel: usize,
        stride: usize,
    ) -> Result<TensorId, Error> {
        let spec = Spec::depthwise([kernel, kernel, self.channels(x)]);
        let w = self.parameter(format!("{name}.weight"), spec, Init::KaimingFanOut)?;
        Ok(self.graph.apply1(name, DepthwiseConv2d::new(stride, (self.style.padding)(kernel)), &[x, w])?)
    }

    pub(super) fn batch_norm(
        &mut self,
        name: &str,
        x: TensorId,
        gamma: f32,
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let (vector, eps) = (Spec::channels([self.channels(x)]), self.style.bn_eps);
        let gamma = self.parameter(format!("{name}.weight"), vector.clone(), Init::Constant(gamma))?;
        let beta = self.parameter(format!("{name}.bias"), vector.clone(), Init::Constant(0.0))?;
        let learns = self.learns();
        let g = &mut self.graph;
        let mean = g.state(format!("{name}.running_mean"), vector.clone(), 0.0)?;
        let var = g.state(format!("{name}.running_var"), vector, 1.0)?;
        Ok(if learns {
            let op = BatchNorm { eps, momentum: self.config.bn_momentum, activation };
            g.apply(name, op, &[x, gamma, beta], &[mean, var])?[0]
        } else {
            g.apply1(name, BatchNormInference { eps, activation }, &[x, gamma, beta, mean, var])?
        })
    }

    pub(super) fn conv_bn(
        &mut self,
        names: [&str; 2],
        x: TensorId,
        shape: (usize, usize, usize),
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let x = self.conv(names[0], x, shape)?;
        self.batch_norm(names[1], x, 1.0, activation)
    }

    /// The gate `[N, C]` of a map: squeeze, reduce, excite. Its two layers are 1x1 convolutions in timm.
    pub(super) fn squeeze_excite(
        &mut self,
        name: &str,
        layers: [String; 2],
        x: TensorId,
        inner: usize,
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let channels = self.channels(x);
        let inits = |fan_in| [Init::KaimingFanOut, (self.style.gate_bias_init)(fan_in)];
        let [reduce, excite] = [inits(channels), inits(inner)];
        let squeezed = self.graph.apply1(name, GlobalAvgPool, &[x])?;
        let reduced = self.linear(&layers[0], squeezed, &[1, 1, channels, inner], reduce, activation)?;
        self.linear(&layers[1], reduced, &[1, 1, inner, channels], excite, Activation::Sigmoid)
    }

    fn linear(
        &mut self,
        name: &str,
        x: TensorId,
        weights: &[usize],
        [weight_init, bias_init]: [Init; 2],
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let out = weights[weights.len() - 1];
        let w = self.parameter(format!("{name}.weight"), Spec::weights(weights), weight_init)?;
        let b = self.parameter(format!("{name}.bias"), Spec::channels([out]), bias_init)?;
        Ok(self.graph.apply1(name, Linear { activation }, &[x, w, b])?)
    }

    /// Stochastic depth: drops the branch by zeroing its gate; without squeeze-and-excitation the gate is 1.
    pub(super) fn drop_path(
        &mut self,
        at: &str,
        y: TensorId,
        gate: Option<TensorId>,
        rate: f32,
    ) -> Result<Option<TensorId>, Error> {
        let Some(clock) = self.clock.filter(|_| rate > 0.0 && self.learns()) else { return Ok(gate) };
        let gate = match gate {
            Some(gate) => gate,
            None => self.graph.apply1(at, Fill { shape: [self.batch, self.channels(y)], value: 1.0 }, &[])?,
        };
        self.dropout(at, gate, clock, rate, DropoutScope::Sample).map(Some)
    }

    fn dropout(
        &mut self,
        at: &str,
        x: TensorId,
        clock: TensorId,
        rate: f32,
        scope: DropoutScope,
    ) -> Result<TensorId, Error> {
        let stream = self.dropouts;
        self.dropouts += 1;
        Ok(self.graph.apply1(at, Dropout { rate, scope, stream }, &[x, clock])?)
    }

    /// The logits `[N, classes]` of the last map: pool, dropout, a linear layer.
    pub(super) fn classifier(&mut self, name: &str, x: TensorId) -> Result<TensorId, Error> {
        let mut pooled = self.graph.apply1(&format!("{name}.pool"), GlobalAvgPool, &[x])?;
        if let Some(clock) = self.clock.filter(|_| self.config.dropout > 0.0) {
            let at = format!("{name}.dropout");
            pooled = self.dropout(&at, pooled, clock, self.config.dropout, DropoutScope::Element)?;
        }
        let shape = [self.channels(pooled), self.config.classes];
        let init = (self.style.classifier_init)(shape[0], shape[1]);
        self.linear(name, pooled, &shape, init, Activation::Identity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Preset, ResNet, Shortcut, Stem, StemDownsampling};
    use super::*;

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

    /// Parameters and learnable tensors as timm has them, and GMACs of convolutions and linear layers. (timm's GMACs
    /// also count two for each output of a batch norm.)
    #[test]
    fn sizes_of_resnet_rs_equal_the_fact_sheet() {
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

    /// The same for timm's `tf_efficientnet_b*`, with the channels and depths of each stage.
    #[test]
    fn sizes_of_efficientnet_equal_the_fact_sheet() {
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
            let of_stages: Vec<usize> = network.stages[1..8].iter().map(|&map| g.spec(map).last()).collect();
            assert_eq!(of_stages, channels, "{name}");
            assert_eq!(preset.layers.depths(), depths, "{name}");
        }
    }

    /// timm's counts.
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
        // He et al. 2015, table 1, count ResNet-50 as 3.8 GMACs, with the stride on the 1x1 convolution; timm counts 4.1 for this form.
        assert_eq!(gmacs(&build("resnet50", 224, Mode::Inference).graph), "4.089");
    }

    /// RS-50 at 160 px, as in timm.
    #[test]
    fn stage_shapes() {
        let n = build("resnet-rs-50", 160, Mode::Training(Training::default()));
        let shapes: Vec<_> = n.stages.iter().map(|&t| n.graph.spec(t).shape[1..].to_vec()).collect();
        assert_eq!(shapes, [[40, 40, 64], [40, 40, 256], [20, 20, 512], [10, 10, 1024], [5, 5, 2048]]);
    }

    #[test]
    fn switches_build() {
        let (stem_downsampling, shortcut) = (StemDownsampling::FirstBlock, Shortcut::Strided);
        let layers = ResNet { stem: Stem::Plain, stem_downsampling, shortcut, ..ResNet::rs([1, 1, 1, 1], 0.25) };
        let config = Config { drop_path: 0.2, dropout: 0.5, ..Config::new(ResNet { se_ratio: 0.0, ..layers }, 10) };
        let mode = Mode::Training(Training::default());
        let n = Network::build(&config, 2, [33, 47], Input::Pixels { mean: [0.5; 3], std: [0.2; 3] }, mode).unwrap();
        assert_eq!(n.graph.spec(n.stages[1]).shape, [2, 9, 12, 64]);
        assert!(Network::build(&config, 0, [32, 32], Input::Tensor, mode).is_err());
    }
}
