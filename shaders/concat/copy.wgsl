// Copies a run of each pixel's channels to another map: joins maps by their channels, one launch a map, or takes some
// channels out.
//
// x: [N, H, W, C], y: [N, H, W, D], in quads. i: a copied quad.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,   // copied quads
    quads: u32,   // of a pixel that are copied
    x_quads: u32, // C / 4
    x_first: u32, // first quad of a pixel to read
    y_quads: u32, // D / 4
    y_first: u32, // first quad of a pixel to write
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    let pixel = i / p.quads;
    let c = i % p.quads;
    y[pixel * p.y_quads + p.y_first + c] = narrow(widen(x[pixel * p.x_quads + p.x_first + c]));
}
