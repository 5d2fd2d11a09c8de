//! Pools as ONNX's. Its runtimes refuse zeros as wide as the window, and operator set 17 has no dilated mean.

use super::nodes::{Translation, attributes};
use super::proto::AttributeProto;
use crate::graph::op::{AvgPool, MaxPool, Padding, Window};

/// Whether the zeros on each side of a map `[N, H, W, C]` are fewer than the window's taps.
fn is_narrow(window: &Window, map: &[usize]) -> bool {
    let zeros = window.zeros([map[1], map[2]]);
    [0, 1].iter().all(|&d| zeros[d].iter().all(|&zeros| zeros < window.kernel[d]))
}

impl Translation<'_> {
    /// The largest value of each window. Wide padding becomes a node of its own, whose values are never the largest.
    pub(super) fn max_pool(&mut self, at: &str, x: &str, op: &MaxPool, map: &[usize]) -> String {
        if is_narrow(&op.window, map) {
            return self.emit(at, "MaxPool", &[x], attributes(&op.window, map));
        }
        let [[top, bottom], [left, right]] = op.window.zeros([map[1], map[2]]);
        let pads = self.ints(&format!("{at}/pads"), &[0, 0, top, left, 0, 0, bottom, right]);
        let least = self.float(&format!("{at}/least"), f32::MIN);
        let padded = self.emit(at, "Pad", &[x, &pads, &least], Vec::new());
        let window = Window { padding: Padding::NONE, ..op.window };
        self.emit(at, "MaxPool", &[&padded], attributes(&window, map))
    }

    /// The mean of each window: ONNX's own, or a convolution that sums and a product with the reciprocal counts.
    pub(super) fn avg_pool(&mut self, at: &str, x: &str, op: &AvgPool, map: &[usize]) -> String {
        let window = &op.window;
        let mut attributes = attributes(window, map);
        if window.dilation == [1; 2] && is_narrow(window, map) {
            // Padding after an odd map, which the mean does not count, makes the last window average what it covers.
            // `ceil_mode` means the same, but runtimes interpret it differently.
            attributes.push(AttributeProto::int("count_include_pad", usize::from(op.zeros_count)));
            return self.emit(at, "AveragePool", &[x], attributes);
        }
        let ([kh, kw], channels) = (window.kernel, map[3]);
        let ones = self.constant(format!("{at}/ones"), &[channels, 1, kh, kw], vec![1.0; channels * kh * kw]);
        attributes.push(AttributeProto::int("group", channels));
        let sums = self.emit(at, "Conv", &[x, &ones], attributes);
        let counts = counts(op, [map[1], map[2]]);
        let shares = counts[0].iter().flat_map(|down| counts[1].iter().map(move |across| 1.0 / (down * across) as f32));
        let shares = shares.collect();
        let shares = self.constant(format!("{at}/shares"), &[1, 1, counts[0].len(), counts[1].len()], shares);
        self.emit(at, "Mul", &[&sums, &shares], Vec::new())
    }
}

/// How many taps count in each window, down and across a map of `size`.
fn counts(op: &AvgPool, size: [usize; 2]) -> [Vec<usize>; 2] {
    let (windows, axes) = (op.window.windows(size).unwrap_or_default(), op.window.over(size));
    [0, 1].map(|d| {
        let taps = |window| (0..op.window.kernel[d]).filter(|&tap| axes[d].pixel(window, tap).is_some()).count();
        (0..windows[d]).map(|window| if op.zeros_count { op.window.kernel[d] } else { taps(window) }).collect()
    })
}
