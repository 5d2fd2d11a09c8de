// dx = dy * transpose(w). dy: [N, Co], w: [Ci, Co], dx: [N, Ci], in vec4. i: a vec4 of dx.
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,      // vec4 in dx
    in_groups: u32,  // Ci / 4
    out_groups: u32, // Co / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

fn each(i: u32) {
    let row = i / p.in_groups * p.out_groups;
    let channel = i % p.in_groups * 4u;
    var sum = vec4<f32>(0.0);
    for (var o = 0u; o < p.out_groups; o++) {
        let d = dy[row + o];
        let at = weight_at(channel, o, 4u * p.in_groups, p.out_groups);
        let stride = weight_row_stride(o, p.out_groups);
        sum += vec4<f32>(
            dot(d, w[at]),
            dot(d, w[at + stride]),
            dot(d, w[at + 2u * stride]),
            dot(d, w[at + 3u * stride]),
        );
    }
    dx[i] = sum;
}
