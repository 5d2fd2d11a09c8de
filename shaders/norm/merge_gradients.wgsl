// Batch norm, backward, step 2 of 3: adds up the chunks' sums to dbeta and dgamma. Their means over the rows, which
// step 3 needs, replace the first chunk's sums. Only the team of that quad reads these sums.
//
// partial: [chunks, 2, C], dgamma, dbeta: [C], in vec4. i: a quad.
#set own_sum = true
#include "shared/team.wgsl"

struct Params {
    count: u32, // quads, C / 4
    chunks: u32,
    rows: f32,  // of the whole map
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dgamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dbeta: array<vec4<f32>>;

struct Sum {
    d: vec4<f32>,
    d_xhat: vec4<f32>,
}

fn join(a: Sum, b: Sum) -> Sum {
    return Sum(a.d + b.d, a.d_xhat + b.d_xhat);
}

fn part(i: u32, member: u32) -> Sum {
    var sum: Sum;
    for (var chunk = member; chunk < p.chunks; chunk += {{ team }}u) {
        let at = chunk * 2u * p.count + i;
        sum = join(sum, Sum(partial[at], partial[at + p.count]));
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    dbeta[i] = sum.d;
    dgamma[i] = sum.d_xhat;
    partial[i] = sum.d / p.rows;
    partial[i + p.count] = sum.d_xhat / p.rows;
}
