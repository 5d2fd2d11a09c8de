// Batch norm, backward, step 1 of 3: per chunk of rows and channel, the sums of d and of d * xhat, where
// xhat = (x - mean) * inverse_deviation and d = dy * activation'(xhat * gamma + beta).
//
// x, dy: [rows, C] in quads, partial: [chunks, 2, C] in vec4.
#include "shared/storage.wgsl"
#include "norm/chunks.wgsl"
#include "shared/activation_grad.wgsl"

@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read> gamma: array<Full>;
@group(0) @binding(4) var<storage, read> beta: array<Full>;
@group(0) @binding(5) var<storage, read> mean: array<Full>;
@group(0) @binding(6) var<storage, read> inverse_deviation: array<Full>;
@group(0) @binding(7) var<storage, read_write> partial: array<vec4<f32>>;

fn sum_rows(c: u32, chunk_begin: u32, first: u32, end: u32) -> Sums {
    let m = from_full(mean[c]);
    let inverse = from_full(inverse_deviation[c]);
    let scale = from_full(gamma[c]);
    let shift = from_full(beta[c]);
    var sum = vec4<f32>(0.0);
    var sum_xhat = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let at = row * p.quads + c;
        let xhat = (widen(x[at]) - m) * inverse;
        let d = widen(dy[at]) * activation_derivative(xhat * scale + shift);
        sum += d;
        sum_xhat += d * xhat;
    }
    return Sums(sum, sum_xhat);
}

fn leave(sums: Sums, c: u32, chunk_begin: u32, end: u32, at: u32) {
    partial[at] = sums.first;
    partial[at + p.quads] = sums.second;
}
