// Adds the partial weight gradients of all runs of images, in order: dw[i] = sum over s of partial[s, i].
// i: a vec4 of dw.
#include "shared/each.wgsl"

struct Params {
    count: u32,  // vec4 in dw
    splits: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec4<f32>>;

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    for (var s = 0u; s < p.splits; s++) {
        sum += partial[s * p.count + i];
    }
    dw[i] = sum;
}
