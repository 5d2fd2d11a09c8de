// Stochastic gradient descent with momentum, as PyTorch defines it:
//     g = gradient + weight_decay * w; v = momentum * v + g; w -= lr_scale * lr * (nesterov ? g + momentum * v : v)
//
// gradient, w, v: the same shape, in vec4; lr: [1]. i: a vec4 of w. Padding stays 0, since its gradient is 0.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in w
    momentum: f32,
    weight_decay: f32,
    lr_scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<Full>;
@group(0) @binding(2) var<storage, read> lr: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<Full>;
@group(0) @binding(4) var<storage, read_write> v: array<Full>;
#if scaled
@group(0) @binding(5) var<storage, read> scale: vec2<f32>; // of the gradient; whether to step at all
#endif

fn each(i: u32) {
#if scaled
    if (scale.y == 0.0) {
        return;
    }
#endif
    let weight = from_full(w[i]);
    let g = {{ "scale.x * " if scaled }}from_full(gradient[i]) + p.weight_decay * weight;
    let velocity = p.momentum * from_full(v[i]) + g;
    v[i] = to_full(velocity);
    w[i] = to_full(weight - p.lr_scale * lr[0] * {{ "(g + p.momentum * velocity)" if nesterov else "velocity" }});
}
