// Adds the chunks' sums of each image, in order: y = scale * sum over chunks of partial.
// partial: [N, chunks, C] in vec4, y: [N, C] or [N, 1, 1, C] in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,  // quads in y
    quads: u32,  // C / 4
    chunks: u32, // per image
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    var at = i / p.quads * p.chunks * p.quads + i % p.quads;
    var sum = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < p.chunks; chunk++) {
        sum += partial[at];
        at += p.quads;
    }
    y[i] = narrow(sum * p.scale);
}
