// Largest value of 3x3 windows with stride 2; a border of one pixel around the map is never the largest.
//
// x: [N, H, W, C], y: [N, OH, OW, C], in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads in y
    quads: u32, // C / 4
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    let c = i % p.quads;
    let pixel = i / p.quads;
    let n = pixel / p.out_w / p.out_h;
    // A pixel of the border stands for its neighbour within the map, which is in the window too.
    let iy = i32(pixel / p.out_w % p.out_h * 2u) - 1;
    let ix = i32(pixel % p.out_w * 2u) - 1;
    var largest = vec4<f32>(-3.4028234e38);
#for ky in range(3)
    let line{{ ky }} = (n * p.in_h + u32(clamp(iy + {{ ky }}, 0, i32(p.in_h) - 1))) * p.in_w;
#for kx in range(3)
    largest = max(largest, widen(x[(line{{ ky }} + u32(clamp(ix + {{ kx }}, 0, i32(p.in_w) - 1))) * p.quads + c]));
#endfor
#endfor
    y[i] = narrow(largest);
}
