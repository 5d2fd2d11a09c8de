// sum = keep > 0 ? sum + gradient : gradient. The first part of a batch overwrites the sum, so that no NaN of an
// earlier step remains.
//
// gradient, sum: the same shape, in vec4; keep: [1]. i: a vec4 of sum.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in sum
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<Full>;
@group(0) @binding(2) var<storage, read> keep: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<Full>;

fn each(i: u32) {
    let g = from_full(gradient[i]);
    sum[i] = to_full(select(g, from_full(sum[i]) + g, keep[0] > 0.0));
}
