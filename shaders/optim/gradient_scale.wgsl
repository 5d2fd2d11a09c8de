// With norm = sqrt(total): scale = factor * min(1, max_norm / (norm + 1e-6)), as PyTorch clips, and whether to step.
// Infinities and NaNs are told by their exponent's bits, since compilers may take it that no float is either.
//
// total, factor, norm: [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> total: array<f32>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> norm: array<f32>;

fn each(i: u32) {
    let n = sqrt(total[i]);
    norm[i] = n;
    let clipped = factor[i] * min(1.0, p.max_norm / (n + 1e-6));
    let finite = (bitcast<u32>(total[i]) & 0x7f800000u) != 0x7f800000u;
    scale[i] = select(vec2<f32>(0.0), vec2<f32>(clipped, 1.0), finite);
}
