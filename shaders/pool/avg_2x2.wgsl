// Mean over 2x2 windows with stride 2; a window cut short by the border averages the pixels it has.
// x: [N, H, W, C], y: [N, ceil(H / 2), ceil(W / 2), C], in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads in y
    quads: u32, // C / 4
    in_h: u32,
    in_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    let out_h = (p.in_h + 1u) / 2u;
    let out_w = (p.in_w + 1u) / 2u;
    let pixel = i / p.quads;
    let n = pixel / (out_h * out_w);
    let y0 = pixel / out_w % out_h * 2u;
    let x0 = pixel % out_w * 2u;
    let y1 = min(y0 + 2u, p.in_h);
    let x1 = min(x0 + 2u, p.in_w);
    var sum = vec4<f32>(0.0);
    for (var iy = y0; iy < y1; iy++) {
        for (var ix = x0; ix < x1; ix++) {
            sum += widen(x[((n * p.in_h + iy) * p.in_w + ix) * p.quads + i % p.quads]);
        }
    }
    y[i] = narrow(sum / f32((y1 - y0) * (x1 - x0)));
}
