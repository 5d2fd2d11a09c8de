// Each pixel receives its window's gradient over the window's pixel count, plus another path's gradient where there is one.
// dy: [N, ceil(H / 2), ceil(W / 2), C], dx, addend: [N, H, W, C], in quads. i: a quad of dx.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads in dx
    quads: u32, // C / 4
    in_h: u32,
    in_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Quad>;
@group(0) @binding(2) var<storage, read_write> dx: array<Quad>;
#if addend
@group(0) @binding(3) var<storage, read> addend: array<Quad>;
#endif

fn each(i: u32) {
    let out_h = (p.in_h + 1u) / 2u;
    let out_w = (p.in_w + 1u) / 2u;
    let pixel = i / p.quads;
    let n = pixel / (p.in_h * p.in_w);
    let oy = pixel / p.in_w % p.in_h / 2u;
    let ox = pixel % p.in_w / 2u;
    let window = min(2u, p.in_h - oy * 2u) * min(2u, p.in_w - ox * 2u);
    let d = widen(dy[((n * out_h + oy) * out_w + ox) * p.quads + i % p.quads]);
    dx[i] = narrow(d / f32(window){{ " + widen(addend[i])" if addend else "" }});
}
