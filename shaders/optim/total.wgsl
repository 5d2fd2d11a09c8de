// total = previous + the chunks' sums, added in order by a single invocation: a tensor has few chunks.
// sums: [chunks], total, previous: [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    chunks: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;
#if chained
@group(0) @binding(3) var<storage, read> previous: array<f32>;
#endif

fn each(i: u32) {
#if chained
    var sum = previous[i];
#else
    var sum = 0.0;
#endif
    for (var chunk = 0u; chunk < p.chunks; chunk++) {
        sum += sums[chunk];
    }
    total[i] = sum;
}
