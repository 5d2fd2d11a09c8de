// Exchanges a kernel's channel dimensions, [taps, Ci, Co] to [taps, Co, Ci], so that the input gradient reads its weights
// contiguously, as the forward pass does. i: a vec4 of the result, four input channels of one output channel.
#include "shared/each.wgsl"

struct Params {
    count: u32,        // vec4 in the result
    in_groups: u32,    // Ci / 4
    out_channels: u32, // Co
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> exchanged: array<vec4<f32>>;

fn each(i: u32) {
    let group = i % p.in_groups;
    let o = i / p.in_groups % p.out_channels;
    let tap = i / p.in_groups / p.out_channels;
    let at = (tap * p.in_groups + group) * 4u * p.out_channels + o;
    exchanged[i] = vec4<f32>(w[at], w[at + p.out_channels], w[at + 2u * p.out_channels], w[at + 3u * p.out_channels]);
}
