//! Winograd's convolution: when it pays, and its transforms. The products between the transforms run by the kernels of
//! convolutions ([`super::conv`]).

use super::conv::with_epilogue;
use super::shape::{ConvShape, Direction};
use super::{Kernel, Lowering, Operand, Setting, words};
use crate::gpu::{Family, Target};
use crate::graph::op::{
    MAX_BINDING_BYTES, TAPS, WinogradInput, WinogradOutput, WinogradProduct, WinogradTile, WinogradWeights,
};

/// Costs of the algorithm on a kind of adapter. The unit is the time that the products of one pixel and 4 x 4 channels
/// take.
struct Costs {
    /// Pixels or tiles that a block of the products has; their number is rounded up to a multiple of this.
    rows: usize,
    /// Cost of a `vec4` that a transform reads or writes.
    access: f64,
    /// Cost of a launch.
    launch: f64,
    /// The algorithm must cost at most this share of the direct sum.
    worthwhile: f64,
    /// Tiles that are considered.
    tiles: &'static [WinogradTile],
}

impl Costs {
    fn of(target: Target) -> Self {
        match target.family {
            // Not measured on such a card, but computed for GPUs of 40 FLOP per byte of memory bandwidth (RX 6800 XT:
            // 20 TFLOP/s, 512 GB/s) that reach 60 % of both in products: 32 FLOP a unit; 16 bytes an access, and half
            // as many again by the products; 5 microseconds a launch. The estimate is uncertain, for example about what
            // their caches hold, so the algorithm must gain a quarter.
            Family::Tiles => Self { rows: 64, access: 18.0, launch: 2e6, worthwhile: 0.75, tiles: &WinogradTile::ALL },
            // Measured on llvmpipe: 3.4 cycles a unit, and 2 cycles for each of the four numbers of an access. F(2x2)
            // would gain 5 % for RS-50 at 160 px and batch 1 and nothing with more pictures, but three more kernels
            // would have to be compiled.
            Family::Registers => {
                Self { rows: 4 * target.lanes, access: 2.4, launch: 0.0, worthwhile: 0.9, tiles: &[WinogradTile::Four] }
            }
        }
    }
}

/// Whether the algorithm can serve a convolution: each of its tensors must fit one binding, since none can be cut by
/// images.
pub(super) fn serves(tile: WinogradTile, shape: &ConvShape) -> bool {
    let Some([zeros, dilation]) = WinogradTile::padding_and_dilation(&shape.window) else { return false };
    let fits = matches!(shape.direction, Direction::Forward | Direction::InputGrad) && zeros <= dilation * (TAPS - 1);
    let ([n, h, w, _], tiles) = (shape.input, tiles_of(tile, shape));
    // A result may be larger than its map by as much as the window is larger than a pixel.
    let more = dilation * (TAPS - 1);
    let rows = [n * (h + more) * (w + more), tile.positions() * tiles, tile.positions() * 4 * shape.in_quads()];
    let row_bytes = 16 * shape.in_quads().max(shape.out_quads());
    fits && tiles <= WinogradProduct::MAX_TILES
        && rows.iter().all(|rows| (rows * row_bytes) as u64 <= MAX_BINDING_BYTES)
}

/// The tile that a convolution gets by default, if any.
pub(super) fn preferred(target: Target, shape: &ConvShape) -> Option<WinogradTile> {
    let costs = Costs::of(target);
    let (read, made) = (shape.in_quads(), shape.out_quads());
    let products = |rows: usize| (rows.next_multiple_of(costs.rows) * read * made) as f64;
    let direct = (TAPS * TAPS) as f64 * products(shape.pixels());
    let cost = |tile: WinogradTile| {
        let (positions, tiles) = (tile.positions(), tiles_of(tile, shape));
        let results = tile.results() * tile.results();
        let accesses = 2 * positions * tiles * read
            + (positions + results) * tiles * made
            + (TAPS * TAPS + positions) * 4 * read * made;
        positions as f64 * products(tiles) + costs.access * accesses as f64 + 3.0 * costs.launch
    };
    let served = costs.tiles.iter().copied().filter(|&tile| serves(tile, shape));
    let (tile, least) = served.map(|tile| (tile, cost(tile))).min_by(|a, b| a.1.total_cmp(&b.1))?;
    (least <= costs.worthwhile * direct).then_some(tile)
}

/// The number of tiles in the output map.
fn tiles_of(tile: WinogradTile, shape: &ConvShape) -> usize {
    let ([height, width], [dilation, _]) = (shape.result(), shape.window.dilation);
    tile.tiles([shape.input[0], height, width], dilation)
}

/// Settings of a tile's kernels. On CPU adapters their text has loops, since compilation takes longer than many runs
/// there.
fn set(kernel: Kernel, tile: WinogradTile, target: Target) -> Kernel {
    kernel.with("m", Setting::Number(tile.results())).with("rolled", Setting::Flag(target.family == Family::Registers))
}

/// A kernel whose tiles lie in a map. An ordinary convolution does not divide by its dilation.
fn set_in_map(kernel: Kernel, tile: WinogradTile, dilation: usize, target: Target) -> Kernel {
    set(kernel, tile, target).with("dilated", Setting::Flag(dilation > 1))
}

/// Number of quads in all tiles: tiles times quads of channels.
fn quads(transformed: &Operand<'_>) -> usize {
    transformed.spec.shape[2] * transformed.spec.quads()
}

pub(super) fn weights(l: &mut Lowering<'_>, op: &WinogradWeights) {
    let (w, u) = (l.input(0), l.output(0));
    let columns = u.spec.quads();
    let count = u.vec4() / op.tile.positions();
    let kernel =
        set(l.kernel_in_full("winograd/weights"), op.tile, l.target).with("flipped", Setting::Flag(op.flipped));
    let params = words! { rows: count / columns, columns, n: op.tile.patch() };
    l.each(kernel, vec![w.whole(), u.whole()], count, params);
}

pub(super) fn input(l: &mut Lowering<'_>, op: &WinogradInput) {
    let (x, v) = (l.input(0), l.output(0));
    let [_, height, width, _] = x.spec.as_map();
    let [_, down, across] = op.output(x.spec.as_map());
    let [tiles_down, tiles_across] = [down, across].map(|length| op.tile.tiles_along(length, op.dilation));
    let kernel = set_in_map(l.kernel_in_full("winograd/input"), op.tile, op.dilation, l.target);
    let params = words! {
        pairs: 2 * x.spec.quads(),
        height,
        width,
        tiles_down,
        tiles_across,
        padding: op.padding as i32,
        dilation: op.dilation,
        n: op.tile.patch(),
    };
    l.each(kernel, vec![x.whole(), v.whole()], 2 * quads(&v), params);
}

pub(super) fn output(l: &mut Lowering<'_>, op: &WinogradOutput) {
    let (m, y) = (l.input(0), l.output(0));
    let [_, height, width, _] = y.spec.as_map();
    let [tiles_down, tiles_across] = [height, width].map(|length| op.tile.tiles_along(length, op.dilation));
    let kernel = set_in_map(l.kernel("winograd/output"), op.tile, op.dilation, l.target);
    let kernel = with_epilogue(kernel, &op.epilogue);
    let mut views = vec![m.whole(), y.whole()];
    views.extend((1..l.node.inputs.len()).map(|i| l.input(i).whole()));
    let params = words! {
        quads: y.spec.quads(),
        height,
        width,
        tiles_down,
        tiles_across,
        dilation: op.dilation,
        n: op.tile.patch(),
    };
    l.each(kernel, views, quads(&m), params);
}
