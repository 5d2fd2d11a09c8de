// c += new * (1 - c) for two averages: the weight of all that each has seen since it started at 0. new: the share of
// the average that the next step replaces.
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    new_first: f32,
    new_second: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
#if scaled
@group(0) @binding(1) var<storage, read> scale: vec2<f32>; // its second number is 0 if the step is left out
#endif
@group(0) @binding({{ 2 if scaled else 1 }}) var<storage, read_write> corrections: vec2<f32>;

fn each(i: u32) {
#if scaled
    if (scale.y == 0.0) {
        return;
    }
#endif
    corrections += vec2<f32>(p.new_first, p.new_second) * (1.0 - corrections);
}
