//! Linear layers.

use super::splits::RowChunks;
use super::{Kernel, Lowering, TooLarge, View, activation, conv, words};
use crate::graph::op::{ActivationGrad, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Epilogue, Linear, Window};
use crate::graph::{DType, Spec};

/// Rows from which a layer runs as a matrix product. With fewer rows, reading the weights takes most of the time.
const ROWS_OF_A_PRODUCT: usize = 8;

/// The layer as a 1x1 convolution over maps of one pixel, whose kernels run instead if there are enough rows. Layers
/// with weights in half precision are excluded: features are always f32, and all operands of a convolution have the
/// same type.
pub(super) fn as_convolution(op: &Linear, x: &Spec, w: &Spec) -> Option<Conv2d> {
    let epilogue = Epilogue { bias: true, activation: op.activation, ..Epilogue::NONE };
    let fits = x.rows() >= ROWS_OF_A_PRODUCT && w.dtype == DType::F32;
    fits.then_some(Conv2d { window: Window::POINTWISE, epilogue })
}

/// The input gradient of a layer, as the input gradient of a 1x1 convolution.
pub(super) const INPUT_GRAD: Conv2dInputGrad =
    Conv2dInputGrad { window: Window::POINTWISE, size: [1, 1], addend: false };

/// The weight gradient of a layer, as the weight gradient of a 1x1 convolution.
pub(super) const WEIGHT_GRAD: Conv2dWeightGrad = Conv2dWeightGrad { window: Window::POINTWISE };

pub(super) fn linear(l: &mut Lowering<'_>, op: &Linear) -> Result<(), TooLarge> {
    let (x, y) = (l.input(0), l.output(0));
    if let Some(product) = as_convolution(op, x.spec, l.input(1).spec) {
        return conv::forward(l, &product);
    }
    let kernel = l.kernel_with_weights("dense/linear", l.input(1).spec).with("activation", activation(op.activation));
    let views = vec![x.whole(), l.input(1).whole(), l.input(2).whole(), y.whole()];
    l.team(kernel, views, y.vec4(), words! { in_quads: x.spec.quads(), out_quads: y.spec.quads() });
    Ok(())
}

pub(super) fn linear_input_grad(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    conv::input_grad(l, &INPUT_GRAD)
}

pub(super) fn linear_weight_grad(l: &mut Lowering<'_>) -> Result<(), TooLarge> {
    conv::weight_grad(l, &WEIGHT_GRAD)?;
    let (dy, db) = (l.input(1), l.output(1));
    let cut = RowChunks::over(dy.spec.rows());
    if cut.chunks == 1 {
        bias_grad(l, cut, [dy.whole(), db.whole()]);
    } else {
        let sums = l.workspace();
        bias_grad(l, cut, [dy.whole(), sums]);
        bias_grad(l, RowChunks::over(cut.chunks), [sums, db.whole()]);
    }
    Ok(())
}

/// Sums each chunk's rows of the first view, as wide as the bias.
fn bias_grad(l: &mut Lowering<'_>, cut: RowChunks, views: [View; 2]) {
    let RowChunks { rows, chunk_rows, chunks } = cut;
    let quads = l.output(1).spec.quads();
    l.team(Kernel::new("dense/bias_grad"), views.into(), chunks * quads, words! { quads, rows, chunk_rows });
}

pub(super) fn activation_grad(l: &mut Lowering<'_>, op: &ActivationGrad) {
    let (y, dy, dx) = (l.input(0), l.input(1), l.output(0));
    let kernel = Kernel::new("dense/activation_grad").with("activation", activation(op.activation));
    l.each(kernel, vec![y.whole(), dy.whole(), dx.whole()], y.vec4(), words! {});
}
