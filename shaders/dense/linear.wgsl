// y = activation(x * w + b). x: [N, Ci], b: [Co], y: [N, Co] in vec4, w: [Ci, Co] in quads. i: a vec4 of y.
// For few rows, where reading the weights takes most of the time: neighbouring invocations read neighbouring weights.
// With more rows, a linear layer runs as a 1x1 convolution over maps of one pixel.
#include "shared/storage.wgsl"
#include "shared/team.wgsl"
#include "shared/activation.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,     // vec4 in y
    in_quads: u32,  // Ci / 4
    out_quads: u32, // Co / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Weights>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

fn part(i: u32, member: u32) -> Sum {
    let o = i % p.out_quads;
    let row = i / p.out_quads * p.in_quads;
    var sum = select(vec4<f32>(0.0), b[o], member == 0u);
    var at = weight_at(4u * member, o, 4u * p.in_quads, p.out_quads);
    let stride = weight_row_stride(o, p.out_quads);
    for (var k = member; k < p.in_quads; k += {{ team }}u) {
        let v = x[row + k];
        sum += v.x * widen_weights(w[at]);
        sum += v.y * widen_weights(w[at + stride]);
        sum += v.z * widen_weights(w[at + 2u * stride]);
        sum += v.w * widen_weights(w[at + 3u * stride]);
        at += {{ 4 * team }}u * stride;
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    y[i] = activate(sum);
}
