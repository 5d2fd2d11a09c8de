// dx = dy * activation'. The derivative is computed from `told_by`: the argument x for SiLU, the result y for the
// others.
// told_by, dy, dx: [N, C] in vec4. i: a vec4 of dx.
#include "shared/each.wgsl"
#if activation == "silu"
#include "shared/activation_grad.wgsl"
#endif

struct Params {
    count: u32, // vec4 in dx
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> told_by: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

fn each(i: u32) {
    let v = told_by[i];
#if activation == "silu"
    dx[i] = dy[i] * activation_derivative(v);
#elif activation == "sigmoid"
    dx[i] = dy[i] * v * (1.0 - v);
#elif activation == "relu"
    dx[i] = select(vec4<f32>(0.0), dy[i], v > vec4<f32>(0.0));
#else
    dx[i] = dy[i];
#endif
}
