// Merges the moments of all chunks, and makes the loss of them; 0 if no depth is known.
//
// moments: [chunks], loss: [1], statistics: [3], the number of known pixels, the mean of d and its biased variance.
#set own_sum = true
#include "shared/team.wgsl"
#include "depth/moments.wgsl"

struct Params {
    count: u32,  // 1
    chunks: u32,
    level: f32,  // weight of the squared mean
    factor: f32, // of the root
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> moments: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>;

#include "depth/square.wgsl"

fn part(i: u32, member: u32) -> Sum {
    var sum: Sum;
    for (var chunk = member; chunk < p.chunks; chunk += {{ team }}u) {
        let found = moments[chunk];
        sum = join(sum, Sum(found.x, found.y, found.z));
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    let variance = sum.m2 / max(sum.pixels, 1.0);
    let found = square(sum.pixels, sum.mean, variance);
    loss[i] = {{ "p.factor * sqrt(found)" if root else "found" }};
    statistics[0] = sum.pixels;
    statistics[1] = sum.mean;
    statistics[2] = variance;
}
