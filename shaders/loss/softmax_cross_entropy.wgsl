// Softmax cross-entropy with label smoothing, per row: loss = logsumexp(z) - sum over k of t[k] * z[k], with the target
// t = (1 - smoothing) * onehot(label) + smoothing / K. The largest logit is taken off before exponentiation.
//
// z: [N, K] in f32 with rows of `stride`, labels: [N], losses: [N]. i: a row.
#include "shared/each.wgsl"

struct Params {
    count: u32,     // N
    classes: u32,   // K
    stride: u32,    // K padded
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
#if mixed
// Where a picture is mixed of two: share * onehot(label) + (1 - share) * onehot(other).
@group(0) @binding(4) var<storage, read> others: array<u32>;
@group(0) @binding(5) var<storage, read> shares: array<f32>;
#endif

fn each(i: u32) {
    let row = i * p.stride;
    var largest = z[row];
    for (var k = 1u; k < p.classes; k++) {
        largest = max(largest, z[row + k]);
    }
    var exponentials = 0.0;
    var total = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let d = z[row + k] - largest;
        exponentials += exp(d);
        total += d;
    }
    var label = z[row + min(labels[i], p.classes - 1u)] - largest;
#if mixed
    let other = z[row + min(others[i], p.classes - 1u)] - largest;
    label = shares[i] * label + (1.0 - shares[i]) * other;
#endif
    losses[i] = log(exponentials) - (1.0 - p.smoothing) * label - p.smoothing / f32(p.classes) * total;
}
