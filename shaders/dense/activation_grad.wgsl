// dx = dy * activation', the derivative taken from the result y. y, dy, dx: [N, C] in vec4. i: a vec4 of y.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in y
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

fn each(i: u32) {
#if activation == "relu"
    dx[i] = select(vec4<f32>(0.0), dy[i], y[i] > vec4<f32>(0.0));
#else
    dx[i] = dy[i] * y[i] * (1.0 - y[i]); // sigmoid
#endif
}
