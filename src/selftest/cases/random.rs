//! Cases with shapes drawn from a seed.

use super::boxes::{self, Levels};
use super::draft::bits;
use super::ops::{self, ConvCase, Join, Layer};
use super::{ACTIVATIONS, Case, STATISTICS, pool_windows};
use super::{depth, maps, optim};
use crate::graph::op::{
    AdamW, AvgPool, Axis, BiasCorrection, BoxLoss, BoxLossGrad, DepthLossGrad, Dropout, DropoutScope, Epilogue, Filter,
    FocalLoss, FocalLossGrad, GlobalAvgPool, Padding, ParameterRates, PixelCrossEntropyGrad, Resize, ResizeGrad,
    ScaledSigmoid, SgdMomentum, SliceChannels, SoftmaxCrossEntropyGrad, Window, WinogradTile,
};
use crate::graph::{Activation, Spec};

/// A case of each operation: odd sizes, channel counts that are not multiples of 4, single pixels, single pictures,
/// every stride and padding.
pub(super) fn cases(seed: u64) -> Vec<Case> {
    let seed = bits(seed as u32, "seed", (seed >> 32) as usize);
    let d = &mut Draw { seed, drawn: 0 };
    let (smoothing, classes) = (d.number(0, 3) as f32 / 10.0, d.number(2, 90));
    let sgd = SgdMomentum {
        momentum: d.number(0, 9) as f32 / 10.0,
        nesterov: d.flag(),
        parameters: vec![ParameterRates {
            weight_decay: d.number(0, 3) as f32 / 10.0,
            lr_scale: d.number(1, 4) as f32 / 4.0,
        }],
        scaled: d.flag(),
    };
    let adamw = AdamW {
        decays: [d.number(0, 9) as f32 / 10.0, d.number(0, 99) as f32 / 100.0],
        eps: 1e-3,
        parameters: sgd.parameters.clone(),
        scaled: d.flag(),
    };
    let correction = BiasCorrection { decays: adamw.decays, scaled: adamw.scaled };
    vec![
        ops::standardize([d.length(4), d.length(9), d.length(9)], seed),
        ops::conv2d(d.convolution(), d.epilogue(), seed),
        ops::conv2d_input_grad(d.convolution(), d.flag(), seed),
        ops::conv2d_weight_grad(d.convolution(), seed),
        ops::depthwise_conv2d(d.convolution(), d.flag(), d.activation(), seed),
        ops::depthwise_input_grad(d.convolution(), d.flag(), seed),
        ops::depthwise_weight_grad(d.convolution(), seed),
        ops::winograd_weights(d.tile(), d.flag(), [d.length(70), d.length(70)], seed),
        ops::winograd_input(d.tile(), d.padding_and_dilation(), d.map(), seed),
        ops::winograd_product(d.tile(), d.length(40), [d.length(70), d.length(70)], seed),
        ops::winograd_output(d.tile(), d.number(1, 4), d.map(), d.epilogue(), seed),
        ops::batch_norm(d.batch(), d.activation(), 0.0, seed),
        ops::batch_norm_grad(d.batch(), d.activation(), STATISTICS[d.number(0, 2)], seed),
        ops::bias_grad(d.map(), d.flag(), seed),
        ops::normalize(d.batch(), d.activation(), seed),
        ops::batch_norm_inference(d.map(), d.activation(), seed),
        ops::fold_batch_norm(d.kernel(), seed),
        ops::scale_add(d.map(), d.join(), seed),
        ops::scale_add_grad(d.map(), d.join(), seed),
        ops::global_avg_pool(d.map(), GlobalAvgPool { to_map: d.flag() }, seed),
        ops::global_avg_pool_grad(d.map(), d.flag(), seed),
        d.avg_pool(|shape, pool, _| ops::avg_pool(shape, pool, seed)),
        d.avg_pool(|shape, pool, addend| ops::avg_pool_grad(shape, pool, addend, seed)),
        d.pool(|shape, window| ops::max_pool(shape, window, seed)),
        d.pool(|shape, window| ops::max_pool_grad(shape, window, seed)),
        maps::resize(d.map(), d.resize(), seed),
        d.resize_grad(|shape, out, op| maps::resize_grad(shape, out, op, seed)),
        maps::concat(d.map(), &[4 * d.number(1, 9), 4 * d.number(1, 9)], seed),
        d.slice(|shape, op| maps::slice_channels(shape, op, seed)),
        ops::linear(d.layer(), d.activation(), seed),
        ops::linear_input_grad(d.layer(), seed),
        ops::linear_weight_grad(d.layer(), seed),
        ops::activation_grad(d.features(), d.activation(), seed),
        ops::dropout(&d.map(), d.dropout(), [seed, d.number(0, 1000) as u32], seed),
        ops::fill(d.features(), 0.5, seed),
        ops::loss([d.length(9), classes], smoothing, 4.0, d.flag(), seed),
        ops::loss_grad([d.length(9), classes], 4.0, d.loss_grad(smoothing), seed),
        maps::argmax(d.logits(), seed),
        maps::pixel_cross_entropy(d.labelled(), 4.0, d.number(0, 7) as u32, seed),
        d.pixel_grad(|shape, op, ignored| maps::pixel_cross_entropy_grad(shape, op, ignored, seed)),
        maps::confusion(d.picture(), d.number(2, 70), seed),
        d.focal(|levels, op| boxes::focal_loss(levels, op, 4.0, seed)),
        d.focal_grad(|levels, i, op| boxes::focal_loss_grad(levels, i, 4.0, op, seed)),
        boxes::box_loss(&d.levels(), boxes::KINDS[d.number(0, 2)], seed),
        d.box_grad(|levels, i, op| boxes::box_loss_grad(levels, i, op, seed)),
        depth::depth_loss(d.picture(), depth::KINDS[d.number(0, 2)], d.number(0, 7) as u32, seed),
        d.depth_grad(|size, op| depth::depth_loss_grad(size, op, [40.0, 0.25, 0.125], seed)),
        depth::scaled_sigmoid(d.map(), d.scaled_sigmoid(), seed),
        depth::scaled_sigmoid_grad(d.map(), d.scaled_sigmoid(), seed),
        optim::sgd_momentum(&d.tensors(), sgd, seed),
        optim::adamw(&d.tensors(), adamw, seed),
        optim::bias_correction(correction, d.flag(), seed),
        optim::accumulate(&d.tensors(), d.number(0, 1) as f32, seed),
        optim::moving_average(&d.tensors(), seed),
        optim::squared_norm(&d.tensors(), seed),
        optim::gradient_scale(4.0, if d.flag() { 1.0 } else { f32::INFINITY }, seed),
        optim::unscale(f64::from(1 << d.number(0, 24)), seed),
        optim::adapt_loss_scale([f64::from(1 << d.number(0, 24)), d.number(0, 2) as f64], d.flag(), seed),
    ]
}

/// Small numbers drawn from a seed, one after the other.
struct Draw {
    seed: u32,
    drawn: usize,
}

impl Draw {
    /// A number from `low` to `high`, both included.
    fn number(&mut self, low: usize, high: usize) -> usize {
        self.drawn += 1;
        low + bits(self.seed, "draw", self.drawn) as usize % (high - low + 1)
    }

    fn flag(&mut self) -> bool {
        self.number(0, 1) == 1
    }

    fn activation(&mut self) -> Activation {
        ACTIVATIONS[self.number(0, 3)]
    }

    /// A length that is 1 a fifth of the time.
    fn length(&mut self, high: usize) -> usize {
        if self.number(0, 4) == 0 { 1 } else { self.number(1, high) }
    }

    fn map(&mut self) -> [usize; 4] {
        [self.length(4), self.length(9), self.length(9), self.length(70)]
    }

    /// A map of at least two pixels, which batch statistics need.
    fn batch(&mut self) -> [usize; 4] {
        let [n, h, w, c] = self.map();
        [n + 1, h, w, c]
    }

    /// A window over a map that it fits without padding, a dilation only where there is no stride.
    fn window(&mut self) -> Window {
        let mut window = Window::square(1, 1, 0);
        for d in 0..2 {
            window.kernel[d] = self.number(1, 4);
            window.stride[d] = self.number(1, 3);
            window.dilation[d] = if window.stride[d] == 1 { self.number(1, 3) } else { 1 };
        }
        window
    }

    /// A map with room for a window.
    fn map_under(&mut self, window: &Window) -> [usize; 4] {
        let ([n, h, w, c], extent) = (self.map(), window.extent());
        [n, h.max(extent[0]), w.max(extent[1]), c]
    }

    fn convolution(&mut self) -> ConvCase {
        let window = Window { padding: self.padding(), ..self.window() };
        ConvCase { input: self.map_under(&window), out: self.length(70), window }
    }

    fn pool(&mut self, case: impl FnOnce([usize; 4], Window) -> Case) -> Case {
        let windows = pool_windows();
        let window = windows[self.number(0, windows.len() - 1)];
        case(self.map_under(&window), window)
    }

    /// An average pool, and whether its gradient has an addend.
    fn avg_pool(&mut self, case: impl FnOnce([usize; 4], AvgPool, bool) -> Case) -> Case {
        let (zeros_count, addend) = (self.flag(), self.flag());
        self.pool(|shape, window| case(shape, AvgPool { window, zeros_count }, addend))
    }

    fn padding(&mut self) -> Padding {
        match self.number(0, 3) {
            3 => Padding::Same,
            _ => Padding::Zeros([self.number(0, 2), self.number(0, 2)]),
        }
    }

    fn kernel(&mut self) -> Spec {
        let [kh, kw, ci, co] = [self.number(1, 4), self.number(1, 4), self.length(70), self.length(70)];
        if self.flag() { Spec::weights([kh, kw, ci, co]) } else { Spec::depthwise([kh, kw, co]) }
    }

    /// Enough zeros that the window fits into any map.
    fn padding_and_dilation(&mut self) -> [usize; 2] {
        let dilation = self.number(1, 4);
        [dilation * self.number(1, 2), dilation]
    }

    fn tile(&mut self) -> WinogradTile {
        if self.flag() { WinogradTile::Four } else { WinogradTile::Two }
    }

    fn epilogue(&mut self) -> Epilogue {
        Epilogue { bias: self.flag(), gate: self.flag(), shortcut: self.flag(), activation: self.activation() }
    }

    fn join(&mut self) -> Join {
        Join { gate: self.flag(), shortcut: self.flag(), activation: self.activation() }
    }

    fn loss_grad(&mut self, label_smoothing: f32) -> SoftmaxCrossEntropyGrad {
        let weight = self.number(1, 8) as f32 / 4.0;
        SoftmaxCrossEntropyGrad { label_smoothing, mixed: self.flag(), weight, scaled: self.flag() }
    }

    fn layer(&mut self) -> Layer {
        Layer { rows: self.length(20), input: self.length(90), out: self.length(90), pointwise: self.flag() }
    }

    fn features(&mut self) -> [usize; 2] {
        [self.length(9), self.length(90)]
    }

    fn resize(&mut self) -> Resize {
        let filter = if self.flag() { Filter::Bilinear } else { Filter::Nearest };
        Resize { size: [self.length(20), self.length(20)], filter }
    }

    fn resize_grad(&mut self, case: impl FnOnce([usize; 4], usize, ResizeGrad) -> Case) -> Case {
        let (shape, Resize { size, filter }) = (self.map(), self.resize());
        let (i, axis) = if self.flag() { (0, Axis::Height) } else { (1, Axis::Width) };
        case(shape, size[i], ResizeGrad { axis, pixels: shape[1 + i], filter, addend: self.flag() })
    }

    /// A map of logits, of at least two classes.
    fn labelled(&mut self) -> [usize; 4] {
        let [n, h, w, c] = self.map();
        [n, h, w, c + 1]
    }

    /// Logits of so many pixels and classes that some are large.
    fn logits(&mut self) -> [usize; 4] {
        [self.number(1, 3), self.number(4, 9), self.number(4, 9), self.number(2, 70)]
    }

    /// A loss's weight, and whether it is scaled.
    fn seed(&mut self) -> (f32, bool) {
        (self.number(1, 8) as f32 / 4.0, self.flag())
    }

    fn pixel_grad(&mut self, case: impl FnOnce([usize; 4], PixelCrossEntropyGrad, u32) -> Case) -> Case {
        let (weight, scaled) = self.seed();
        case(self.labelled(), PixelCrossEntropyGrad { ignored: 255, weight, scaled }, self.number(0, 7) as u32)
    }

    /// Pictures, height and width.
    fn picture(&mut self) -> [usize; 3] {
        [self.length(4), self.length(20), self.length(20)]
    }

    fn levels(&mut self) -> Levels {
        Levels {
            pictures: self.length(3),
            sizes: (0..self.number(1, 4)).map(|_| [self.length(7), self.length(7)]).collect(),
            anchors: self.length(9),
            classes: self.length(25),
            of_8: [self.number(1, 4) as u32, self.number(0, 3) as u32],
        }
    }

    fn focal(&mut self, case: impl FnOnce(&Levels, FocalLoss) -> Case) -> Case {
        let (levels, alpha, gamma) = (self.levels(), self.number(1, 3) as f32 / 4.0, self.number(0, 6) as f32 / 2.0);
        case(&levels, FocalLoss { classes: levels.classes, alpha, gamma })
    }

    fn focal_grad(&mut self, case: impl FnOnce(&Levels, usize, FocalLossGrad) -> Case) -> Case {
        let ((weight, scaled), level) = (self.seed(), self.number(0, 3));
        self.focal(|levels, loss| {
            case(levels, level % levels.sizes.len(), FocalLossGrad { loss, first: 0, weight, scaled })
        })
    }

    fn box_grad(&mut self, case: impl FnOnce(&Levels, usize, BoxLossGrad) -> Case) -> Case {
        let ((weight, scaled), level, levels) = (self.seed(), self.number(0, 3), self.levels());
        let loss = BoxLoss { classes: levels.classes, kind: boxes::KINDS[self.number(0, 2)] };
        case(&levels, level % levels.sizes.len(), BoxLossGrad { loss, first: 0, weight, scaled })
    }

    fn depth_grad(&mut self, case: impl FnOnce([usize; 3], DepthLossGrad) -> Case) -> Case {
        let (weight, scaled) = self.seed();
        case(self.picture(), DepthLossGrad { kind: depth::KINDS[self.number(0, 2)], weight, scaled })
    }

    fn scaled_sigmoid(&mut self) -> ScaledSigmoid {
        ScaledSigmoid { scale: self.number(1, 20) as f32 / 2.0, floor: self.number(0, 3) as f32 / 9.0 }
    }

    fn slice(&mut self, case: impl FnOnce([usize; 4], SliceChannels) -> Case) -> Case {
        let [n, h, w, c] = self.map();
        let first = 4 * self.number(0, 5);
        case([n, h, w, first + c], SliceChannels { first, count: c })
    }

    /// Kernels and vectors, as a network's parameters are.
    fn tensors(&mut self) -> Vec<Spec> {
        let tensor = |d: &mut Self| match d.flag() {
            true => Spec::weights([d.number(1, 3), d.number(1, 3), d.length(70), d.length(70)]),
            false => Spec::channels([d.length(90)]),
        };
        (0..self.number(1, 12)).map(|_| tensor(self)).collect()
    }

    fn dropout(&mut self) -> Dropout {
        let scope = if self.flag() { DropoutScope::Element } else { DropoutScope::Sample };
        Dropout { rate: self.number(0, 9) as f32 / 10.0, scope, stream: self.number(0, 100) as u32 }
    }
}
