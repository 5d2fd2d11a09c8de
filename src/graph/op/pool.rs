//! Pools: the mean over the whole map, the mean over 2x2 with stride 2, the maximum over 3x3 with stride 2.

use super::{Half, Padding, Rule, features, map, same};
use crate::graph::autodiff::Backward;
use crate::graph::{Error, Node, Spec};

/// Mean over height and width: `[N, H, W, C]` to `[N, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalAvgPool;

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
        Ok(vec![Spec::channels([n, c])])
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
/// Inputs: dy `[N, C]` and, with `addend`, a gradient `[N, H, W, C]` to add.
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
        let [n, c] = features(inputs[0])?;
        let shape = [n, self.size[0], self.size[1], c];
        if self.addend {
            same("addend", &inputs[1].shape, &shape)?;
        }
        Ok(vec![Spec::channels(shape)])
    }
}

/// Mean over 2x2 windows with stride 2; at odd sizes the last window is cut short and averages what it covers
/// (ceil mode without counting padding), as timm's ResNet-D shortcut does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2x2;

impl Rule for AvgPool2x2 {
    fn name(&self) -> &'static str {
        "avg_pool_2x2"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, h, w, c] = map(inputs[0])?;
        Ok(vec![Spec::channels([n, h.div_ceil(2), w.div_ceil(2), c])])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        let [_, h, w, _] = map(back.graph.spec(x)).unwrap_or_default();
        back.accumulate_with(node, x, |addend| {
            (AvgPool2x2Grad { size: [h, w], addend: addend.is_some() }.into(), vec![dy])
        })
    }
}

/// Gradient of [`AvgPool2x2`]: each pixel receives its window's gradient over the window's pixel count, plus the addend.
///
/// Inputs: dy `[N, OH, OW, C]` and, with `addend`, a gradient `[N, H, W, C]` to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AvgPool2x2Grad {
    /// Height and width of the pooled map.
    pub size: [usize; 2],
    /// Whether another path's gradient of the same map is added.
    pub addend: bool,
}

impl Rule for AvgPool2x2Grad {
    fn name(&self) -> &'static str {
        "avg_pool_2x2_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1 + usize::from(self.addend))?;
        let [n, oh, ow, c] = map(inputs[0])?;
        let [h, w] = self.size;
        same("dy", &[oh, ow], &[h.div_ceil(2), w.div_ceil(2)])?;
        if self.addend {
            same("addend", &inputs[1].shape, &[n, h, w, c])?;
        }
        Ok(vec![Spec::channels([n, h, w, c])])
    }
}

/// Largest value in 3x3 windows with stride 2, which a border of one pixel surrounds that is never the largest: the original ResNet's
/// second halving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool;

impl MaxPool {
    /// Side of a window.
    pub const WINDOW: usize = 3;
    /// Step of the windows.
    pub const STRIDE: usize = 2;
    /// Width of the border.
    pub const BORDER: usize = 1;

    /// Height and width of the result.
    fn size(map: [usize; 2]) -> Result<[usize; 2], String> {
        Padding::Even(Self::BORDER).windows(map, [Self::WINDOW; 2], Self::STRIDE)
    }
}

impl Rule for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn half(&self) -> Half {
        Half::MapsAndWeights
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 1)?;
        let [n, h, w, c] = map(inputs[0])?;
        let [oh, ow] = Self::size([h, w])?;
        Ok(vec![Spec::channels([n, oh, ow, c])])
    }

    fn gradient(&self, node: &Node, back: &mut Backward<'_>) -> Result<(), Error> {
        let Some(dy) = back.gradient_of(node.outputs[0]) else { return Ok(()) };
        let x = node.inputs[0];
        if back.needs(x) {
            let dx = back.emit(node, MaxPoolGrad, &[x, dy])?[0];
            back.accumulate(node, x, dx)?;
        }
        Ok(())
    }
}

/// Gradient of [`MaxPool`]: each window hands its gradient to its largest value, the first of equal ones in reading order, as PyTorch does.
///
/// Inputs: x `[N, H, W, C]`, dy `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPoolGrad;

impl Rule for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool_grad"
    }

    fn half(&self) -> Half {
        Half::Maps
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        super::arity(inputs, 2)?;
        let [n, h, w, c] = map(inputs[0])?;
        let [oh, ow] = MaxPool::size([h, w])?;
        same("dy", &inputs[1].shape, &[n, oh, ow, c])?;
        Ok(vec![Spec::channels([n, h, w, c])])
    }
}
