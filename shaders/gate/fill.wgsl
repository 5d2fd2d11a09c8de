// Writes the same value to every element of y. i: a vec4 of y.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in y
    value: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

fn each(i: u32) {
    y[i] = vec4<f32>(p.value);
}
