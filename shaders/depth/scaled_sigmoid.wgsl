// y = scale * max(sigmoid(x), floor).
//
// x, y: maps in quads. i: a quad.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads
    scale: f32,
    floor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    y[i] = narrow(p.scale * max(1.0 / (1.0 + exp(-widen(x[i]))), vec4<f32>(p.floor)));
}
