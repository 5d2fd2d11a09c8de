// sum = keep > 0 ? sum + gradient : gradient. The first part of a batch overwrites, so that no NaN of an earlier step lives on.
//
// gradient, sum: the same shape, in vec4; keep: [1]. i: a vec4 of sum.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in sum
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keep: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<vec4<f32>>;

fn each(i: u32) {
    sum[i] = select(gradient[i], sum[i] + gradient[i], keep[0] > 0.0);
}
