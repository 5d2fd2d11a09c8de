// Mean over height and width. x: [N, H, W, C], y: [N, C], in vec4. i: a vec4 of y.
#include "shared/each.wgsl"

struct Params {
    count: u32,  // vec4 in y
    groups: u32, // C / 4
    pixels: u32, // H * W
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    var at = i / p.groups * p.pixels * p.groups + i % p.groups;
    for (var pixel = 0u; pixel < p.pixels; pixel++) {
        sum += x[at];
        at += p.groups;
    }
    y[i] = sum / f32(p.pixels);
}
