// Batch norm, forward, step 3 of 3, and batch norm by running statistics:
//     y = activation((x - mean) * inverse_deviation * gamma + beta)
//
// x, y: [rows, C]; vectors: [C]; all in vec4. i: a vec4 of x.
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,  // vec4 in x
    groups: u32, // C / 4
#if from_variance
    eps: f32,
#endif
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mean: array<vec4<f32>>;
#if from_variance
@group(0) @binding(5) var<storage, read> variance: array<vec4<f32>>;
#else
@group(0) @binding(5) var<storage, read> inverse_deviation: array<vec4<f32>>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;

fn each(i: u32) {
    let c = i % p.groups;
#if from_variance
    let scale = gamma[c] / sqrt(variance[c] + p.eps);
#else
    let scale = gamma[c] * inverse_deviation[c];
#endif
    y[i] = activate((x[i] - mean[c]) * scale + beta[c]);
}
