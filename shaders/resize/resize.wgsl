// A map resized to another height and width.
//
// x: [N, H, W, C], y: [N, OH, OW, C], in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "resize/taps.wgsl"

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

fn at(line: u32, pixel: u32, c: u32) -> vec4<f32> {
    return widen(x[(line * p.in_w + pixel) * p.quads + c]);
}

fn each(i: u32) {
    let c = i % p.quads;
    let pixel = i / p.quads;
    let first_line = pixel / p.out_w / p.out_h * p.in_h;
    let down = taps(pixel / p.out_w % p.out_h, p.in_h, p.out_h);
    let across = taps(pixel % p.out_w, p.in_w, p.out_w);
    let lines = first_line + down.pixels;
#if filter == "nearest"
    y[i] = narrow(at(lines.x, across.pixels.x, c));
#else
    let upper = mix(at(lines.x, across.pixels.x, c), at(lines.x, across.pixels.y, c), across.share);
    let lower = mix(at(lines.y, across.pixels.x, c), at(lines.y, across.pixels.y, c), across.share);
    y[i] = narrow(mix(upper, lower, down.share));
#endif
}
