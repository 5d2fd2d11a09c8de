// Batch norm, backward, step 3 of 3: dx = gamma * inverse_deviation * (d - dbeta / M - xhat * dgamma / M), where
// xhat = (x - mean) * inverse_deviation, d = dy * activation'(xhat * gamma + beta), and M is the number of rows.
// Step 2 has left dbeta / M and dgamma / M in `mean_gradient`.
//
// x, dy, dx: [rows, C], vectors: [C], mean_gradient: [2, C], in vec4. i: a vec4 of x.
#include "shared/each.wgsl"
#include "shared/activation_grad.wgsl"

struct Params {
    count: u32,  // vec4 in x
    groups: u32, // C / 4
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> mean: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> inverse_deviation: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> mean_gradient: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> dx: array<vec4<f32>>;

fn each(i: u32) {
    let c = i % p.groups;
    let xhat = (x[i] - mean[c]) * inverse_deviation[c];
    let d = dy[i] * activation_derivative(xhat * gamma[c] + beta[c]);
    dx[i] = gamma[c] * inverse_deviation[c] * (d - mean_gradient[c] - xhat * mean_gradient[c + p.groups]);
}
