// y = activation(x * gate + shortcut): squeeze-and-excitation's scaling, the residual addition and its activation.
//
// x, shortcut, y: [N, H, W, C], in groups of 4 channels, gate: [N, C] in vec4. i: a group of x.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,        // groups in x
    groups: u32,       // C / 4
    image_groups: u32,   // groups in one image
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Group>;
@group(0) @binding(2) var<storage, read_write> y: array<Group>;
#if gate
@group(0) @binding(3) var<storage, read> gate: array<Full>;
#endif
#if shortcut
@group(0) @binding({{ 4 if gate else 3 }}) var<storage, read> shortcut: array<Group>;
#endif

fn each(i: u32) {
    var v = widen(x[i]);
#if gate
    v *= from_full(gate[i / p.image_groups * p.groups + i % p.groups]);
#endif
#if shortcut
    v += widen(shortcut[i]);
#endif
    y[i] = narrow(activate(v));
}
