//! Cases of convolutions, depthwise ones among them, and of all kinds of windows.

use super::ops::{self, ConvCase};
use super::{ACTIVATIONS, Case};
use crate::graph::Activation;
use crate::graph::op::{AvgPool, Epilogue, Padding, Window};

pub(super) fn square(input: [usize; 4], kernel: usize, out: usize, stride: usize, padding: usize) -> ConvCase {
    ConvCase { input, out, window: Window::square(kernel, stride, padding) }
}

/// With TensorFlow's padding.
fn same(input: [usize; 4], kernel: usize, out: usize, stride: usize) -> ConvCase {
    ConvCase { input, out, window: Window::square(kernel, stride, Padding::Same) }
}

/// Windows with dilation, and with different kernels, strides and paddings vertically and horizontally.
fn uneven() -> Vec<ConvCase> {
    let dilated = |dilation, window| Window { dilation, ..window };
    let window = |kernel, stride, padding| Window { kernel, stride, dilation: [1; 2], padding };
    let case = |input, out, window| ConvCase { input, out, window };
    vec![
        case([2, 9, 8, 20], 36, dilated([2; 2], Window::square(3, 1, 2))),
        case([1, 12, 11, 5], 8, dilated([3; 2], Window::square(3, 1, Padding::Same))),
        case([2, 10, 9, 8], 68, dilated([2; 2], Window::square(5, 1, 0))),
        case([1, 13, 9, 12], 12, dilated([3, 2], window([2, 4], [1; 2], Padding::Zeros([1, 3])))),
        // Taps that mostly lie outside the map, as in the last stages of a segmenter.
        case([2, 5, 7, 12], 20, dilated([6; 2], Window::square(3, 1, 6))),
        // A stride along one axis, a dilation along the other.
        case([2, 8, 11, 6], 12, dilated([1, 2], window([3; 2], [2, 1], Padding::Zeros([1, 2])))),
        case([1, 9, 10, 9], 5, dilated([2, 1], window([2, 4], [1, 3], Padding::Same))),
        case([2, 7, 6, 16], 40, window([3, 1], [2, 1], Padding::Zeros([1, 0]))),
        case([2, 6, 9, 16], 40, window([1, 5], [1, 2], Padding::Zeros([0, 2]))),
        case([3, 8, 7, 10], 12, window([3; 2], [2, 1], Padding::from(1))),
        case([3, 7, 8, 10], 12, window([3; 2], [1, 2], Padding::Same)),
        // Phases without taps along one axis.
        case([1, 7, 8, 4], 4, window([1, 2], [3, 2], Padding::NONE)),
        // Long sums over channels, and over pixels; weight gradients in several runs.
        case([1, 4, 4, 512], 64, dilated([2; 2], Window::square(3, 1, 2))),
        case([1, 6, 4, 260], 68, window([3; 2], [2, 1], Padding::from(1))),
        case([2, 40, 40, 12], 12, dilated([2; 2], Window::square(3, 1, 2))),
        case([5, 3, 3, 8], 8, dilated([2; 2], Window::square(3, 1, 2))),
        case([1, 65, 63, 12], 36, window([3; 2], [1, 2], Padding::from(1))),
    ]
}

/// Convolutions and pools over small odd maps with all kinds of small windows, mainly for gradients: too many for an
/// adapter to run all.
pub fn small_windows() -> Vec<Case> {
    let mut windows = Vec::new();
    for padding in [Padding::NONE, Padding::from(1), Padding::from(2), Padding::Same] {
        for kernel in [[1, 1], [2, 2], [3, 3], [3, 1], [2, 3]] {
            windows.extend([1, 2, 3].map(|stride| Window { kernel, ..Window::square(1, stride, padding) }));
        }
    }
    for padding in [Padding::Zeros([2, 1]), Padding::Same] {
        let window = |kernel, stride, dilation| Window { kernel, stride, dilation, padding };
        for dilation in [[2, 2], [3, 1], [1, 2]] {
            windows.extend([[3, 3], [2, 3]].map(|kernel| window(kernel, [1, 1], dilation)));
        }
        for stride in [[2, 1], [1, 2], [3, 2]] {
            windows.extend([[3, 3], [3, 1], [1, 4]].map(|kernel| window(kernel, stride, [1, 1])));
        }
        windows.extend([window([2, 3], [2, 1], [1, 2]), window([3, 2], [1, 3], [2, 1])]);
    }
    let mut cases = Vec::new();
    for (window, [h, w]) in windows.into_iter().flat_map(|window| [[5, 4], [4, 7]].map(|size| (window, size))) {
        let conv = ConvCase { input: [2, h, w, 2], out: 3, window };
        cases.push(ops::conv2d(conv, Epilogue::NONE, 0));
        cases.push(ops::depthwise_conv2d(conv, false, Activation::Identity, 0));
        if window.pools([h, w]).is_ok() {
            cases.push(ops::avg_pool(conv.input, AvgPool::new(window), 0));
            cases.push(ops::max_pool(conv.input, window, 0));
        }
    }
    cases
}

pub(super) fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    for kernel in [1, 3] {
        for (ci, co) in [(3, 8), (16, 64), (64, 16), (68, 132)] {
            cases.extend([(1, kernel / 2), (2, kernel / 2)].map(|(s, p)| square([2, 9, 7, ci], kernel, co, s, p)));
        }
        for c in [8, 64] {
            let steps = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)];
            cases.extend(steps.map(|(s, p)| square([2, 8, 7, c], kernel, c, s, p)));
        }
    }
    cases.extend([
        // The original stem; even and oblong kernels.
        square([1, 21, 20, 3], 7, 8, 2, 3),
        square([2, 6, 5, 5], 2, 7, 2, 0),
        ConvCase { input: [2, 6, 5, 5], out: 7, window: Window { kernel: [1, 3], ..Window::square(3, 1, 1) } },
        // Single pixels, single channels.
        square([1, 1, 1, 1], 1, 1, 1, 0),
        square([1, 1, 1, 5], 3, 3, 1, 1),
        square([2, 1, 1, 260], 3, 20, 2, 1),
        // One pixel less than, as many as, and one more than a tile of 64.
        square([1, 7, 9, 12], 1, 36, 1, 0),
        square([1, 8, 8, 12], 1, 36, 1, 0),
        square([1, 5, 13, 12], 1, 36, 1, 0),
        // Long sums over channels, and over pixels.
        square([2, 4, 4, 2048], 1, 64, 1, 0),
        square([1, 4, 4, 512], 3, 64, 1, 1),
        square([2, 48, 48, 16], 1, 20, 1, 0),
        square([2, 40, 40, 12], 3, 12, 1, 1),
        // Large enough for the largest GPU tiles: forward, input gradient, weight gradient.
        square([1, 129, 127, 3], 3, 36, 1, 1),
        square([1, 129, 127, 36], 1, 8, 1, 0),
        square([1, 2, 2, 1024], 1, 1024, 1, 0),
        // Weight gradients in more than one run of images: five runs of one; four runs of two, the last one shorter.
        square([5, 3, 3, 8], 3, 8, 1, 1),
        square([7, 2, 2, 132], 3, 132, 1, 1),
        // Images with more pixels than one loop may have iterations: two runs in each.
        square([2, 200, 165, 3], 1, 4, 1, 0),
        // Padding on one side only, with different vertical and horizontal padding.
        same([2, 8, 9, 3], 3, 8, 2),
        same([1, 12, 7, 20], 5, 36, 2),
        same([2, 7, 6, 8], 2, 8, 3),
    ]);
    cases.extend(uneven());
    let of_case = |(i, &c): (usize, &ConvCase)| {
        [ops::conv2d(c, Epilogue::NONE, 0), ops::conv2d_input_grad(c, i % 2 == 1, 0), ops::conv2d_weight_grad(c, 0)]
    };
    cases.iter().enumerate().flat_map(of_case).collect()
}

/// Every epilogue, on a kernel that stays within the map and on one that reaches beyond it.
pub(super) fn epilogues() -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in ACTIVATIONS {
        for parts in 0..8 {
            let (bias, gate, shortcut) = (parts & 1 != 0, parts & 2 != 0, parts & 4 != 0);
            let epilogue = Epilogue { bias, gate, shortcut, activation };
            cases.push(ops::conv2d(square([2, 5, 3, 6], 1, 10, 1, 0), epilogue, 0));
            cases.push(ops::conv2d(square([2, 5, 3, 6], 3, 40, 2, 1), epilogue, 0));
        }
    }
    let all = Epilogue { bias: true, gate: true, shortcut: true, activation: Activation::Relu };
    cases.push(ops::conv2d(square([3, 9, 8, 20], 3, 68, 1, 1), all, 0));
    cases
}

/// Both kernel sizes of EfficientNet, and others; maps of one pixel, of a part of a tile, of several runs.
pub(super) fn depthwise() -> Vec<Case> {
    let shapes = [[1, 1, 1, 1], [2, 7, 9, 6], [1, 16, 12, 40], [3, 40, 41, 20]];
    let mut cases = Vec::new();
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        cases.extend(shapes.map(|shape| same(shape, kernel, 0, stride)));
    }
    cases.extend(
        [(3, 1, 1), (3, 2, 1), (2, 2, 0), (4, 3, 2)]
            .map(|(kernel, stride, padding)| square([2, 9, 8, 10], kernel, 0, stride, padding)),
    );
    let window = Window { kernel: [1, 3], ..Window::square(3, 1, 1) };
    cases.push(ConvCase { input: [2, 6, 5, 5], out: 0, window });
    // Images with more pixels than one loop may have iterations.
    cases.push(same([1, 400, 340, 2], 3, 0, 1));
    cases.extend(uneven());
    let of_case = |(i, &c): (usize, &ConvCase)| {
        [
            ops::depthwise_conv2d(c, i % 2 == 1, ACTIVATIONS[i % 4], 0),
            ops::depthwise_input_grad(c, i % 2 == 1, 0),
            ops::depthwise_weight_grad(c, 0),
        ]
    };
    cases.iter().enumerate().flat_map(of_case).collect()
}
