// db = sum over rows of dy. dy: [N, Co], db: [Co] in vec4. i: a vec4 of db.
#include "shared/each.wgsl"

struct Params {
    count: u32, // Co / 4
    rows: u32,  // N
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> db: array<vec4<f32>>;

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    for (var n = 0u; n < p.rows; n++) {
        sum += dy[n * p.count + i];
    }
    db[i] = sum;
}
