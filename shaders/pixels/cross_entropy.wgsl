// Sums over chunks of pixels: the cross-entropy logsumexp(z) - z[label], whether the likeliest class is right, and
// whether the pixel counts at all. pixels/mean adds the chunks' sums.
//
// z: [pixels, K] in quads, labels: [pixels], sums: [chunks]. i: a chunk.
#include "shared/storage.wgsl"
#include "shared/team.wgsl"

struct Params {
    count: u32,        // chunks
    first: u32,        // index of the first sum
    pixels: u32,
    chunk_pixels: u32, // in every chunk but perhaps the last
    classes: u32,      // K
    quads: u32,        // K / 4
    ignored: u32,      // label of pixels that do not count
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<Quad>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> chunk_sums: array<vec4<f32>>;

#include "pixels/softmax.wgsl"

fn part(i: u32, member: u32) -> Sum {
    let end = min((i + 1u) * p.chunk_pixels, p.pixels);
    var sum = vec4<f32>(0.0);
    for (var pixel = i * p.chunk_pixels + member; pixel < end; pixel += {{ team }}u) {
        let label = labels[pixel];
        if (label == p.ignored) {
            continue;
        }
        let at = pixel * p.quads;
        let top = largest(at);
        let known = min(label, p.classes - 1u);
        let lanes = vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(known % 4u);
        let of_label = dot(select(vec4<f32>(0.0), logits(at, known / 4u), lanes), vec4<f32>(1.0));
        let loss = log(exponentials(at, top.logit)) - (of_label - top.logit);
        sum += vec4<f32>(loss, select(0.0, 1.0, label == top.of_class), 1.0, 0.0);
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    chunk_sums[p.first + i] = sum;
}
