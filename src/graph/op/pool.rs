//! Pools: the mean over the whole map, and the mean and the maximum over windows.

use super::{Half, Rule, Window, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// Mean over height and width.
///
/// Input: x `[N, H, W, C]`. Output `[N, C]`, or `[N, 1, 1, C]` if the result stays a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalAvgPool {
    /// Whether the result is a map of one pixel instead of features.
    pub to_map: bool,
}

impl GlobalAvgPool {
    /// The pool in front of a gate or a classifier.
    pub const TO_FEATURES: Self = Self { to_map: false };
    /// The pool in front of convolutions.
    pub const TO_MAP: Self = Self { to_map: true };
}

impl Rule for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, _, _, c] = map(inputs[0])?;
        Ok(vec![if self.to_map { Spec::channels([n, 1, 1, c]) } else { Spec::channels([n, c]) }])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        let [_, h, w, _] = map(back.graph.spec(x)).unwrap_or_default();
        back.accumulate_with(node, x, |addend| {
            (GlobalAvgPoolGrad { size: [h, w], addend: addend.is_some() }.into(), vec![dy])
        })
    }
}

/// Gradient of [`GlobalAvgPool`]: `dx = dy / (H * W)` everywhere, plus the addend.
///
/// Inputs: dy `[N, C]` or `[N, 1, 1, C]` and, with `addend`, a gradient `[N, H, W, C]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalAvgPoolGrad {
    /// Height and width of the pooled map.
    pub size: [usize; 2],
    /// Whether another path's gradient of the same map is added.
    pub addend: bool,
}

impl Rule for GlobalAvgPoolGrad {
    fn name(&self) -> &'static str {
        "global_avg_pool_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.addend))?;
        let [n, h, w, c] = inputs[0].as_map();
        same("dy", &[h, w], &[1, 1])?;
        let shape = [n, self.size[0], self.size[1], c];
        if self.addend {
            same("addend", &inputs[1].shape, &shape)?;
        }
        Ok(vec![Spec::channels(shape)])
    }
}

/// Mean over windows.
///
/// Input: x `[N, H, W, C]`. Output `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool {
    /// What each output pixel sees.
    pub window: Window,
    /// Whether the zeros around the map count, as with PyTorch's `count_include_pad=True`. If not, it is the mean of
    /// the map's pixels that a window reads.
    pub zeros_count: bool,
}

impl AvgPool {
    /// A pool in which zeros do not count.
    pub const fn new(window: Window) -> Self {
        Self { window, zeros_count: false }
    }
}

impl Rule for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        Ok(vec![pooled(&self.window, inputs)?])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        let [_, h, w, _] = map(back.graph.spec(x)).unwrap_or_default();
        back.accumulate_with(node, x, |addend| {
            (AvgPoolGrad { pool: *self, size: [h, w], addend: addend.is_some() }.into(), vec![dy])
        })
    }
}

/// Gradient of [`AvgPool`]: each pixel receives, from every window that reads it, the window's gradient divided by the
/// number of pixels that count in the window; plus the addend.
///
/// Inputs: dy `[N, OH, OW, C]` and, with `addend`, a gradient `[N, H, W, C]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPoolGrad {
    /// The pool.
    pub pool: AvgPool,
    /// Height and width of the pooled map.
    pub size: [usize; 2],
    /// Whether another path's gradient of the same map is added.
    pub addend: bool,
}

impl Rule for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.addend))?;
        let [n, oh, ow, c] = map(inputs[0])?;
        let [h, w] = self.size;
        same("dy", &[oh, ow], &self.pool.window.pools([h, w])?)?;
        if self.addend {
            same("addend", &inputs[1].shape, &[n, h, w, c])?;
        }
        Ok(vec![Spec::channels([n, h, w, c])])
    }
}

/// Largest value that a window reads; the zeros around the map are never the largest.
///
/// Input: x `[N, H, W, C]`. Output `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool {
    /// What each output pixel sees.
    pub window: Window,
}

impl Rule for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        Ok(vec![pooled(&self.window, inputs)?])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        if back.needs(x) {
            let dx = back.emit(node, MaxPoolGrad { window: self.window }, &[x, dy])?[0];
            back.accumulate(node, x, dx)?;
        }
        Ok(())
    }
}

/// Gradient of [`MaxPool`]: each window's gradient goes to its largest value. Of equal values, the first in reading
/// order receives it, as in PyTorch.
///
/// Inputs: x `[N, H, W, C]`, dy `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPoolGrad {
    /// Window of the pool.
    pub window: Window,
}

impl Rule for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        same("dy", &inputs[1].shape, &pooled(&self.window, &inputs[..1])?.shape)?;
        Ok(vec![Spec::channels(map(inputs[0])?)])
    }
}

/// The largest window of a pool, in taps: the kernels of max pools unroll the loop over taps.
const MOST_TAPS: usize = 256;

/// The shape of a pool's result, from its one input.
fn pooled(window: &Window, inputs: &[&Spec]) -> Result<Spec, String> {
    super::arity(inputs, 1)?;
    let [n, h, w, c] = map(inputs[0])?;
    let [oh, ow] = window.pools([h, w])?;
    if window.taps() > MOST_TAPS {
        return Err(format!(
            "a window of {window} is too large, {MOST_TAPS} taps are the most: pool globally, or twice"
        ));
    }
    Ok(Spec::channels([n, oh, ow, c]))
}
