// average += rate * (x - average): if x stays constant, the average reaches it exactly, whatever the rounding of the
// rate.
//
// x, average: the same shape, in vec4; rate: [1]. i: a vec4 of average.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in average
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Full>;
@group(0) @binding(2) var<storage, read> rate: array<f32>;
@group(0) @binding(3) var<storage, read_write> average: array<Full>;

fn each(i: u32) {
    let old = from_full(average[i]);
    average[i] = to_full(old + rate[0] * (from_full(x[i]) - old));
}
