// y = x * mask / (1 - rate): dropout of single elements, or of whole samples for stochastic depth.
// The mask depends on seed, step, stream and position alone, so the backward pass repeats it.
//
// x, y: [N, H, W, C] or [N, C] in quads, clock: seed, step. i: a quad of x.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/random.wgsl"

struct Params {
    count: u32,     // quads in x
    quads: u32,     // C / 4
    channels: u32,  // C without padding: positions count real elements only
    pixels: u32,    // H * W
    first: u32,     // first picture of these
    stream: u32,
    threshold: u32, // rate * 2^24: an element survives if its 24 random bits reach it
    scale: f32,     // 1 / (1 - rate)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<Quad>;

fn kept(position: u32) -> f32 {
    let bits = random_bits(clock[0], clock[1], p.stream, position) >> 8u;
    return select(0.0, p.scale, bits >= p.threshold);
}

fn each(i: u32) {
    let pixel = p.first * p.pixels + i / p.quads;
#if per_sample
    y[i] = narrow(widen(x[i]) * kept(pixel / p.pixels));
#else
    let c = pixel * p.channels + i % p.quads * 4u;
    y[i] = narrow(widen(x[i]) * vec4<f32>(kept(c), kept(c + 1u), kept(c + 2u), kept(c + 3u)));
#endif
}
