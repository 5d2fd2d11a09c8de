// Stochastic gradient descent with momentum, as PyTorch defines it:
//     g = gradient + weight_decay * w; v = momentum * v + g; w -= lr_scale * lr * (nesterov ? g + momentum * v : v)
//
// gradient, w, v: the same shape, in vec4; lr: [1]. i: a vec4 of w. Padding stays 0, since its gradient is 0.
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in w
    momentum: f32,
    weight_decay: f32,
    lr_scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lr: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4<f32>>;
#if scaled
@group(0) @binding(5) var<storage, read> scale: vec2<f32>; // of the gradient; whether to step at all
#endif

fn each(i: u32) {
#if scaled
    if (scale.y == 0.0) {
        return;
    }
    let g = scale.x * gradient[i] + p.weight_decay * w[i];
#else
    let g = gradient[i] + p.weight_decay * w[i];
#endif
    let velocity = p.momentum * v[i] + g;
    v[i] = velocity;
#if nesterov
    w[i] -= p.lr_scale * lr[0] * (g + p.momentum * velocity);
#else
    w[i] -= p.lr_scale * lr[0] * velocity;
#endif
}
