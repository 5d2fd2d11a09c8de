// Measures the adapter's peak bandwidth by a copy that reads and writes each element once. i: one of the first `count`
// vec4. Its invocation copies `strides` vec4 that lie `count` apart, so that several reads are in flight at once and
// the accesses of a subgroup are consecutive.
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
