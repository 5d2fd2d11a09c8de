// The sum over the chunks of all levels.
//
// chunk_sums: [chunks], loss: [1].
#include "shared/team.wgsl"

struct Params {
    count: u32, // 1
    chunks: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> chunk_sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;

fn part(i: u32, member: u32) -> Sum {
    var sum = vec4<f32>(0.0);
    for (var chunk = member; chunk < p.chunks; chunk += {{ team }}u) {
        sum += chunk_sums[chunk];
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    loss[i] = dot(sum, vec4<f32>(1.0));
}
