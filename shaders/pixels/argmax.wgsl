// The likeliest class of each pixel, the first of equally likely ones.
//
// z: [pixels, K] in quads, likeliest: [pixels]. i: a pixel.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,   // pixels
    classes: u32, // K
    quads: u32,   // K / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<Quad>;
@group(0) @binding(2) var<storage, read_write> likeliest: array<u32>;

#include "pixels/largest.wgsl"

fn each(i: u32) {
    likeliest[i] = largest(i * p.quads).of_class;
}
