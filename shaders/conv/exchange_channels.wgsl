// Exchanges a kernel's channel dimensions, [taps, Ci, Co] to [taps, Co, Ci], so that the input gradient reads its weights
// as the forward pass does. i: a vec4 of the result, four input channels of one output channel.
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,      // vec4 in the result
    taps: u32,
    in_groups: u32,  // Ci / 4
    out_groups: u32, // Co / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> exchanged: array<vec4<f32>>;

fn each(i: u32) {
    let rows = p.taps * p.out_groups * 4u;
    let row = weight_row(i, rows, p.in_groups);
    let group = weight_column(i, rows, p.in_groups);
    let o = row % (p.out_groups * 4u);
    let source = row / (p.out_groups * 4u) * p.in_groups * 4u + group * 4u;
    let at = weight_at(source, o / 4u, p.taps * p.in_groups * 4u, p.out_groups) * 4u + o % 4u;
    let step = weight_row_stride(o / 4u, p.out_groups) * 4u;
    exchanged[i] = vec4<f32>(w[at], w[at + step], w[at + 2u * step], w[at + 3u * step]);
}
