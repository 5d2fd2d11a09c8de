// dw = transpose(x) * dy, db = sum over rows of dy. x: [N, Ci] in f32, dy: [N, Co], dw: [Ci, Co], db: [Co] in vec4.
// i: a vec4 of dw; then one of db for each output group.
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,       // (Ci + 1) * Co / 4
    rows: u32,        // N
    in_channels: u32, // Ci, padded
    out_groups: u32,  // Co / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dw: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> db: array<vec4<f32>>;

fn each(i: u32) {
    let weights = p.in_channels * p.out_groups;
    var sum = vec4<f32>(0.0);
    if (i < weights) {
        let o = weight_column(i, p.in_channels, p.out_groups);
        let channel = weight_row(i, p.in_channels, p.out_groups);
        for (var n = 0u; n < p.rows; n++) {
            sum += x[n * p.in_channels + channel] * dy[n * p.out_groups + o];
        }
        dw[i] = sum;
    } else {
        let o = i - weights;
        for (var n = 0u; n < p.rows; n++) {
            sum += dy[n * p.out_groups + o];
        }
        db[o] = sum;
    }
}
