// Sums of the rows' losses and top-1 in each chunk of rows, added in order.
// of_rows: [N, 2], sums: [chunks, 2]. i: a chunk.
#include "shared/each.wgsl"

struct Params {
    count: u32,      // chunks
    rows: u32,       // N
    chunk_rows: u32, // in every chunk but perhaps the last
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> of_rows: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>;

fn each(i: u32) {
    let end = min((i + 1u) * p.chunk_rows, p.rows);
    var sum = vec2<f32>(0.0);
    for (var n = i * p.chunk_rows; n < end; n++) {
        sum += of_rows[n];
    }
    sums[i] = sum;
}
