//! Builds a ResNet's graph, forward part. Tensor names are timm's.

use super::{Config, Error, Shortcut, Stem, StemDownsampling};
use crate::graph::op::{
    AvgPool2x2, BatchNorm, BatchNormInference, Conv2d, Dropout, DropoutScope, Fill, GlobalAvgPool, Linear, ScaleAdd,
    SoftmaxCrossEntropy, Standardize,
};
use crate::graph::{Activation, DType, Graph, Init, Role, Spec, TensorId, fuse};

/// Added to a batch's variance, in every ResNet-RS.
const BN_EPS: f32 = 1e-5;

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
    /// How many of [`PARTS`], from the first, stay as they are: they run as in inference, fused, and their weights are states.
    pub frozen: usize,
}

/// The parts of a network in order, by the beginning of their tensors' names; the stem's have names of their own.
pub const PARTS: [&str; 6] = ["stem", "layer1", "layer2", "layer3", "layer4", "fc"];

/// The part that a tensor belongs to, as an index into [`PARTS`].
pub fn part_of(tensor: &str) -> usize {
    let first = tensor.split('.').next().unwrap_or_default();
    PARTS.iter().position(|&part| part == first).unwrap_or(0)
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
    /// Maps after the stem's halving and after each of the four stages: strides 4, 4, 8, 16, 32.
    pub stages: Vec<TensorId>,
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

impl Network {
    /// Builds the forward graph for `batch` pictures of `size` (height, width) pixels.
    pub fn build(config: &Config, batch: usize, size: [usize; 2], input: Input, mode: Mode) -> Result<Self, Error> {
        config.validate()?;
        if batch == 0 {
            return Err(Error::Config { field: "batch", range: "at least 1", got: "0".into() });
        }
        let mut b = Builder { graph: Graph::new(), config, batch, mode, part: 0, clock: None, dropouts: 0 };
        if mode != Mode::Inference {
            b.clock = Some(b.graph.input("clock", Spec::plain([2], DType::U32))?);
        }
        let (input, x) = b.input(input, size)?;
        let mut x = b.stem(x)?;
        let mut stages = vec![x];
        for stage in 0..4 {
            b.next_part(&stages)?;
            for block in 0..config.depths[stage] {
                x = b.bottleneck(x, stage, block)?;
            }
            stages.push(x);
        }
        b.next_part(&stages)?;
        let logits = b.head(x)?;
        let training = match (mode, b.clock) {
            (Mode::Training(training), Some(clock)) => Some(b.loss(training, logits, clock)?),
            _ => None,
        };
        Ok(Self { graph: b.graph, input, logits, stages, training })
    }
}

struct Builder<'c> {
    graph: Graph,
    config: &'c Config,
    batch: usize,
    mode: Mode,
    /// The part under construction, an index into [`PARTS`].
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

    /// Turns to the next part. Frozen ones behind it are fused; `stages` are their results.
    fn next_part(&mut self, stages: &[TensorId]) -> Result<(), Error> {
        self.part += 1;
        if self.part == self.frozen() {
            fuse::for_inference(&mut self.graph, stages)?;
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

    fn channels(&self, map: TensorId) -> usize {
        self.graph.spec(map).last()
    }

    /// A convolution without bias, padded to keep the size at stride 1.
    fn conv(&mut self, name: &str, x: TensorId, kernel: usize, out: usize, stride: usize) -> Result<TensorId, Error> {
        let spec = Spec::weights([kernel, kernel, self.channels(x), out]);
        let w = self.parameter(format!("{name}.weight"), spec, Init::KaimingFanOut)?;
        Ok(self.graph.apply1(name, Conv2d::new(stride, kernel / 2), &[x, w])?)
    }

    fn batch_norm(&mut self, name: &str, x: TensorId, gamma: f32, activation: Activation) -> Result<TensorId, Error> {
        let vector = Spec::channels([self.channels(x)]);
        let gamma = self.parameter(format!("{name}.weight"), vector.clone(), Init::Constant(gamma))?;
        let beta = self.parameter(format!("{name}.bias"), vector.clone(), Init::Constant(0.0))?;
        let learns = self.learns();
        let g = &mut self.graph;
        let mean = g.state(format!("{name}.running_mean"), vector.clone(), 0.0)?;
        let var = g.state(format!("{name}.running_var"), vector, 1.0)?;
        Ok(if learns {
            let op = BatchNorm { eps: BN_EPS, momentum: self.config.bn_momentum, activation };
            g.apply(name, op, &[x, gamma, beta], &[mean, var])?[0]
        } else {
            g.apply1(name, BatchNormInference { eps: BN_EPS, activation }, &[x, gamma, beta, mean, var])?
        })
    }

    fn conv_bn(
        &mut self,
        names: [&str; 2],
        x: TensorId,
        (kernel, out, stride): (usize, usize, usize),
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let x = self.conv(names[0], x, kernel, out, stride)?;
        self.batch_norm(names[1], x, 1.0, activation)
    }

    fn stem(&mut self, x: TensorId) -> Result<TensorId, Error> {
        let out = self.config.stem_channels();
        let act = self.config.activation.into();
        let x = match self.config.stem {
            Stem::Deep => {
                let x = self.conv_bn(["conv1.0", "conv1.1"], x, (3, out / 2, 2), act)?;
                let x = self.conv_bn(["conv1.3", "conv1.4"], x, (3, out / 2, 1), act)?;
                self.conv_bn(["conv1.6", "bn1"], x, (3, out, 1), act)?
            }
            Stem::Plain => self.conv_bn(["conv1", "bn1"], x, (7, out, 2), act)?,
        };
        match self.config.stem_downsampling {
            StemDownsampling::Conv => self.conv_bn(["maxpool.0", "maxpool.1"], x, (3, out, 2), act),
            StemDownsampling::FirstBlock => Ok(x),
        }
    }

    fn bottleneck(&mut self, x: TensorId, stage: usize, block: usize) -> Result<TensorId, Error> {
        let planes = self.config.planes(stage);
        let first = block == 0;
        let halves = stage > 0 || self.config.stem_downsampling == StemDownsampling::FirstBlock;
        let stride = if first && halves { 2 } else { 1 };
        let act = self.config.activation.into();
        let at = format!("layer{}.{block}", stage + 1);
        let name = |part: &str| format!("{at}.{part}");

        let y = self.conv_bn([&name("conv1"), &name("bn1")], x, (1, planes, 1), act)?;
        let y = self.conv_bn([&name("conv2"), &name("bn2")], y, (3, planes, stride), act)?;
        let y = self.conv(&name("conv3"), y, 1, 4 * planes, 1)?;
        let gamma = if self.config.zero_init_last { 0.0 } else { 1.0 };
        let y = self.batch_norm(&name("bn3"), y, gamma, Activation::Identity)?;
        let gate = if self.config.se_ratio > 0.0 { Some(self.squeeze_excite(&name("se"), y)?) } else { None };
        let gate = self.drop_path(&at, y, gate, self.config.drop_path_rate(stage, block))?;

        let shortcut = if first { self.downsample(&name("downsample"), x, 4 * planes, stride)? } else { x };
        let join = ScaleAdd { gate: gate.is_some(), shortcut: true, activation: act };
        let inputs: Vec<TensorId> = [Some(y), gate, Some(shortcut)].into_iter().flatten().collect();
        Ok(self.graph.apply1(&at, join, &inputs)?)
    }

    fn downsample(&mut self, name: &str, x: TensorId, out: usize, stride: usize) -> Result<TensorId, Error> {
        let part = |i: usize| format!("{name}.{i}");
        match self.config.shortcut {
            Shortcut::Pooled => {
                let x = if stride == 1 { x } else { self.graph.apply1(&part(0), AvgPool2x2, &[x])? };
                self.conv_bn([&part(1), &part(2)], x, (1, out, 1), Activation::Identity)
            }
            Shortcut::Strided => self.conv_bn([&part(0), &part(1)], x, (1, out, stride), Activation::Identity),
        }
    }

    /// The gate `[N, C]` of a map: squeeze, reduce, excite. Its two layers are 1x1 convolutions in timm.
    fn squeeze_excite(&mut self, name: &str, x: TensorId) -> Result<TensorId, Error> {
        let channels = self.channels(x);
        let inner = self.config.se_channels(channels);
        let squeezed = self.graph.apply1(name, GlobalAvgPool, &[x])?;
        let reduced = self.linear(&format!("{name}.fc1"), squeezed, &[1, 1, channels, inner], Activation::Relu)?;
        self.linear(&format!("{name}.fc2"), reduced, &[1, 1, inner, channels], Activation::Sigmoid)
    }

    fn linear(
        &mut self,
        name: &str,
        x: TensorId,
        weights: &[usize],
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let (fan_in, out) = (self.channels(x), weights[weights.len() - 1]);
        let bound = 1.0 / (fan_in as f32).sqrt();
        let init = if weights.len() == 4 { Init::KaimingFanOut } else { Init::Uniform { bound } };
        let w = self.parameter(format!("{name}.weight"), Spec::weights(weights), init)?;
        let b = self.parameter(format!("{name}.bias"), Spec::channels([out]), Init::Uniform { bound })?;
        Ok(self.graph.apply1(name, Linear { activation }, &[x, w, b])?)
    }

    /// Stochastic depth: drops the branch by zeroing its gate; without squeeze-and-excitation the gate is 1.
    fn drop_path(
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

    fn head(&mut self, x: TensorId) -> Result<TensorId, Error> {
        let mut pooled = self.graph.apply1("global_pool", GlobalAvgPool, &[x])?;
        if let Some(clock) = self.clock.filter(|_| self.config.dropout > 0.0) {
            pooled = self.dropout("dropout", pooled, clock, self.config.dropout, DropoutScope::Element)?;
        }
        let shape = [self.channels(pooled), self.config.classes];
        self.linear("fc", pooled, &shape, Activation::Identity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Preset;
    use super::*;

    fn build(name: &str, res: usize, mode: Mode) -> Network {
        let config = Preset::find(name).unwrap().config(1000);
        Network::build(&config, 1, [res, res], Input::Tensor, mode).unwrap()
    }

    /// Fact sheet 1.1 and 1.2: parameters, learnable tensors, and GMACs of convolutions and linear layers.
    #[test]
    fn sizes_equal_the_fact_sheet() {
        let rows = [
            ("resnet-rs-50", 160, 35_691_912, 234, 2.279),
            ("resnet-rs-101", 160, 63_618_696, 455, 4.182),
            ("resnet-rs-101", 192, 63_618_696, 455, 6.012),
            ("resnet-rs-152", 192, 86_621_576, 676, 8.747),
            ("resnet-rs-152", 224, 86_621_576, 676, 11.895),
            ("resnet-rs-152", 256, 86_621_576, 676, 15.528),
            ("resnet-rs-200", 256, 93_209_992, 884, 20.093),
            ("resnet-rs-270", 256, 129_861_448, 1196, 26.950),
            ("resnet-rs-350", 256, 163_956_168, 1534, 34.377),
            ("resnet-rs-350", 320, 163_956_168, 1534, 53.684),
            ("resnet-rs-420", 320, 191_891_656, 1833, 63.942),
        ];
        for (name, res, parameters, tensors, gmacs) in rows {
            let g = build(name, res, Mode::Inference).graph;
            let learned = || g.tensors().iter().filter(|t| matches!(t.role, Role::Parameter(_)));
            assert_eq!(learned().map(|t| t.spec.elements()).sum::<usize>(), parameters, "{name}");
            assert_eq!(learned().count(), tensors, "{name}");
            let macs: u64 = g.nodes().iter().map(|n| n.cost(&g).macs).sum();
            assert_eq!(format!("{:.3}", macs as f64 / 1e9), format!("{gmacs:.3}"), "{name} at {res} px");
        }
    }

    /// Fact sheet 10: stage shapes of RS-50 at 160 px.
    #[test]
    fn stage_shapes() {
        let n = build("resnet-rs-50", 160, Mode::Training(Training::default()));
        let shapes: Vec<_> = n.stages.iter().map(|&t| n.graph.spec(t).shape[1..].to_vec()).collect();
        assert_eq!(shapes, [[40, 40, 64], [40, 40, 256], [20, 20, 512], [10, 10, 1024], [5, 5, 2048]]);
    }

    #[test]
    fn switches_build() {
        let config = Config {
            se_ratio: 0.0,
            stem: Stem::Plain,
            stem_downsampling: StemDownsampling::FirstBlock,
            shortcut: Shortcut::Strided,
            drop_path: 0.2,
            dropout: 0.5,
            ..Config::resnet_rs([1, 1, 1, 1], 0.25, 10)
        };
        let mode = Mode::Training(Training::default());
        let n = Network::build(&config, 2, [33, 47], Input::Pixels { mean: [0.5; 3], std: [0.2; 3] }, mode).unwrap();
        assert_eq!(n.graph.spec(n.stages[1]).shape, [2, 9, 12, 64]);
        assert!(Network::build(&config, 0, [32, 32], Input::Tensor, mode).is_err());
    }
}
