//! What distinguishes one network from another.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{EfficientNet, Error, Head, ResNet, StemDownsampling};

/// A network, from its stem to its head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The layers.
    #[serde(flatten)]
    pub layers: Layers,
    /// Classes that the head tells apart, at most 20,000: the loss walks three times over them
    /// ([`crate::graph::op::MAX_LOOP_ITERATIONS`]). A detector's first class is the background, which is never found;
    /// a depth network has 1.
    pub classes: usize,
    /// Probability of dropping a feature in front of the last layer of a head that classifies; in an FCN a fifth of
    /// it, so that 0.5 gives torchvision's rates.
    pub dropout: f32,
    /// Drop rate of stochastic depth at the deepest block.
    pub drop_path: f32,
    /// Weight of the new batch in the running statistics (PyTorch's convention: TensorFlow's momentum 0 is 1 here).
    pub bn_momentum: f32,
    /// What the backbone's batch norms add to the variance, at least 0; `None` is what the family has. Only networks
    /// from elsewhere differ, such as the RetinaNet that torchvision released, which has 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_eps: Option<f32>,
    /// Distance between neighbouring elements of the last map, in pixels of the input: 32 for classifiers; 16 or 8 for
    /// dense predictions, where the stages that would halve the map further are dilated instead, as timm does it.
    #[serde(default = "full_stride", skip_serializing_if = "is_full_stride")]
    pub output_stride: usize,
    /// What is made of the backbone's maps. Cards of classifiers do not mention it.
    #[serde(default, skip_serializing_if = "Head::is_classifier")]
    pub head: Head,
}

/// The stride of a network without dilation, which cards do not mention.
const FULL_STRIDE: usize = 32;

fn full_stride() -> usize {
    FULL_STRIDE
}

fn is_full_stride(stride: &usize) -> bool {
    *stride == FULL_STRIDE
}

/// The layers of a network. Serialised without a tag: a ResNet is recognised by `depths`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Layers {
    /// ResNet, ResNet-D, SE-ResNet, ResNet-RS.
    ResNet(ResNet),
    /// EfficientNet.
    EfficientNet(EfficientNet),
}

impl<'de> Deserialize<'de> for Layers {
    /// Implemented by hand, so that an error names the invalid field.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = serde_json::Value::deserialize(from)?;
        let layers = match fields.get("depths") {
            Some(_) => serde_json::from_value(fields).map(Self::ResNet),
            None => serde_json::from_value(fields).map(Self::EfficientNet),
        };
        layers.map_err(D::Error::custom)
    }
}

impl From<ResNet> for Layers {
    fn from(layers: ResNet) -> Self {
        Self::ResNet(layers)
    }
}

impl From<EfficientNet> for Layers {
    fn from(layers: EfficientNet) -> Self {
        Self::EfficientNet(layers)
    }
}

impl Layers {
    /// Names of the stem and the stages, in order.
    pub fn stages(&self) -> &'static [&'static str] {
        match self {
            Self::ResNet(_) => &RESNET_STAGES,
            Self::EfficientNet(_) => &EFFICIENTNET_STAGES,
        }
    }

    /// Names of the parts of a classifier behind the stages.
    pub(super) fn top_parts(&self) -> &'static [&'static str] {
        match self {
            Self::ResNet(_) => &["fc"],
            Self::EfficientNet(_) => &["head", "classifier"],
        }
    }

    /// Multiplier of all channel counts.
    pub fn width(&self) -> f64 {
        match self {
            Self::ResNet(layers) => layers.width,
            Self::EfficientNet(layers) => layers.width,
        }
    }

    /// Residual blocks of each stage, which are the parts after the stem.
    pub fn depths(&self) -> Vec<usize> {
        match self {
            Self::ResNet(layers) => layers.depths.to_vec(),
            Self::EfficientNet(layers) => layers.depths().to_vec(),
        }
    }

    /// Whether both have the same tensors. Other choices, such as the activation, may differ.
    pub fn same_tensors(&self, other: &Self) -> bool {
        let told = |layers: &ResNet| {
            let ResNet { depths, width, se_ratio, stem, stem_downsampling, shortcut, .. } = *layers;
            (depths, width, se_ratio, stem, stem_downsampling == StemDownsampling::Conv, shortcut)
        };
        match (self, other) {
            (Self::ResNet(a), Self::ResNet(b)) => told(a) == told(b),
            (a, b) => a == b,
        }
    }

    /// Name of a classifier's last part, which is also the prefix of its tensors' names.
    pub fn classifier(&self) -> &'static str {
        self.top_parts()[self.top_parts().len() - 1]
    }
}

const RESNET_STAGES: [&str; 5] = ["stem", "layer1", "layer2", "layer3", "layer4"];

const EFFICIENTNET_STAGES: [&str; 8] =
    ["stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6"];

impl Config {
    /// A classifier for `classes` classes, without dropout and stochastic depth.
    pub fn new(layers: impl Into<Layers>, classes: usize) -> Self {
        Self {
            layers: layers.into(),
            classes,
            dropout: 0.0,
            drop_path: 0.0,
            bn_momentum: 0.1,
            bn_eps: None,
            output_stride: FULL_STRIDE,
            head: Head::Classifier,
        }
    }

    /// Names of the parts in order, from the stem to the head; flags that freeze parts or scale their learning rates
    /// use them.
    pub fn parts(&self) -> Vec<&'static str> {
        [self.layers.stages(), &self.head.parts(&self.layers)].concat()
    }

    /// A ResNet-RS as released ([`ResNet::rs`]).
    pub fn resnet_rs(depths: [usize; 4], width: f64, classes: usize) -> Self {
        Self::new(ResNet::rs(depths, width), classes)
    }

    /// The layers that tell the classes apart, by the prefix of their tensors' names, and how many groups of one output
    /// a class each has.
    pub fn class_layers(&self) -> (Vec<&'static str>, usize) {
        match self.head {
            Head::Classifier => (vec![self.layers.classifier()], 1),
            _ => self.head.class_layers(),
        }
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), Error> {
        match &self.layers {
            Layers::ResNet(layers) => layers.validate()?,
            Layers::EfficientNet(layers) => layers.validate()?,
        }
        self.head.validate()?;
        let classes = self.head.fewest_classes()..=20_000;
        let range = if *classes.start() == 1 { "from 1 to 20000" } else { "from 2 to 20000" };
        check("classes", classes.contains(&self.classes), range, self.classes)?;
        check("dropout", (0.0..1.0).contains(&self.dropout), "at least 0 and below 1", self.dropout)?;
        check("drop path", (0.0..1.0).contains(&self.drop_path), "at least 0 and below 1", self.drop_path)?;
        check("BN momentum", (0.0..=1.0).contains(&self.bn_momentum), "from 0 to 1", self.bn_momentum)?;
        let eps = self.bn_eps.unwrap_or_default();
        check("BN epsilon", (0.0..=1.0).contains(&eps), "from 0 to 1", eps)?;
        let strides = match self.head {
            // Its anchors are those of a pyramid whose maps halve from level to level.
            Head::RetinaNet(_) => (&[32][..], "32 under RetinaNet"),
            _ => (&[8, 16, 32][..], "8, 16 or 32"),
        };
        check("output stride", strides.0.contains(&self.output_stride), strides.1, self.output_stride)
    }
}

/// The strides and dilations of a network's stages. A stage that would halve the map beyond the output stride keeps its
/// size; its dilation is doubled instead, from its second block on: the first block has that of the stage before (timm
/// and torchvision alike).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    output_stride: usize,
    /// Stride of the map so far, in pixels of the input.
    pub(super) total: usize,
    /// Stride of the stage's first block.
    pub(super) stride: usize,
    /// Dilation of the stage's first block.
    pub(super) first_dilation: usize,
    /// Dilation of the other blocks.
    pub(super) dilation: usize,
}

impl Reach {
    /// In front of the first stage, whose input has the stride `total`.
    pub(super) fn new(output_stride: usize, total: usize) -> Self {
        Self { output_stride, total, stride: 1, first_dilation: 1, dilation: 1 }
    }

    /// The next stage, which would have this stride.
    pub(super) fn stage(self, stride: usize) -> Self {
        let stage = Self { stride, first_dilation: self.dilation, ..self };
        match self.total * stride <= self.output_stride {
            true => Self { total: self.total * stride, ..stage },
            false => Self { stride: 1, dilation: self.dilation * stride, ..stage },
        }
    }

    /// Stride and dilation of one of the stage's blocks.
    pub(super) fn block(self, block: usize) -> [usize; 2] {
        if block == 0 { [self.stride, self.first_dilation] } else { [1, self.dilation] }
    }
}

/// Checks one range.
pub(super) fn check(field: &'static str, ok: bool, range: &'static str, got: impl ToString) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(Error::Config { field, range, got: got.to_string() }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cards_from_before_efficientnet_are_read() {
        let card = r#"{"depths":[1,2,1,1],"width":0.25,"classes":8,"se_ratio":0.25,"stem":"deep",
            "stem_downsampling":"conv","shortcut":"pooled","activation":"relu","dropout":0.0,
            "drop_path":0.0,"drop_path_schedule":"stage","zero_init_last":true,"bn_momentum":0.1}"#;
        let config: Config = serde_json::from_str(card).unwrap();
        assert_eq!(config, Config::resnet_rs([1, 2, 1, 1], 0.25, 8));
    }

    #[test]
    fn stages_are_dilated_as_in_timm() {
        let reach = |output_stride| {
            let stages = [1, 2, 2, 2].into_iter().scan(Reach::new(output_stride, 4), |reach, stride| {
                *reach = reach.stage(stride);
                Some((reach.total, reach.block(0), reach.block(1)))
            });
            stages.collect::<Vec<_>>()
        };
        let [plain, halved] = [(4, [1, 1], [1, 1]), (8, [2, 1], [1, 1])];
        assert_eq!(reach(32), [plain, halved, (16, [2, 1], [1, 1]), (32, [2, 1], [1, 1])]);
        assert_eq!(reach(16), [plain, halved, (16, [2, 1], [1, 1]), (16, [1, 1], [1, 2])]);
        assert_eq!(reach(8), [plain, halved, (8, [1, 1], [1, 2]), (8, [1, 2], [1, 4])]);
    }

    #[test]
    fn json_tells_the_families_apart_and_refuses_what_it_does_not_know() {
        let efficient = Config::new(EfficientNet { width: 1.1, depth: 1.2 }, 10);
        for config in [Config { dropout: 0.25, ..Config::resnet_rs([1, 2, 3, 4], 0.5, 7) }, efficient] {
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
            let unknown = json.replacen('{', "{\"dilation\":2,", 1);
            let refused = serde_json::from_str::<Config>(&unknown).unwrap_err().to_string();
            assert!(refused.contains("unknown field `dilation`"), "{refused}");
        }
    }
}
