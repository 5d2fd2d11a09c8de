//! EfficientNet (Tan and Le 2019) as tensorflow/tpu, models/official/efficientnet, builds it: "same" padding, and a
//! batch norm epsilon of its own. Tensor names are those of timm's `tf_efficientnet_b*`.

use serde::{Deserialize, Serialize};

use super::builder::{Builder, Style};
use super::config::{Reach, check};
use super::network::Backbone;
use super::{Error, WIDTHS};
use crate::graph::op::{Padding, ScaleAdd};
use crate::graph::{Activation, Init, TensorId};

/// Inner width of a gate as a share of its block's input channels.
const SE_RATIO: f64 = 0.25;

/// Output channels of the stem and of the head, before scaling.
const STEM: usize = 32;
const HEAD: usize = 1280;

/// A stage of blocks of equal shape; the first block may halve the map.
struct Stage {
    depth: usize,
    kernel: usize,
    stride: usize,
    /// Channels of the depthwise convolution as a multiple of the block's input.
    expansion: usize,
    out: usize,
}

const fn stage(depth: usize, kernel: usize, stride: usize, expansion: usize, out: usize) -> Stage {
    Stage { depth, kernel, stride, expansion, out }
}

/// B0 (Tan and Le 2019, table 1).
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// The layers of an EfficientNet: B0's, scaled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EfficientNet {
    /// Multiplies every channel count, 0.125 to 8. Results are rounded to multiples of 8, at most a tenth down.
    pub width: f64,
    /// Multiplies the blocks of each stage, 0.1 to 20. Results are rounded up.
    pub depth: f64,
}

impl EfficientNet {
    /// Blocks in each of the seven stages.
    pub fn depths(&self) -> [usize; 7] {
        // Products such as 3 x 1.4 that are integers but for rounding stay integers.
        STAGES.each_ref().map(|stage| (stage.depth as f64 * self.depth - 1e-9).ceil() as usize)
    }

    /// A channel count of B0, scaled.
    fn channels(&self, base: usize) -> usize {
        let exact = base as f64 * self.width;
        let rounded = (((exact + 4.0) / 8.0) as usize * 8).max(8);
        if (rounded as f64) < 0.9 * exact { rounded + 8 } else { rounded }
    }

    /// Output channels of the last convolution.
    pub fn head_channels(&self) -> usize {
        self.channels(HEAD)
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        check("width", WIDTHS.contains(&self.width), "from 0.125 to 8", self.width)?;
        check("depth", (0.1..=20.0).contains(&self.depth), "from 0.1 to 20", self.depth)
    }
}

impl Backbone for EfficientNet {
    fn style(&self) -> Style {
        Style {
            bn_eps: 1e-3,
            padding: |kernel| if kernel == 1 { Padding::NONE } else { Padding::Same },
            // TensorFlow's initialisation, made for ImageNet's thousand classes. With fewer classes it would start with
            // logits far from zero, so it uses the range for at least a thousand.
            classifier_init: |_, outputs| {
                [Init::Uniform { bound: 1.0 / (outputs.max(1000) as f32).sqrt() }, Init::Constant(0.0)]
            },
            gate_bias_init: |_| Init::Constant(0.0),
        }
    }

    fn stages(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        let mut x = b.conv_bn(["conv_stem", "bn1"], x, (3, self.channels(STEM), 2), Activation::Silu)?;
        b.end_part(&[x])?;
        let depths = self.depths();
        let blocks: usize = depths.iter().sum();
        let (mut before, mut reach) = (0, Reach::new(b.config.output_stride, 2));
        for (i, (stage, depth)) in STAGES.iter().zip(depths).enumerate() {
            reach = reach.stage(stage.stride);
            for block in 0..depth {
                let drop = b.config.drop_path * before as f32 / blocks as f32;
                x = self.block(b, &format!("blocks.{i}.{block}"), x, stage, reach.block(block), drop)?;
                before += 1;
            }
            // The last stage before each halving.
            if STAGES.get(i + 1).is_none_or(|next| next.stride == 2) {
                b.level(reach.total, x);
            }
            b.end_part(&[x])?;
        }
        Ok(x)
    }

    fn top(&self, b: &mut Builder<'_>, x: TensorId) -> Result<TensorId, Error> {
        let x = b.conv_bn(["conv_head", "bn2"], x, (1, self.head_channels(), 1), Activation::Silu)?;
        b.end_part(&[x])?;
        Ok(x)
    }
}

impl EfficientNet {
    /// An inverted bottleneck: expansion, depthwise convolution, gate, projection; added to its input if the shapes
    /// agree.
    fn block(
        &self,
        b: &mut Builder<'_>,
        at: &str,
        x: TensorId,
        stage: &Stage,
        steps: [usize; 2],
        drop: f32,
    ) -> Result<TensorId, Error> {
        let (act, before) = (Activation::Silu, b.channels(x));
        let name = |part: &str| format!("{at}.{part}");
        // timm numbers batch norms in order. Without an expansion the projection is the first pointwise convolution.
        let expands = stage.expansion > 1;
        let [bn_depthwise, project, bn_project] =
            if expands { ["bn2", "conv_pwl", "bn3"] } else { ["bn1", "conv_pw", "bn2"] };

        let mut y = x;
        if expands {
            y = b.conv_bn([&name("conv_pw"), &name("bn1")], y, (1, stage.expansion * before, 1), act)?;
        }
        y = b.depthwise(&name("conv_dw"), y, stage.kernel, steps)?;
        y = b.batch_norm(&name(bn_depthwise), y, 1.0, act)?;
        let inner = ((before as f64 * SE_RATIO).round() as usize).max(1);
        let layers = [name("se.conv_reduce"), name("se.conv_expand")];
        let gate = b.squeeze_excite(&name("se"), layers, y, inner, act)?;
        let scale = ScaleAdd { gate: true, shortcut: false, activation: Activation::Identity };
        y = b.graph.apply1(&name("se"), scale, &[y, gate])?;
        let out = self.channels(stage.out);
        y = b.conv_bn([&name(project), &name(bn_project)], y, (1, out, 1), Activation::Identity)?;
        if steps[0] != 1 || before != out {
            return Ok(y);
        }
        let gate = b.drop_path(at, y, None, drop)?;
        let join = ScaleAdd { gate: gate.is_some(), ..ScaleAdd::ADD };
        let inputs: Vec<TensorId> = [Some(y), gate, Some(x)].into_iter().flatten().collect();
        Ok(b.graph.apply1(at, join, &inputs)?)
    }
}
