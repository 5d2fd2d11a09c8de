// Mean over height and width. Maps of one chunk take one step. For larger maps this kernel stores each chunk's sum, and
// pool/sum_chunks adds the sums.
//
// x: [N, H, W, C] in quads, y: [N, C] or the chunks' sums [N, chunks, C] in vec4, or [N, 1, 1, C] in quads. i: a vec4
// or quad of y.
#include "shared/storage.wgsl"
#include "shared/team.wgsl"

struct Params {
    count: u32,  // vec4 in y
    quads: u32,  // C / 4
    pixels: u32, // H * W
    chunk_pixels: u32,
    chunks: u32, // per image
    scale: f32,  // 1 / (H * W) in one step, 1 for chunks' sums
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<{{ "Quad" if to_map else "vec4<f32>" }}>;

fn part(i: u32, member: u32) -> Sum {
    let chunk = i / p.quads % p.chunks;
    let n = i / p.quads / p.chunks;
    let end = min((chunk + 1u) * p.chunk_pixels, p.pixels);
    var sum = vec4<f32>(0.0);
    for (var pixel = chunk * p.chunk_pixels + member; pixel < end; pixel += {{ team }}u) {
        sum += widen(x[(n * p.pixels + pixel) * p.quads + i % p.quads]);
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    y[i] = {{ "narrow(sum * p.scale)" if to_map else "sum * p.scale" }};
}
