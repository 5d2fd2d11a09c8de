// y = activation(x * gate + shortcut): squeeze-and-excitation's scaling, the residual addition and its activation.
//
// x, shortcut, y: [N, H, W, C], gate: [N, C], in vec4. i: a vec4 of x.
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,        // vec4 in x
    groups: u32,       // C / 4
    image_vec4: u32,   // vec4 in one image
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
#if gate
@group(0) @binding(3) var<storage, read> gate: array<vec4<f32>>;
#endif
#if shortcut
@group(0) @binding({{ 4 if gate else 3 }}) var<storage, read> shortcut: array<vec4<f32>>;
#endif

fn each(i: u32) {
    var v = x[i];
#if gate
    v *= gate[i / p.image_vec4 * p.groups + i % p.groups];
#endif
#if shortcut
    v += shortcut[i];
#endif
    y[i] = activate(v);
}
