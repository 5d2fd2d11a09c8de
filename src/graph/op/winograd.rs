//! Winograd's convolution: computes convolutions of 3x3 and stride 1 with fewer multiply-adds (Lavin and Gray, "Fast
//! Algorithms for Convolutional Neural Networks", 2015).
//!
//! The result is cut into tiles of `m x m`, each of which depends on a patch `d` of `n x n` pixels of the map,
//! `n = m + 2`. With the matrices of [`Matrices`],
//!
//! ```text
//! y = At ((G g Gt) .* (Bt d B)) A
//! ```
//!
//! where `.*` multiplies element by element and is the only step that combines the map with the kernel `g`. Summed over
//! the input channels, it amounts to `n * n` matrix products, one for each position in the patch. A tile of `m * m`
//! results then takes `n * n` multiply-adds per channel instead of `9 * m * m`: 2.25 times fewer for tiles of 2, 4
//! times fewer for tiles of 4. There are four operations, for the weights, the map, the product and the result.
//! `graph/winograd` replaces a convolution by them.
//!
//! A kernel whose taps lie `s` pixels apart (its dilation) is an ordinary one for each of the `s * s` maps that every
//! `s`th pixel down and across makes. So the pixels of its tiles and patches lie `s` apart, too.

use super::window::MAX_SIDE;
use super::{Activation, Epilogue, Padding, Rule, Window, arity, map, same};
use crate::graph::Spec;

/// Side of the kernels that these algorithms support.
pub const TAPS: usize = 3;

/// How many results a tile has along each side. Larger tiles save more multiply-adds but round worse: the error of
/// F(6x6) is ten times that of F(4x4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WinogradTile {
    /// F(2x2, 3x3).
    Two,
    /// F(4x4, 3x3).
    Four,
}

/// The transforms along one side of a tile: `y = at ((g w gt) .* (bt d b)) a`, where `.*` multiplies element by
/// element.
pub struct Matrices {
    /// Transforms a patch of the map, `n x n`.
    pub bt: &'static [&'static [f64]],
    /// Transforms a kernel, `n x 3`.
    pub g: &'static [&'static [f64]],
    /// Transforms products into results, `m x n`.
    pub at: &'static [&'static [f64]],
}

/// Interpolation at 0, 1, -1 and infinity.
const TWO: Matrices = Matrices {
    bt: &[&[1., 0., -1., 0.], &[0., 1., 1., 0.], &[0., -1., 1., 0.], &[0., 1., 0., -1.]],
    g: &[&[1., 0., 0.], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0., 0., 1.]],
    at: &[&[1., 1., 1., 0.], &[0., 1., -1., -1.]],
};

/// Interpolation at 0, 1, -1, 2, -2 and infinity.
const FOUR: Matrices = Matrices {
    bt: &[
        &[4., 0., -5., 0., 1., 0.],
        &[0., -4., -4., 1., 1., 0.],
        &[0., 4., -4., -1., 1., 0.],
        &[0., -2., -1., 2., 1., 0.],
        &[0., 2., -1., -2., 1., 0.],
        &[0., 4., 0., -5., 0., 1.],
    ],
    g: &[
        &[1. / 4., 0., 0.],
        &[-1. / 6., -1. / 6., -1. / 6.],
        &[-1. / 6., 1. / 6., -1. / 6.],
        &[1. / 24., 1. / 12., 1. / 6.],
        &[1. / 24., -1. / 12., 1. / 6.],
        &[0., 0., 1.],
    ],
    at: &[
        &[1., 1., 1., 1., 1., 0.],
        &[0., 1., -1., 2., -2., 0.],
        &[0., 1., 1., 4., 4., 0.],
        &[0., 1., -1., 8., -8., 1.],
    ],
};

impl WinogradTile {
    /// All tile sizes.
    pub const ALL: [Self; 2] = [Self::Two, Self::Four];

    /// Results along one side.
    pub fn results(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Pixels of the patch, and positions of the product, along one side.
    pub fn patch(self) -> usize {
        self.results() + TAPS - 1
    }

    /// Positions of the product, which is the number of matrix products.
    pub fn positions(self) -> usize {
        self.patch() * self.patch()
    }

    /// Number of tiles along a side of a result: `dilation` maps of `ceil(length / dilation)` pixels, each cut into
    /// tiles.
    pub fn tiles_along(self, length: usize, dilation: usize) -> usize {
        dilation * length.div_ceil(dilation).div_ceil(self.results())
    }

    /// Where pixel `i` of tile `t` lies along a side of the result.
    pub fn pixel(self, t: usize, i: usize, dilation: usize) -> usize {
        (t / dilation * self.results() + i) * dilation + t % dilation
    }

    /// The tile of a pixel along a side of the result, and the pixel's place in it.
    pub fn tile_and_place(self, pixel: usize, dilation: usize) -> (usize, usize) {
        let (among, first) = (pixel / dilation, pixel % dilation);
        (among / self.results() * dilation + first, among % self.results())
    }

    /// Number of tiles that cover a result of `[n, h, w]`.
    pub fn tiles(self, [n, h, w]: [usize; 3], dilation: usize) -> usize {
        n * self.tiles_along(h, dilation) * self.tiles_along(w, dilation)
    }

    /// The transforms along one side.
    pub fn matrices(self) -> &'static Matrices {
        match self {
            Self::Two => &TWO,
            Self::Four => &FOUR,
        }
    }

    /// The zeros on each side of a map, and the dilation, if the algorithm can compute convolutions with this window.
    pub fn padding_and_dilation(window: &Window) -> Option<[usize; 2]> {
        match *window {
            Window {
                kernel: [TAPS, TAPS],
                stride: [1, 1],
                dilation: [dilation, other],
                padding: Padding::Zeros([down, across]),
            } if dilation == other && down == across => Some([down, dilation]),
            _ => None,
        }
    }

    /// The ratio of the variance of the rounding error of the worst result to that of a direct sum, for maps and
    /// kernels of independent elements: 2.8 for tiles of 2, 989 for tiles of 4. Along one side, the variance of a
    /// product is proportional to the squared lengths of its rows in `bt` and `g`, and the square of its factor in `at`
    /// weights it in the result. A direct sum has 3 products of length 1 along each side.
    pub fn rounding_variance(self) -> f64 {
        let Matrices { bt, g, at } = self.matrices();
        let squares = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
        let product = |p: usize| squares(bt[p]) * squares(g[p]);
        let result = |row: &&[f64]| row.iter().enumerate().map(|(p, v)| v * v * product(p)).sum::<f64>();
        let worst = at.iter().map(result).fold(0.0, f64::max) / TAPS as f64;
        worst * worst
    }
}

/// Transforms kernels: `u[p, 0, i, o] = (G w[.., i, o] Gt)[p / n, p % n]`.
///
/// Input: w `[3, 3, Ci, Co]`. Output: `[n*n, 1, Ci, Co]`; with `flipped` `[n*n, 1, Co, Ci]`, from the kernels rotated
/// by 180 degrees with their channels exchanged. A convolution of the output's gradient with those is the input
/// gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradWeights {
    /// The tile size.
    pub tile: WinogradTile,
    /// Whether the weights are for the input gradient.
    pub flipped: bool,
}

impl Rule for WinogradWeights {
    fn name(&self) -> &'static str {
        "winograd_weights"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 1)?;
        let [kh, kw, ci, co] = map(inputs[0])?;
        same("the kernel", &[kh, kw], &[TAPS, TAPS])?;
        let [rows, columns] = if self.flipped { [co, ci] } else { [ci, co] };
        Ok(vec![Spec::weights([self.tile.positions(), 1, rows, columns])])
    }
}

/// Transforms a map: `v[0, p, t, i] = (Bt d B)[p / n, p % n]`, where d is the patch of channel i that belongs to tile
/// t.
///
/// Input: x `[N, H, W, C]`. Output: `[1, n*n, T, C]`, the tiles row by row, image by image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradInput {
    /// The tile size.
    pub tile: WinogradTile,
    /// Zeros around the map, the same on every side.
    pub padding: usize,
    /// Distance of the kernel's taps, in pixels.
    pub dilation: usize,
}

impl WinogradInput {
    /// `[N, OH, OW]` of the convolution's result, for a map `[N, H, W, C]`.
    pub fn output(&self, [n, h, w, _]: [usize; 4]) -> [usize; 3] {
        let [height, width] = [h, w].map(|side| side + 2 * self.padding - self.dilation * (TAPS - 1));
        [n, height, width]
    }
}

impl Rule for WinogradInput {
    fn name(&self) -> &'static str {
        "winograd_input"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 1)?;
        let [_, h, w, c] = map(inputs[0])?;
        let side = self.dilation * (TAPS - 1) + 1;
        if h.min(w) + 2 * self.padding < side {
            return Err(format!("a window of {side} does not fit {h} x {w} pixels padded by {}", self.padding));
        }
        let tiles = self.tile.tiles(self.output(inputs[0].as_map()), self.dilation);
        Ok(vec![Spec::channels([1, self.tile.positions(), tiles, c])])
    }
}

/// The matrix products, one for each position: `m[0, p, t, o] = sum over i of v[0, p, t, i] * u[p, 0, i, o]`.
///
/// Inputs: v `[1, P, T, Ci]`, u `[P, 1, Ci, Co]`. Output: `[1, P, T, Co]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradProduct;

impl WinogradProduct {
    /// The most tiles that the kernels support: they index tiles as a convolution indexes the columns of a map.
    pub const MAX_TILES: usize = MAX_SIDE;
}

impl Rule for WinogradProduct {
    fn name(&self) -> &'static str {
        "winograd_product"
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 2)?;
        let [one, positions, tiles, ci] = map(inputs[0])?;
        let [_, _, _, co] = map(inputs[1])?;
        same("the map", &[one], &[1])?;
        same("the weights", &inputs[1].shape, &[positions, 1, ci, co])?;
        if tiles > Self::MAX_TILES {
            return Err(format!("{tiles} tiles are too many, {} is the most", Self::MAX_TILES));
        }
        Ok(vec![Spec::channels([1, positions, tiles, co])])
    }

    fn macs(&self, inputs: &[&Spec], outputs: &[&Spec]) -> u64 {
        (outputs[0].elements() * inputs[0].last()) as u64
    }
}

/// Transforms the products into the result: `y = epilogue(At m A)`, cut to the map's size.
///
/// Inputs: m `[1, n*n, T, C]`, then the epilogue's operands. Output `[N, OH, OW, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WinogradOutput {
    /// The tile size.
    pub tile: WinogradTile,
    /// `[N, OH, OW]` of the result.
    pub size: [usize; 3],
    /// Distance of the kernel's taps, in pixels.
    pub dilation: usize,
    /// Fused work on the result.
    pub epilogue: Epilogue,
}

impl Rule for WinogradOutput {
    fn name(&self) -> &'static str {
        "winograd_output"
    }

    fn activation(&self) -> Activation {
        self.epilogue.activation
    }

    fn infer(&self, inputs: &[&Spec]) -> Result<Vec<Spec>, String> {
        arity(inputs, 1 + self.epilogue.arity())?;
        let [n, h, w] = self.size;
        let c = inputs[0].last();
        same(
            "the products",
            &inputs[0].shape,
            &[1, self.tile.positions(), self.tile.tiles(self.size, self.dilation), c],
        )?;
        let output = [n, h, w, c];
        self.epilogue.check(&inputs[1..], output)?;
        Ok(vec![Spec::channels(output)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Along one side and with integers, the result is exactly the sum over each window.
    #[test]
    fn the_matrices_convolve() {
        let times = |rows: &[&[f64]], v: &[f64]| -> Vec<f64> {
            rows.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
        };
        for tile in WinogradTile::ALL {
            let Matrices { bt, g, at } = tile.matrices();
            let d: Vec<f64> = (0..tile.patch()).map(|i| [3., -1., 4., 1., -5., 9.][i]).collect();
            let kernel = [2., 7., -1.];
            let products: Vec<f64> = times(bt, &d).iter().zip(times(g, &kernel)).map(|(a, b)| a * b).collect();
            let direct: Vec<f64> = d.windows(TAPS).map(|w| w.iter().zip(kernel).map(|(a, b)| a * b).sum()).collect();
            for (a, b) in times(at, &products).iter().zip(&direct) {
                assert!((a - b).abs() < 1e-12, "{tile:?}: {a} instead of {b}");
            }
        }
    }

    #[test]
    fn every_pixel_has_a_tile() {
        for (tile, dilation) in WinogradTile::ALL.into_iter().flat_map(|tile| (1..8).map(move |d| (tile, d))) {
            for pixel in 0..23 {
                let (t, place) = tile.tile_and_place(pixel, dilation);
                assert!(t < tile.tiles_along(23, dilation) && place < tile.results());
                assert_eq!(tile.pixel(t, place, dilation), pixel);
            }
        }
        assert_eq!(WinogradTile::Four.tiles_along(23, 1), 6);
    }

    #[test]
    fn longer_tiles_round_worse() {
        let [two, four] = WinogradTile::ALL.map(WinogradTile::rounding_variance);
        assert!((two - 25.0 / 9.0).abs() < 1e-9, "{two}");
        assert!((four - 988.75).abs() < 0.01, "{four}");
    }
}
