// Batch norm, forward, step 3 of 3, and batch norm by running statistics:
//     y = activation((x - mean) * inverse_deviation * gamma + beta)
//
// x, y: [rows, C] in groups of 4 channels, vectors: [C] in vec4. i: a channel group of {{ run }}
// rows, groups fastest, so that what belongs to the channel is loaded once for all of them.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,  // runs of rows * groups
    groups: u32, // C / 4
    rows: u32,   // of this dispatch
#if from_variance
    eps: f32,
#endif
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Group>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mean: array<vec4<f32>>;
#if from_variance
@group(0) @binding(5) var<storage, read> variance: array<vec4<f32>>;
#else
@group(0) @binding(5) var<storage, read> inverse_deviation: array<vec4<f32>>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<Group>;

fn each(i: u32) {
    let c = i % p.groups;
#if from_variance
    let scale = gamma[c] / sqrt(variance[c] + p.eps);
#else
    let scale = gamma[c] * inverse_deviation[c];
#endif
    let m = mean[c];
    let shift = beta[c];
    let first_row = i / p.groups * {{ run }}u;
#for r in range(run)
    if (first_row + {{ r }}u < p.rows) {
        let at = (first_row + {{ r }}u) * p.groups + c;
        y[at] = narrow(activate((widen(x[at]) - m) * scale + shift));
    }
#endfor
}
