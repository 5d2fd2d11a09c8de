// Batch norm, forward, step 1 of 3: mean and sum of squared deviations of each chunk of rows, per channel.
//
// Deviations are taken from the chunk's first row, so that the two sums of one pass suffice without cancellation:
// with d = x - first, mean = first + sum(d) / n and M2 = sum(d * d) - sum(d)^2 / n.
//
// x: [rows, C] in quads; partial: [chunks, 2, C] in vec4 (mean, M2).
#include "shared/storage.wgsl"
#include "norm/chunks.wgsl"

@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>;

fn sum_rows(c: u32, chunk_begin: u32, first: u32, end: u32) -> Sums {
    let origin = widen(x[chunk_begin * p.quads + c]);
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let d = widen(x[row * p.quads + c]) - origin;
        sum += d;
        squares += d * d;
    }
    return Sums(sum, squares);
}

fn leave(sums: Sums, c: u32, chunk_begin: u32, end: u32, chunk: u32) {
    let at = chunk * 2u * p.quads + c;
    let mean_d = sums.first / f32(end - chunk_begin);
    partial[at] = widen(x[chunk_begin * p.quads + c]) + mean_d;
    partial[at + p.quads] = max(sums.second - sums.first * mean_d, vec4<f32>(0.0));
}
