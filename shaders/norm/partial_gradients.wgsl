// Batch norm, backward, step 1 of 3: per chunk of rows and channel, the sums of d and of d * xhat, where
// xhat = (x - mean) * inverse_deviation and d = dy * activation'(xhat * gamma + beta). With running statistics
// inverse_deviation is 1 / sqrt(variance + eps).
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
#if running
@group(0) @binding(6) var<storage, read> variance: array<Full>;
#else
@group(0) @binding(6) var<storage, read> inverse_deviation: array<Full>;
#endif
@group(0) @binding(7) var<storage, read_write> partial: array<vec4<f32>>;

fn sum_rows(c: u32, chunk_begin: u32, first: u32, end: u32) -> Sums {
    let m = from_full(mean[c]);
#if running
    let inverse = 1.0 / sqrt(from_full(variance[c]) + p.eps);
#else
    let inverse = from_full(inverse_deviation[c]);
#endif
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

fn leave(sums: Sums, c: u32, chunk_begin: u32, end: u32, chunk: u32) {
    let at = chunk * 2u * p.quads + c;
    partial[at] = sums.first;
    partial[at + p.quads] = sums.second;
}
