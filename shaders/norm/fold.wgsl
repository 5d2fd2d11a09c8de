// Folds batch norm by running statistics into the convolution before it: w' = w * s, b' = beta - mean * s,
// s = gamma / sqrt(variance + eps) per output channel.
//
// w: [KH * KW * Ci, Co], or [KH * KW, Co] for a depthwise convolution, vectors: [Co], in vec4. i: a vec4 of w, then one
// of the bias for each output quad.
#include "shared/each.wgsl"
#if not depthwise
#include "shared/weights.wgsl"
#endif

struct Params {
    count: u32,   // vec4 in w and in the bias
    weights: u32, // vec4 in w
    quads: u32,   // Co / 4
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> variance: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> folded: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> bias: array<vec4<f32>>;

fn each(i: u32) {
    let is_weight = i < p.weights;
#if depthwise
    let column = i % p.quads;
#else
    let column = weight_column(i, p.weights / p.quads, p.quads);
#endif
    let c = select(i - p.weights, column, is_weight);
    let s = gamma[c] / sqrt(variance[c] + p.eps);
    if (is_weight) {
        folded[i] = w[i] * s;
    } else {
        bias[c] = beta[c] - mean[c] * s;
    }
}
