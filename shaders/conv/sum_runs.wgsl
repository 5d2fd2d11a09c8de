// Adds the partial weight gradients of all runs, in order: dw[i] = sum over r of partial[r, i].
// i: a vec4 of dw.
#include "shared/each.wgsl"

struct Params {
    count: u32,  // vec4 in dw
    runs: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec4<f32>>;

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    for (var r = 0u; r < p.runs; r++) {
        sum += partial[r * p.count + i];
    }
    dw[i] = sum;
}
