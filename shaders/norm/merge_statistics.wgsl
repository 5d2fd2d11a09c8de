// Batch norm, forward, step 2 of 3: merges the chunks' statistics in order (Chan, Golub, LeVeque 1979) and updates the
// running statistics: new = (1 - momentum) * old + momentum * batch, with the unbiased variance.
//
// partial: [chunks, 2, C] in vec4 (mean, M2). i: a channel group.
#include "shared/each.wgsl"

struct Params {
    count: u32,      // groups, C / 4
    rows: u32,       // of the whole map
    chunk_rows: u32,
    chunks: u32,
    eps: f32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> mean: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> inverse_deviation: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> running_variance: array<vec4<f32>>;

fn each(i: u32) {
    var m = partial[i];
    var m2 = partial[i + p.count];
    var n = f32(min(p.chunk_rows, p.rows));
    for (var chunk = 1u; chunk < p.chunks; chunk++) {
        let rows = f32(min(p.chunk_rows, p.rows - chunk * p.chunk_rows));
        let at = chunk * 2u * p.count + i;
        let delta = partial[at] - m;
        let total = n + rows;
        m += delta * (rows / total);
        m2 += partial[at + p.count] + delta * delta * (n * rows / total);
        n = total;
    }
    mean[i] = m;
    inverse_deviation[i] = 1.0 / sqrt(m2 / n + p.eps);
    running_mean[i] = mix(running_mean[i], m, vec4<f32>(p.momentum));
    running_variance[i] = mix(running_variance[i], m2 / (n - 1.0), vec4<f32>(p.momentum));
}
