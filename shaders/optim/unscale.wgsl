// unscaled = factor / loss_scale, both [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> loss_scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> unscaled: array<f32>;

fn each(i: u32) {
    unscaled[i] = factor[i] / loss_scale[i];
}
