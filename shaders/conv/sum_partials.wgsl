// Adds partial results in order and applies the epilogue that their kernel has left out:
// y[i] = epilogue(sum over r of partial[r, i]). For weight gradients in runs and convolutions in splits.
// i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,     // quads in y
    splits: u32,
    image: u32,     // quads in an image of y
    out_quads: u32, // channels of y / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<Full>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;
#set out_quads, first_binding = "p.out_quads", 3
#include "conv/epilogue.wgsl"

fn each(i: u32) {
    var sum = vec4<f32>(0.0);
    for (var r = 0u; r < p.splits; r++) {
        sum += from_full(partial[r * p.count + i]);
    }
    y[i] = narrow(finish(sum, i / p.image, i % p.out_quads, i));
}
