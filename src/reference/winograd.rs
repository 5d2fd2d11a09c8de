//! Winograd's convolution, by its matrices.

use rayon::prelude::*;

use super::View;
use super::activation::activate;
use crate::graph::op::{TAPS, WinogradInput, WinogradOutput, WinogradWeights};

/// `matrix middle matrix^T`, row by row, for a square `middle`.
fn both_sides(matrix: &[&[f64]], middle: &[f64]) -> Vec<f64> {
    let side = matrix[0].len();
    let dot = |row: &[f64], column: &dyn Fn(usize) -> f64| (0..side).map(|k| row[k] * column(k)).sum::<f64>();
    let mut result = Vec::with_capacity(matrix.len() * matrix.len());
    for row in matrix {
        let half: Vec<f64> = (0..side).map(|c| dot(row, &|k| middle[k * side + c])).collect();
        result.extend(matrix.iter().map(|other| dot(other, &|k| half[k])));
    }
    result
}

/// Computes `positions` numbers for each block and transposes them: element `i` of position `p` is number `p` of block
/// `i`.
fn by_position(positions: usize, blocks: usize, block: impl Fn(usize) -> Vec<f64> + Sync + Send) -> Vec<f64> {
    let transformed: Vec<Vec<f64>> = (0..blocks).into_par_iter().map(block).collect();
    (0..positions).flat_map(|p| transformed.iter().map(move |block| block[p])).collect()
}

/// `u[p, 0, i, o] = (G w[.., i, o] Gt)[p]`; if flipped, `u[p, 0, o, i]` of the kernel rotated by 180 degrees.
pub(super) fn weights(op: &WinogradWeights, w: View<'_>) -> Vec<f64> {
    let [_, _, ci, co] = w.dims();
    let g = op.tile.matrices().g;
    by_position(op.tile.positions(), ci * co, |at| {
        let (i, o) = if op.flipped { (at % ci, at / ci) } else { (at / co, at % co) };
        let mut kernel: Vec<f64> = (0..TAPS * TAPS).map(|tap| w.data[(tap * ci + i) * co + o]).collect();
        if op.flipped {
            kernel.reverse();
        }
        both_sides(g, &kernel)
    })
}

/// `v[0, p, t, i] = (Bt d B)[p]` for the patch d of each tile.
pub(super) fn input(op: &WinogradInput, x: View<'_>) -> Vec<f64> {
    let [n, height, width, channels] = x.dims();
    let (patch, [_, rows, columns]) = (op.tile.patch(), op.output(x.dims()));
    let [down, across] = [rows, columns].map(|length| op.tile.tiles_along(length, op.dilation));
    by_position(op.tile.positions(), n * down * across * channels, |at| {
        let (tile, i) = (at / channels, at % channels);
        let (n, ty, tx) = (tile / across / down, tile / across % down, tile % across);
        let pixel = |r: usize, c: usize| {
            let y = op.tile.pixel(ty, r, op.dilation).checked_sub(op.padding).filter(|&y| y < height)?;
            let x_at = op.tile.pixel(tx, c, op.dilation).checked_sub(op.padding).filter(|&x| x < width)?;
            Some(x.data[((n * height + y) * width + x_at) * channels + i])
        };
        let d: Vec<f64> = (0..patch * patch).map(|p| pixel(p / patch, p % patch).unwrap_or(0.0)).collect();
        both_sides(op.tile.matrices().bt, &d)
    })
}

/// `m[0, p, t, o] = sum over i of v[0, p, t, i] * u[p, 0, i, o]`.
pub(super) fn product(v: View<'_>, u: View<'_>) -> Vec<f64> {
    let ([_, positions, tiles, ci], co) = (v.dims(), u.channels());
    let mut m = vec![0.0; positions * tiles * co];
    m.par_chunks_mut(co).enumerate().for_each(|(row, m_row)| {
        let u = &u.data[row / tiles * ci * co..];
        for (i, &v) in v.data[row * ci..][..ci].iter().enumerate() {
            for (m, u) in m_row.iter_mut().zip(&u[i * co..]) {
                *m += v * u;
            }
        }
    });
    m
}

/// `y = activation((At m A + bias) * gate + shortcut)`, cut to the map's size.
pub(super) fn output(op: &WinogradOutput, inputs: &[View<'_>]) -> Vec<f64> {
    let m = inputs[0];
    let [_, positions, tiles, co] = m.dims();
    let ([n, height, width], results) = (op.size, op.tile.results());
    let [down, across] = [height, width].map(|length| op.tile.tiles_along(length, op.dilation));
    let [bias, gate, shortcut] = op.epilogue.operands(&inputs[1..]);
    let blocks: Vec<Vec<f64>> = (0..tiles * co)
        .into_par_iter()
        .map(|at| {
            let products: Vec<f64> = (0..positions).map(|p| m.data[p * tiles * co + at]).collect();
            both_sides(op.tile.matrices().at, &products)
        })
        .collect();
    let finish = |at: usize| {
        let (pixel, o) = (at / co, at % co);
        let (n, y, x) = (pixel / width / height, pixel / width % height, pixel % width);
        let [(ty, r), (tx, c)] = [y, x].map(|pixel| op.tile.tile_and_place(pixel, op.dilation));
        let tile = (n * down + ty) * across + tx;
        let sum = blocks[tile * co + o][r * results + c] + bias.map_or(0.0, |b| b.data[o]);
        let scaled = sum * gate.map_or(1.0, |g| g.data[n * co + o]);
        activate(op.epilogue.activation, scaled + shortcut.map_or(0.0, |s| s.data[at]))
    };
    (0..n * height * width * co).map(finish).collect()
}
