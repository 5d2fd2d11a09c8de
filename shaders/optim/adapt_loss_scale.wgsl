// The loss scale of the next step: halved if gradients have overflowed, doubled after growth_steps steps without an
// overflow. It stays a power of two, so that multiplying and dividing gradients by it does not round.
//
// clip: [2], its second number 0 where gradients were not finite; loss_scale, steps: [1].
#include "shared/each.wgsl"

struct Params {
    count: u32, // 1
    growth_steps: f32,
    least: f32,
    most: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> clip: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> loss_scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> steps: array<f32>;

fn each(i: u32) {
    let finite = clip[i].y != 0.0;
    let now = select(0.0, steps[i] + 1.0, finite);
    let grows = now >= p.growth_steps;
    let factor = select(0.5, select(1.0, 2.0, grows), finite);
    loss_scale[i] = clamp(loss_scale[i] * factor, p.least, p.most);
    steps[i] = select(now, 0.0, grows);
}
