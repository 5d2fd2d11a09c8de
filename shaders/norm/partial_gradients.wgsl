// Batch norm, backward, step 1 of 3: per chunk of rows and channel, the sums of d and of d * xhat, where
// xhat = (x - mean) * inverse_deviation and d = dy * activation'(xhat * gamma + beta).
//
// x, dy: [rows, C], partial: [chunks, 2, C] in vec4. i: a channel group of a chunk, groups fastest.
#include "shared/each.wgsl"
#include "shared/activation_grad.wgsl"

struct Params {
    count: u32,       // chunks of this dispatch * groups
    groups: u32,      // C / 4
    rows: u32,        // of this dispatch
    chunk_rows: u32,
    first_chunk: u32, // where this dispatch's chunks start
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> inverse_deviation: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> partial: array<vec4<f32>>;

fn each(i: u32) {
    let c = i % p.groups;
    let chunk = i / p.groups;
    let begin = chunk * p.chunk_rows;
    let end = min(begin + p.chunk_rows, p.rows);
    let m = mean[c];
    let s = inverse_deviation[c];
    let scale = gamma[c];
    let shift = beta[c];
    var sum = vec4<f32>(0.0);
    var sum_xhat = vec4<f32>(0.0);
    for (var row = begin; row < end; row++) {
        let at = row * p.groups + c;
        let xhat = (x[at] - m) * s;
        let d = dy[at] * activation_derivative(xhat * scale + shift);
        sum += d;
        sum_xhat += d * xhat;
    }
    let at = (p.first_chunk + chunk) * 2u * p.groups + c;
    partial[at] = sum;
    partial[at + p.groups] = sum_xhat;
}
