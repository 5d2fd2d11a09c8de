//! Tiles of the matrix products for GPUs: which one serves which product. See `shaders/conv/product.wgsl`.

use super::{Kernel, Setting};
use crate::graph::op::ENOUGH_WORKGROUPS;

/// What a workgroup computes: rows (pixels, or taps times input channels) by groups of 4 output channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) rows: usize,
    pub(super) groups: usize,
    threads: usize,
}

/// 8 x 8 results a thread: 91 % of the instructions are multiply-adds.
const LARGE: Tile = Tile { rows: 128, groups: 16, threads: 128 };
/// 8 x 4 a thread, 87 %.
const NARROW: Tile = Tile { rows: 128, groups: 8, threads: 128 };
/// 4 x 8 a thread, 85 %, and twice the workgroups.
const MEDIUM: Tile = Tile { rows: 64, groups: 16, threads: 128 };
/// The same for a map of 5 x 5.
const FLAT: Tile = Tile { rows: 32, groups: 16, threads: 64 };

impl Tile {
    /// For `products` side by side, each of `rows` by 4 `groups` results.
    pub(super) fn for_product(rows: usize, groups: usize, products: usize) -> Self {
        match (rows, groups) {
            (_, ..=8) => NARROW,
            (..=32, _) => FLAT,
            _ if LARGE.blocks(rows, groups) * products < ENOUGH_WORKGROUPS => MEDIUM,
            _ => LARGE,
        }
    }

    /// Workgroups of one product.
    fn blocks(&self, rows: usize, groups: usize) -> usize {
        rows.div_ceil(self.rows) * groups.div_ceil(self.groups)
    }

    /// One of the kernels that include `conv/product.wgsl`.
    pub(super) fn set(&self, kernel: Kernel) -> Kernel {
        kernel
            .with("rows", Setting::Number(self.rows))
            .with("groups", Setting::Number(self.groups))
            .with("threads", Setting::Number(self.threads))
    }
}
