// db = sum over rows of dy, for each chunk of rows. dy: [N, Co], db: [chunks, Co] in vec4. i: a vec4 of db.
#include "shared/team.wgsl"

struct Params {
    count: u32,      // chunks * quads
    quads: u32,      // Co / 4
    rows: u32,       // N
    chunk_rows: u32, // in every chunk but perhaps the last
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> db: array<vec4<f32>>;

fn part(i: u32, member: u32) -> Sum {
    let first = i / p.quads * p.chunk_rows;
    let end = min(first + p.chunk_rows, p.rows);
    var sum = vec4<f32>(0.0);
    for (var n = first + member; n < end; n += {{ team }}u) {
        sum += dy[n * p.quads + i % p.quads];
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    db[i] = sum;
}
