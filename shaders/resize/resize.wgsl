// A map resized to another height and width. Nearest: pixel o is pixel floor(o * length / out) of the axis. Bilinear:
// it is the weighted sum of the two pixels around its position.
//
// x: [N, H, W, C], y: [N, OH, OW, C], in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#if filter == "bilinear"
#include "resize/position.wgsl"
#endif

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
#if filter == "bilinear"

// The pixels around a position.
struct Taps {
    pixels: vec2<u32>,
    share: f32, // of the second
}

fn taps(o: u32, length: u32, out: u32) -> Taps {
    let unit = 2u * out;
    let place = position(o, length, out);
    let first = place / unit;
    return Taps(vec2<u32>(first, min(first + 1u, length - 1u)), f32(place - first * unit) / f32(unit));
}
#endif

fn each(i: u32) {
    let pixel = i / p.quads;
    let c = i - pixel * p.quads;
    let line = pixel / p.out_w;
    let image = line / p.out_h;
    let oy = line - image * p.out_h;
    let ox = pixel - line * p.out_w;
#if filter == "nearest"
    y[i] = narrow(at(image * p.in_h + oy * p.in_h / p.out_h, ox * p.in_w / p.out_w, c));
#else
    let down = taps(oy, p.in_h, p.out_h);
    let across = taps(ox, p.in_w, p.out_w);
    let lines = image * p.in_h + down.pixels;
    let upper = mix(at(lines.x, across.pixels.x, c), at(lines.x, across.pixels.y, c), across.share);
    let lower = mix(at(lines.y, across.pixels.x, c), at(lines.y, across.pixels.y, c), across.share);
    y[i] = narrow(mix(upper, lower, down.share));
#endif
}
