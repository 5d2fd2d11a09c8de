// Gradient of the mean softmax cross-entropy, whose share in the total loss is `weight`:
// dz = weight * (softmax(z) - t) / N, t = (1 - smoothing) * onehot(label) + smoothing / K.
#if scaled
// dz is multiplied by a scale [1], which keeps small gradients within f16 and is divided out before the optimiser's
// step.
#endif
//
// z, dz: [N, K] in f32 with rows of `stride`, labels: [N]. i: a row. Padding receives 0.
#include "shared/each.wgsl"

struct Params {
    count: u32,   // N
    classes: u32, // K
    stride: u32,  // K padded
    smoothing: f32,
    weight: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> dz: array<f32>;
#if mixed
// Target of a picture that is mixed from two: share * onehot(label) + (1 - share) * onehot(other).
@group(0) @binding(4) var<storage, read> others: array<u32>;
@group(0) @binding(5) var<storage, read> shares: array<f32>;
#endif
#if scaled
@group(0) @binding({{ 6 if mixed else 4 }}) var<storage, read> scale: array<f32>;
#endif

fn each(i: u32) {
    let row = i * p.stride;
    var largest = z[row];
    for (var k = 1u; k < p.classes; k++) {
        largest = max(largest, z[row + k]);
    }
    var exponentials = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        exponentials += exp(z[row + k] - largest);
    }
    for (var k = 0u; k < p.stride; k++) {
        let softmax = exp(z[row + k] - largest) / exponentials;
#if mixed
        let share = select(0.0, shares[i], k == labels[i]) + select(0.0, 1.0 - shares[i], k == others[i]);
#else
        let share = select(0.0, 1.0, k == labels[i]);
#endif
        let target_probability = p.smoothing / f32(p.classes) + (1.0 - p.smoothing) * share;
        let gradient = (softmax - target_probability) / f32(p.count) * p.weight{{ " * scale[0]" if scaled else "" }};
        dz[row + k] = select(0.0, gradient, k < p.classes);
    }
}
