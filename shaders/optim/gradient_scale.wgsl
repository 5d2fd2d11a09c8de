// With norm = sqrt(sum of all sums): scale = factor * min(1, max_norm / (norm + 1e-6)), as PyTorch clips. The second
// result is whether to step: 0 if the sum is infinite or NaN, else 1. The bits of the exponent show this, since
// compilers may assume that no float is infinite or NaN.
//
// squares: [n], sums of squares; factor, norm: [1].
alias Sum = f32;

fn join(a: f32, b: f32) -> f32 {
    return a + b;
}

#set own_sum = true
#include "shared/team.wgsl"

struct Params {
    count: u32, // 1
    sums: u32,  // n
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> squares: array<f32>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> norm: array<f32>;

fn part(i: u32, member: u32) -> f32 {
    var sum = 0.0;
    for (var n = member; n < p.sums; n += {{ team }}u) {
        sum += squares[n];
    }
    return sum;
}

fn leave(i: u32, total: f32) {
    let n = sqrt(total);
    norm[i] = n;
    let clipped = factor[i] * min(1.0, p.max_norm / (n + 1e-6));
    let finite = (bitcast<u32>(total) & 0x7f800000u) != 0x7f800000u;
    scale[i] = select(vec2<f32>(0.0), vec2<f32>(clipped, 1.0), finite);
}
