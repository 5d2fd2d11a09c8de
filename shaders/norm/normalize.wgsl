// Batch norm, forward, step 3 of 3, and batch norm by running statistics:
//     y = activation((x - mean) * inverse_deviation * gamma + beta)
//
// x, y: [rows, C] in quads, vectors: [C] in vec4. i: a quad of {{ run }}
// rows, quads fastest, so that the vectors' numbers are loaded once for all of these rows.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32, // runs of rows * quads
    quads: u32, // C / 4
    rows: u32,  // of this dispatch
#if from_variance
    eps: f32,
#endif
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> gamma: array<Full>;
@group(0) @binding(3) var<storage, read> beta: array<Full>;
@group(0) @binding(4) var<storage, read> mean: array<Full>;
#if from_variance
@group(0) @binding(5) var<storage, read> variance: array<Full>;
#else
@group(0) @binding(5) var<storage, read> inverse_deviation: array<Full>;
#endif
@group(0) @binding(6) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    let c = i % p.quads;
#if from_variance
    let scale = from_full(gamma[c]) / sqrt(from_full(variance[c]) + p.eps);
#else
    let scale = from_full(gamma[c]) * from_full(inverse_deviation[c]);
#endif
    let m = from_full(mean[c]);
    let shift = from_full(beta[c]);
    let first_row = i / p.quads * {{ run }}u;
#for r in range(run)
    if (first_row + {{ r }}u < p.rows) {
        let at = (first_row + {{ r }}u) * p.quads + c;
        y[at] = narrow(activate((widen(x[at]) - m) * scale + shift));
    }
#endfor
}
