// Gradient of the mean cross-entropy of all pixels that count, whose share in the total loss is `weight`:
// dz = weight * (softmax(z) - onehot(label)) / counted; 0 where a pixel does not count.
#if scaled
// dz is multiplied by a scale [1], which keeps small gradients within f16 and is divided out before the optimiser's
// step.
#endif
//
// z, dz: [pixels, K] in quads, labels: [pixels], counted: [1]. i: a pixel.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,   // pixels
    classes: u32, // K
    quads: u32,   // K / 4
    ignored: u32, // label of pixels that do not count
    weight: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<Quad>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> counted: array<f32>;
@group(0) @binding(4) var<storage, read_write> dz: array<Quad>;
#if scaled
@group(0) @binding(5) var<storage, read> scale: array<f32>;
#endif

#include "pixels/softmax.wgsl"

fn each(i: u32) {
    let label = labels[i];
    let at = i * p.quads;
    if (label == p.ignored) {
        for (var quad = 0u; quad < p.quads; quad++) {
            dz[at + quad] = narrow(vec4<f32>(0.0));
        }
        return;
    }
    let top = largest(at).logit;
    let sum = exponentials(at, top);
    let factor = p.weight{{ " * scale[0]" if scaled else "" }} / max(counted[0], 1.0);
    for (var quad = 0u; quad < p.quads; quad++) {
        let share = exp(logits(at, quad) - top) / sum;
        let lanes = vec4<u32>(0u, 1u, 2u, 3u) + quad * 4u;
        let one = select(vec4<f32>(0.0), vec4<f32>(1.0), lanes == vec4<u32>(label));
        dz[at + quad] = narrow((share - one) * factor);
    }
}
