// Batch norm, backward, step 2 of 3: dbeta and dgamma, the chunks' sums added in order. Their means over the rows, which
// step 3 needs, replace the first chunk's sums, which only this invocation has read.
//
// partial: [chunks, 2, C], dgamma, dbeta: [C], in vec4. i: a channel group.
#include "shared/each.wgsl"

struct Params {
    count: u32,  // groups, C / 4
    chunks: u32,
    rows: f32,   // of the whole map
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dgamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dbeta: array<vec4<f32>>;

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    var sum_xhat = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < p.chunks; chunk++) {
        sum += partial[chunk * 2u * p.count + i];
        sum_xhat += partial[(chunk * 2u + 1u) * p.count + i];
    }
    dbeta[i] = sum;
    dgamma[i] = sum_xhat;
    partial[i] = sum / p.rows;
    partial[i + p.count] = sum_xhat / p.rows;
}
