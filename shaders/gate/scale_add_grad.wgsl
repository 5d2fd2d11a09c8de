// Gradient of y = activation(x * gate + shortcut). With d = dy * activation'(x * gate + shortcut):
//     dx = d * gate, dgate = sum over H, W of d * x, dshortcut = d.
#if result
// The derivative is computed from y, whose sign is that of x * gate + shortcut.
#endif
//
// x, shortcut, y and the gradients: [N, H, W, C] in quads, or without a gate any tensors of one shape;
// gate, dgate: [N, C] in vec4.
#if gate
// For maps of one chunk, dgate is summed in one step. For larger maps this kernel stores the sums of chunks, [N,
// chunks, C], and pool/sum_chunks adds them. i: a quad of a chunk of an image's pixels, which the team walks.
#else
// i: a quad of x. Without a gate, dx is also dshortcut.
#endif
#include "shared/storage.wgsl"
#if gate
#include "shared/team.wgsl"
#else
#include "shared/each.wgsl"
#endif
#include "shared/activation_grad.wgsl"

struct Params {
    count: u32,  // values of i
    quads: u32,  // C / 4
#if gate
    pixels: u32, // H * W
    chunk_pixels: u32,
    chunks: u32, // per image
#endif
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Quad>;
@group(0) @binding(2) var<storage, read> x: array<Quad>;
@group(0) @binding(3) var<storage, read_write> dx: array<Quad>;
#if gate
@group(0) @binding(4) var<storage, read> gate: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dgate: array<vec4<f32>>;
#endif
#if result
@group(0) @binding({{ 6 if gate else 4 }}) var<storage, read> y: array<Quad>;
#elif shortcut
@group(0) @binding({{ 6 if gate else 4 }}) var<storage, read> shortcut: array<Quad>;
#endif
#if gate and shortcut
@group(0) @binding(7) var<storage, read_write> dshortcut: array<Quad>;
#endif

#if gate
fn part(i: u32, member: u32) -> Sum {
    let c = i % p.quads;
    let chunk = i / p.quads % p.chunks;
    let n = i / p.quads / p.chunks;
    let scale = gate[n * p.quads + c];
    let end = min((chunk + 1u) * p.chunk_pixels, p.pixels);
    var sum = vec4<f32>(0.0);
    for (var pixel = chunk * p.chunk_pixels + member; pixel < end; pixel += {{ team }}u) {
        let at = (n * p.pixels + pixel) * p.quads + c;
        let v = widen(x[at]);
#if result
        let d = widen(dy[at]) * activation_derivative(widen(y[at]));
#else
        let d = widen(dy[at]) * activation_derivative(v * scale{{ " + widen(shortcut[at])" if shortcut else "" }});
#endif
        sum += d * v;
        dx[at] = narrow(d * scale);
#if shortcut
        dshortcut[at] = narrow(d);
#endif
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    dgate[i] = sum;
}
#else
fn each(i: u32) {
#if result
    dx[i] = narrow(widen(dy[i]) * activation_derivative(widen(y[i])));
#else
    dx[i] = narrow(widen(dy[i]) * activation_derivative(widen(x[i]){{ " + widen(shortcut[i])" if shortcut else "" }}));
#endif
}
#endif
