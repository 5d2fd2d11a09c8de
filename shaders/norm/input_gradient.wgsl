// Batch norm, backward, step 3 of 3: dx = gamma * inverse_deviation * (d - dbeta / M - xhat * dgamma / M), where
// xhat = (x - mean) * inverse_deviation, d = dy * activation'(xhat * gamma + beta), and M is the number of rows.
// Step 2 has left dbeta / M and dgamma / M in `mean_gradient`. Running statistics are constants:
// dx = gamma * inverse_deviation * d, with inverse_deviation = 1 / sqrt(variance + eps).
//
// x, dy, dx: [rows, C] in quads, vectors: [C], mean_gradient: [2, C], in vec4. i: a quad of {{ run }} rows,
// quads fastest, so that the vectors' numbers are loaded once for all of these rows.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation_grad.wgsl"

struct Params {
    count: u32, // runs of rows * quads
    quads: u32, // C / 4
    rows: u32,  // of this dispatch
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read> gamma: array<Full>;
@group(0) @binding(4) var<storage, read> beta: array<Full>;
@group(0) @binding(5) var<storage, read> mean: array<Full>;
#if running
@group(0) @binding(6) var<storage, read> variance: array<Full>;
#else
@group(0) @binding(6) var<storage, read> inverse_deviation: array<Full>;
#endif
#if running
@group(0) @binding(7) var<storage, read_write> dx: array<Quad>;
#else
@group(0) @binding(7) var<storage, read> mean_gradient: array<Full>;
@group(0) @binding(8) var<storage, read_write> dx: array<Quad>;
#endif

fn each(i: u32) {
    let c = i % p.quads;
    let first_row = i / p.quads * {{ run }}u;
    let m = from_full(mean[c]);
#if running
    let inverse = 1.0 / sqrt(from_full(variance[c]) + p.eps);
#else
    let inverse = from_full(inverse_deviation[c]);
#endif
    let scale = from_full(gamma[c]);
    let shift = from_full(beta[c]);
#if not running
    let mean_d = from_full(mean_gradient[c]);
    let mean_d_xhat = from_full(mean_gradient[c + p.quads]);
#endif
#for r in range(run)
    if (first_row + {{ r }}u < p.rows) {
        let at = (first_row + {{ r }}u) * p.quads + c;
        let xhat = (widen(x[at]) - m) * inverse;
        let d = widen(dy[at]) * activation_derivative(xhat * scale + shift);
#if running
        dx[at] = narrow(scale * inverse * d);
#else
        dx[at] = narrow(scale * inverse * (d - mean_d - xhat * mean_d_xhat));
#endif
    }
#endfor
}
