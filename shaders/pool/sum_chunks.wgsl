// Adds the chunks' sums of each image, in order: y = scale * sum over chunks of partial.
// partial: [N, chunks, C], y: [N, C], in vec4. i: a vec4 of y.
#include "shared/each.wgsl"

struct Params {
    count: u32,  // vec4 in y
    quads: u32,  // C / 4
    chunks: u32, // per image
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

fn each(i: u32) {
    var at = i / p.quads * p.chunks * p.quads + i % p.quads;
    var sum = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < p.chunks; chunk++) {
        sum += partial[at];
        at += p.quads;
    }
    y[i] = sum * p.scale;
}
