// dx = dy * scale * sigmoid(x) * sigmoid(-x) where sigmoid(x) >= floor, else 0.
//
// x, dy, dx: maps in quads. i: a quad.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads
    scale: f32,
    floor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read_write> dx: array<Quad>;

fn each(i: u32) {
    let v = widen(x[i]);
    let e = exp(-abs(v));
    let high = 1.0 / (1.0 + e);
    let low = e * high;
    let share = select(low, high, v > vec4<f32>(0.0));
    let slope = select(vec4<f32>(0.0), p.scale * high * low, share >= vec4<f32>(p.floor));
    dx[i] = narrow(widen(dy[i]) * slope);
}
