// The adapter's peak bandwidth: a copy, each element read once and written once. i: one of the first count vec4; its
// invocation copies `strides` vec4, count apart, so that several reads are under way at once and every access of a
// subgroup is consecutive.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 / strides
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> destination: array<vec4<f32>>;

fn each(i: u32) {
# for k in range(strides)
    destination[i + {{ k }}u * p.count] = source[i + {{ k }}u * p.count];
# endfor
}
