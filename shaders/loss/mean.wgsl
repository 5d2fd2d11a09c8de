// Mean of the rows' losses, added in order by a single invocation: a batch has few rows.
// losses: [N], mean: [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    rows: u32,  // N
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;

fn each(i: u32) {
    var sum = 0.0;
    for (var n = 0u; n < p.rows; n++) {
        sum += losses[n];
    }
    mean[i] = sum / f32(p.rows);
}
