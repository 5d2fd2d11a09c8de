// y = activation(x * gate + shortcut): squeeze-and-excitation's scaling, the residual addition and its activation.
//
// x, shortcut, y: [N, H, W, C] in quads, or without a gate any tensors of one shape; gate: [N, C] in vec4.
// i: a quad of x.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,       // quads in x
    quads: u32,       // C / 4
    image_quads: u32, // quads in one image
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;
#if gate
@group(0) @binding(3) var<storage, read> gate: array<Full>;
#endif
#if shortcut
@group(0) @binding({{ 4 if gate else 3 }}) var<storage, read> shortcut: array<Quad>;
#endif

fn each(i: u32) {
    var v = widen(x[i]);
#if gate
    v *= from_full(gate[i / p.image_quads * p.quads + i % p.quads]);
#endif
#if shortcut
    v += widen(shortcut[i]);
#endif
    y[i] = narrow(activate(v));
}
