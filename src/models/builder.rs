//! The builder of all families of networks: named layers, parts, levels.

use super::{Config, Error, Input, Level, Mode, Norm, Parts};
use crate::graph::op::{
    BatchNorm, BatchNormInference, Conv2d, DepthwiseConv2d, Dropout, DropoutScope, Epilogue, Fill, GlobalAvgPool,
    Linear, Padding, Standardize, Window,
};
use crate::graph::{Activation, DType, Graph, Init, Role, Spec, StateKind, TensorId, fuse};

/// The choices that a family of networks makes once.
pub(super) struct Style {
    /// Epsilon of batch norm, added to the variance.
    pub(super) bn_eps: f32,
    /// Padding of a map, by the side of the kernel, its dilation included.
    pub(super) padding: fn(usize) -> Padding,
    /// Initial weights and biases of the classifier, by its numbers of inputs and outputs.
    pub(super) classifier_init: fn(usize, usize) -> [Init; 2],
    /// Initial biases of a gate's layer, by its number of inputs.
    pub(super) gate_bias_init: fn(usize) -> Init,
}

impl Style {
    /// PyTorch's: that of ResNets, as in timm/models/resnet.py, and of torchvision's heads. Linear layers start with
    /// PyTorch's default values; the weights of gates do not.
    pub(super) const PYTORCH: Self = Self {
        bn_eps: 1e-5,
        padding: |kernel| Padding::from(kernel / 2),
        classifier_init: |inputs, _| [pytorch_init(inputs); 2],
        gate_bias_init: pytorch_init,
    };
}

/// PyTorch's default initial values of a layer whose outputs are sums of this many inputs.
pub(super) fn pytorch_init(inputs: usize) -> Init {
    Init::Uniform { bound: 1.0 / (inputs as f32).sqrt() }
}

/// Weights and bias of a convolution, which several maps may share.
pub(super) struct Layer {
    kernel: usize,
    weight: TensorId,
    bias: TensorId,
}

/// A graph under construction.
pub(super) struct Builder<'c> {
    pub(super) graph: Graph,
    pub(super) config: &'c Config,
    style: Style,
    /// What precedes the names of parameters and statistics.
    prefix: &'static str,
    /// How the part under construction normalises while it learns.
    norm: Norm,
    batch: usize,
    mode: Mode,
    levels: Vec<Level>,
    parts: Parts,
    clock: Option<TensorId>,
    dropouts: u32,
}

impl<'c> Builder<'c> {
    pub(super) fn new(config: &'c Config, mut style: Style, batch: usize, mode: Mode) -> Result<Self, Error> {
        let (mut graph, parts) = (Graph::new(), Parts::new(config.parts()));
        let (clock, norm) = match mode {
            Mode::Inference => (None, Norm::Batch),
            Mode::Training { norm, .. } => (Some(graph.input("clock", Spec::plain([2], DType::U32))?), norm),
        };
        style.bn_eps = config.bn_eps.unwrap_or(style.bn_eps);
        let prefix = config.head.backbone_prefix();
        Ok(Self { graph, config, style, prefix, norm, batch, mode, levels: Vec::new(), parts, clock, dropouts: 0 })
    }

    /// The graph, its levels and its parts.
    pub(super) fn finish(self) -> (Graph, Vec<Level>, Parts) {
        (self.graph, self.levels, self.parts)
    }
}

impl Builder<'_> {
    pub(super) fn input(&mut self, input: Input, [h, w]: [usize; 2]) -> Result<(TensorId, TensorId), Error> {
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
            Mode::Training { frozen, .. } => frozen,
            Mode::Inference => 0,
        }
    }

    /// Whether the part under construction learns.
    pub(super) fn learns(&self) -> bool {
        self.learns_at_all() && self.parts.built() >= self.frozen()
    }

    /// Whether the graph is for training.
    pub(super) fn learns_at_all(&self) -> bool {
        self.mode != Mode::Inference
    }

    /// Ends the backbone: the layers to come are those of a head.
    pub(super) fn begin_head(&mut self) {
        self.style = Style::PYTORCH;
        self.prefix = "";
        self.norm = Norm::Batch;
    }

    /// The maps of the last N levels, finest first.
    pub(super) fn last_levels<const N: usize>(&self) -> Result<[TensorId; N], Error> {
        let maps: Vec<TensorId> = self.levels.iter().map(|level| level.map).collect();
        match maps.last_chunk() {
            Some(last) => Ok(*last),
            None => Err(Error::Levels { wanted: N, found: maps.len() }),
        }
    }

    /// Notes a map of the part under construction that others may build on.
    pub(super) fn level(&mut self, stride: usize, map: TensorId) {
        self.levels.push(Level { name: self.parts.names()[self.parts.built()], stride, map });
    }

    /// Ends a part with its results, of which the last is computed last, and begins the next. When the last frozen part
    /// ends, all frozen parts are fused.
    pub(super) fn end_part(&mut self, results: &[TensorId]) -> Result<(), Error> {
        self.parts.end(&self.graph, results[results.len() - 1]);
        if self.parts.built() == self.frozen() {
            let levels = self.levels.iter().map(|level| level.map);
            let kept: Vec<TensorId> = self.parts.ends().iter().chain(results).copied().chain(levels).collect();
            fuse::for_inference(&mut self.graph, &kept)?;
            self.parts.pass_over(&self.graph);
        }
        Ok(())
    }

    /// A parameter; in a frozen part a state, which has no gradient.
    fn parameter(&mut self, name: String, spec: Spec, init: Init) -> Result<TensorId, Error> {
        let frozen = self.parts.built() < self.frozen();
        self.add_parameter(name, spec, init, frozen)
    }

    fn add_parameter(&mut self, name: String, spec: Spec, init: Init, frozen: bool) -> Result<TensorId, Error> {
        let role = if frozen { Role::State(StateKind::Frozen, init) } else { Role::Parameter(init) };
        Ok(self.graph.add_tensor(format!("{}{name}", self.prefix), spec, role)?)
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
        self.conv_dilated(name, x, (kernel, out), [stride, 1])
    }

    /// A convolution without bias, given its kernel's side, output channels, stride and dilation.
    pub(super) fn conv_dilated(
        &mut self,
        name: &str,
        x: TensorId,
        (kernel, out): (usize, usize),
        steps: [usize; 2],
    ) -> Result<TensorId, Error> {
        let spec = Spec::weights([kernel, kernel, self.channels(x), out]);
        let w = self.parameter(format!("{name}.weight"), spec, Init::KaimingFanOut)?;
        Ok(self.graph.apply1(name, Conv2d::new(self.window(kernel, steps)), &[x, w])?)
    }

    /// Weights `[kernel, kernel, inputs, outputs]` and bias of a convolution, given their initial values.
    pub(super) fn layer(
        &mut self,
        name: &str,
        [kernel, inputs, outputs]: [usize; 3],
        [weight, bias]: [Init; 2],
    ) -> Result<Layer, Error> {
        let spec = Spec::weights([kernel, kernel, inputs, outputs]);
        let weight = self.parameter(format!("{name}.weight"), spec, weight)?;
        let bias = self.parameter(format!("{name}.bias"), Spec::channels([outputs]), bias)?;
        Ok(Layer { kernel, weight, bias })
    }

    /// A convolution with bias, which other maps may share.
    pub(super) fn conv_layer(
        &mut self,
        name: &str,
        x: TensorId,
        layer: &Layer,
        stride: usize,
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let window = self.window(layer.kernel, [stride, 1]);
        let op = Conv2d { window, epilogue: Epilogue::bias(activation) };
        Ok(self.graph.apply1(name, op, &[x, layer.weight, layer.bias])?)
    }

    /// A convolution with bias, given its kernel's side and output channels. It starts as PyTorch's does.
    pub(super) fn conv_bias(
        &mut self,
        name: &str,
        x: TensorId,
        (kernel, out): (usize, usize),
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let inputs = self.channels(x);
        let layer = self.layer(name, [kernel, inputs, out], [pytorch_init(kernel * kernel * inputs); 2])?;
        self.conv_layer(name, x, &layer, 1, activation)
    }

    /// A depthwise convolution, then a 1x1 convolution, given the kernel's side, output channels and dilation.
    pub(super) fn separable(
        &mut self,
        name: &str,
        x: TensorId,
        (kernel, out): (usize, usize),
        dilation: usize,
    ) -> Result<TensorId, Error> {
        let x = self.depthwise(&format!("{name}.0"), x, kernel, [1, dilation])?;
        self.conv(&format!("{name}.1"), x, (1, out, 1))
    }

    /// A square window in the family's padding, which keeps the size of a map at stride 1.
    fn window(&self, kernel: usize, [stride, dilation]: [usize; 2]) -> Window {
        let padding = (self.style.padding)(dilation * (kernel - 1) + 1);
        Window { dilation: [dilation; 2], ..Window::square(kernel, stride, padding) }
    }

    /// A depthwise convolution without bias, given its kernel's side, stride and dilation.
    pub(super) fn depthwise(
        &mut self,
        name: &str,
        x: TensorId,
        kernel: usize,
        steps: [usize; 2],
    ) -> Result<TensorId, Error> {
        let spec = Spec::depthwise([kernel, kernel, self.channels(x)]);
        let w = self.parameter(format!("{name}.weight"), spec, Init::KaimingFanOut)?;
        Ok(self.graph.apply1(name, DepthwiseConv2d::new(self.window(kernel, steps)), &[x, w])?)
    }

    pub(super) fn batch_norm(
        &mut self,
        name: &str,
        x: TensorId,
        gamma: f32,
        activation: Activation,
    ) -> Result<TensorId, Error> {
        let (vector, eps) = (Spec::channels([self.channels(x)]), self.style.bn_eps);
        let by_batch = self.learns() && self.norm == Norm::Batch;
        let frozen = self.parts.built() < self.frozen() || self.norm == Norm::Frozen;
        let [gamma, beta] = [("weight", gamma), ("bias", 0.0)].map(|(part, value)| {
            self.add_parameter(format!("{name}.{part}"), vector.clone(), Init::Constant(value), frozen)
        });
        let (gamma, beta) = (gamma?, beta?);
        let g = &mut self.graph;
        let mut statistic =
            |part, value| g.state(format!("{}{name}.{part}", self.prefix), vector.clone(), StateKind::Statistic, value);
        let (mean, var) = (statistic("running_mean", 0.0)?, statistic("running_var", 1.0)?);
        Ok(if by_batch {
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
        let squeezed = self.graph.apply1(name, GlobalAvgPool::TO_FEATURES, &[x])?;
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

    /// Dropout of a map's elements.
    pub(super) fn map_dropout(&mut self, at: &str, x: TensorId, rate: f32) -> Result<TensorId, Error> {
        match self.clock.filter(|_| rate > 0.0 && self.learns()) {
            Some(clock) => self.dropout(at, x, clock, rate, DropoutScope::Element),
            None => Ok(x),
        }
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

    /// The logits `[N, classes]` of the last map: pool, dropout, a linear layer. It is the last part.
    pub(super) fn classifier(&mut self, name: &str, x: TensorId) -> Result<TensorId, Error> {
        let mut pooled = self.graph.apply1(&format!("{name}.pool"), GlobalAvgPool::TO_FEATURES, &[x])?;
        if let Some(clock) = self.clock.filter(|_| self.config.dropout > 0.0) {
            let at = format!("{name}.dropout");
            pooled = self.dropout(&at, pooled, clock, self.config.dropout, DropoutScope::Element)?;
        }
        let shape = [self.channels(pooled), self.config.classes];
        let init = (self.style.classifier_init)(shape[0], shape[1]);
        let logits = self.linear(name, pooled, &shape, init, Activation::Identity)?;
        self.end_part(&[logits])?;
        Ok(logits)
    }
}
