// Stochastic gradient descent with momentum, as PyTorch defines it:
//     g = gradient + weight_decay * w; v = momentum * v + g; w -= lr * (nesterov ? g + momentum * v : v)
//
// gradient, w, v: the same shape, in vec4; lr: [1]. i: a vec4 of w. Padding stays 0, since its gradient is 0.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in w
    momentum: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lr: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;

fn each(i: u32) {
    let g = gradient[i] + p.weight_decay * w[i];
    let velocity = p.momentum * v[i] + g;
    v[i] = velocity;
#if nesterov
    w[i] -= lr[0] * (g + p.momentum * velocity);
#else
    w[i] -= lr[0] * velocity;
#endif
}
