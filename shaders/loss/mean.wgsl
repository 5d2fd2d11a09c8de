// Means of the rows' losses and top-1. A single invocation adds the terms in order: the rows themselves, or for a large
// batch the sums of `loss/sum_rows.wgsl`. sums: [terms, 2], loss, top1: [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    terms: u32,
    rows: u32,  // N
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> top1: array<f32>;

fn each(i: u32) {
    var sum = vec2<f32>(0.0);
    for (var n = 0u; n < p.terms; n++) {
        sum += sums[n];
    }
    loss[i] = sum.x / f32(p.rows);
    top1[i] = sum.y / f32(p.rows);
}
