// Gradient of a resized map along one axis: each pixel gathers the gradients of the pixels that were made from it, so
// that no two invocations add to one number. Another path's gradient is added where there is one.
//
// dy: [.., out, step], dx, addend: [.., pixels, step], in quads: the axis, and all that lies between two of its pixels.
// i: a quad of dx.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#if filter == "bilinear"
#include "resize/position.wgsl"
#endif

struct Params {
    count: u32,  // quads in dx
    step: u32,   // quads from one pixel of the axis to the next
    pixels: u32, // of the axis in dx
    out: u32,    // pixels of the axis in dy
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Quad>;
@group(0) @binding(2) var<storage, read_write> dx: array<Quad>;
#if addend
@group(0) @binding(3) var<storage, read> addend: array<Quad>;
#endif

fn each(i: u32) {
    let place = i / p.step;
    let image = place / p.pixels;
    let pixel = place - image * p.pixels;
    let between = i - place * p.step;
    // Only these pixels of dy may be made from this pixel.
#if filter == "nearest"
    let first = (pixel * p.out + p.pixels - 1u) / p.pixels;
    let end = ((pixel + 1u) * p.out + p.pixels - 1u) / p.pixels;
#else
    let first = (max(2u * pixel, 1u) - 1u) * p.out / (2u * p.pixels);
    let end = select(min((2u * pixel + 3u) * p.out / (2u * p.pixels) + 1u, p.out), p.out, pixel + 1u == p.pixels);
    let unit = 2u * p.out;
    let here = pixel * unit;
#endif
    var sum = vec4<f32>(0.0);
    for (var o = first; o < end; o++) {
        let gradient = widen(dy[(image * p.out + o) * p.step + between]);
#if filter == "nearest"
        sum += gradient;
#else
        // The weight falls from 1 at the pixel to 0 at its neighbours. Past the last pixel there is none.
        let at = position(o, p.pixels, p.out);
        let distance = max(at, here) - min(at, here);
        let nearness = select(unit - min(distance, unit), unit, at > here && pixel + 1u == p.pixels);
        sum += f32(nearness) / f32(unit) * gradient;
#endif
    }
    dx[i] = narrow(sum{{ " + widen(addend[i])" if addend else "" }});
}
