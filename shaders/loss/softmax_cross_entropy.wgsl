// Softmax cross-entropy with label smoothing, per row: loss = logsumexp(z) - sum over k of t[k] * z[k], with the target
// t = (1 - smoothing) * onehot(label) + smoothing / K. The largest logit is subtracted before exponentiation. The
// kernel also computes top-1: 1 where the label is the likeliest class (the first among equals), else 0.
//
// z: [N, K] in f32 with rows of `stride`, labels: [N], of_rows: [N, 2], the loss and top-1. i: a row.
#include "shared/each.wgsl"

struct Params {
    count: u32,   // N
    classes: u32, // K
    stride: u32,  // K padded
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> of_rows: array<vec2<f32>>;
#if mixed
// Target of a picture that is mixed from two: share * onehot(label) + (1 - share) * onehot(other).
@group(0) @binding(4) var<storage, read> others: array<u32>;
@group(0) @binding(5) var<storage, read> shares: array<f32>;
#endif

fn each(i: u32) {
    let row = i * p.stride;
    var largest = z[row];
    var likeliest = 0u;
    for (var k = 1u; k < p.classes; k++) {
        if (z[row + k] > largest) {
            largest = z[row + k];
            likeliest = k;
        }
    }
    var exponentials = 0.0;
    var total = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let d = z[row + k] - largest;
        exponentials += exp(d);
        total += d;
    }
    var label = z[row + min(labels[i], p.classes - 1u)] - largest;
    var top1 = select(0.0, 1.0, labels[i] == likeliest);
#if mixed
    let other = z[row + min(others[i], p.classes - 1u)] - largest;
    label = mix(other, label, shares[i]);
    top1 = mix(select(0.0, 1.0, others[i] == likeliest), top1, shares[i]);
#endif
    let loss = log(exponentials) - (1.0 - p.smoothing) * label - p.smoothing / f32(p.classes) * total;
    of_rows[i] = vec2<f32>(loss, top1);
}
