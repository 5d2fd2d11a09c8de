// db = sum over rows of dy. dy: [N, Co], db: [Co] in vec4. i: a vec4 of db.
#include "shared/team.wgsl"

struct Params {
    count: u32, // Co / 4
    rows: u32,  // N
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> db: array<vec4<f32>>;

fn part(i: u32, member: u32) -> Sum {
    var sum = vec4<f32>(0.0);
    for (var n = member; n < p.rows; n += {{ team }}u) {
        sum += dy[n * p.count + i];
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    db[i] = sum;
}
