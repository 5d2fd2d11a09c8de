// Sets counts to 0.
//
// counts: [count]. i: a count.
#include "shared/each.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

fn each(i: u32) {
    counts[i] = 0u;
}
