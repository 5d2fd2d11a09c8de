// Exchanges a kernel's channel dimensions, [taps, Ci, Co] to [taps, Co, Ci], and brings taps that a phase of the input gradient
// sees side by side (those of equal remainder by the stride, phase after phase), so that each phase reads its weights
// straight through, as the forward pass does. i: four input channels of one output channel of one tap.
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,        // vec4 in the result
    in_groups: u32,    // Ci / 4
    out_channels: u32, // Co
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> exchanged: array<vec4<f32>>;

// Of `length` rows, how many have a remainder below `remainder`, and how many have just that one.
fn rows(length: u32, remainder: u32) -> vec2<u32> {
    let all = length / p.stride;
    let more = length % p.stride;
    return vec2<u32>(remainder * all + min(remainder, more), all + select(0u, 1u, remainder < more));
}

fn each(i: u32) {
    let group = i % p.in_groups;
    let o = i / p.in_groups % p.out_channels;
    let tap = i / p.in_groups / p.out_channels;
    let o_group = o / 4u;
    let out_groups = p.out_channels / 4u;
    let taps = p.kernel_h * p.kernel_w;
    let at = weight_at((tap * p.in_groups + group) * 4u, o_group, taps * p.in_groups * 4u, out_groups) * 4u + o % 4u;
    let step = weight_row_stride(o_group, out_groups) * 4u;
    let v = vec4<f32>(w[at], w[at + step], w[at + 2u * step], w[at + 3u * step]);
    let ky = tap / p.kernel_w;
    let kx = tap % p.kernel_w;
    let along_y = rows(p.kernel_h, ky % p.stride);
    let along_x = rows(p.kernel_w, kx % p.stride);
    let phase = along_y.x * p.kernel_w + along_y.y * along_x.x;
    let moved = phase + ky / p.stride * along_x.y + kx / p.stride;
    exchanged[weight_at(moved * p.out_channels + o, group, taps * p.out_channels, p.in_groups)] = v;
}
