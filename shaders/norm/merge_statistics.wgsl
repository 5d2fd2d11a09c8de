// Batch norm, forward, step 2 of 3: merges the chunks' statistics (Chan, Golub, LeVeque 1979) and updates the running
// statistics: new = (1 - momentum) * old + momentum * batch, with the unbiased variance.
//
// partial: [chunks, 2, C] in vec4 (mean, M2). i: a quad.
#set own_sum = true
#include "shared/team.wgsl"

struct Params {
    count: u32, // quads, C / 4
    rows: u32,  // of the whole map
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

struct Sum {
    mean: vec4<f32>,
    m2: vec4<f32>, // sum of the squared deviations from the mean
    rows: f32,
}

fn join(a: Sum, b: Sum) -> Sum {
    let rows = a.rows + b.rows;
    let share = b.rows / max(rows, 1.0);
    let delta = b.mean - a.mean;
    return Sum(a.mean + delta * share, a.m2 + b.m2 + delta * delta * (a.rows * share), rows);
}

fn part(i: u32, member: u32) -> Sum {
    var sum: Sum;
    for (var chunk = member; chunk < p.chunks; chunk += {{ team }}u) {
        let at = chunk * 2u * p.count + i;
        let rows = min(p.chunk_rows, p.rows - chunk * p.chunk_rows);
        sum = join(sum, Sum(partial[at], partial[at + p.count], f32(rows)));
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    mean[i] = sum.mean;
    inverse_deviation[i] = 1.0 / sqrt(sum.m2 / sum.rows + p.eps);
    running_mean[i] = mix(running_mean[i], sum.mean, vec4<f32>(p.momentum));
    running_variance[i] = mix(running_variance[i], sum.m2 / (sum.rows - 1.0), vec4<f32>(p.momentum));
}
