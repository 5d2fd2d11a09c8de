// Number, mean and squared deviations of each chunk of pixels; depth/loss merges the chunks.
//
// predictions: [pixels] in quads, of which the first number counts, truths: [pixels], moments: [chunks]. i: a chunk.
#set own_sum = true
#include "shared/storage.wgsl"
#include "shared/team.wgsl"
#include "depth/moments.wgsl"

struct Params {
    count: u32,        // chunks
    first: u32,        // index of the first chunk's moments
    pixels: u32,
    chunk_pixels: u32, // in every chunk but perhaps the last
    margin: f32,       // added to depths
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> predictions: array<Quad>;
@group(0) @binding(2) var<storage, read> truths: array<f32>;
@group(0) @binding(3) var<storage, read_write> moments: array<vec4<f32>>;

#include "depth/deviation.wgsl"

fn part(i: u32, member: u32) -> Sum {
    let end = min((i + 1u) * p.chunk_pixels, p.pixels);
    var sum: Sum;
    for (var pixel = i * p.chunk_pixels + member; pixel < end; pixel += {{ team }}u) {
        let truth = truths[pixel];
        if (known(truth)) {
            sum = join(sum, Sum(deviation(widen(predictions[pixel]).x, truth), 0.0, 1.0));
        }
    }
    return sum;
}

fn leave(i: u32, sum: Sum) {
    moments[p.first + i] = vec4<f32>(sum.mean, sum.m2, sum.pixels, 0.0);
}
