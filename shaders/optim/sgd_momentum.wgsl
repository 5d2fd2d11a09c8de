// Stochastic gradient descent with momentum, as PyTorch defines it:
//     g = gradient + weight_decay * w; v = momentum * v + g; w -= lr_scale * lr * (nesterov ? g + momentum * v : v)
//
// Updates {{ tensors }} tensors. Each has a gradient, w and v, of one shape, in vec4; lr: [1]. i: a vec4 of the
// tensors, one after another. Padding stays 0, since its gradient is 0.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in all tensors
    momentum: f32,
#for t in range(tensors)
    count_{{ t }}: u32, // vec4 in w
    weight_decay_{{ t }}: f32,
    lr_scale_{{ t }}: f32,
#endfor
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> lr: array<f32>;
#if scaled
@group(0) @binding(2) var<storage, read> scale: vec2<f32>; // of the gradients; whether to step at all
#endif
#set first = 3 if scaled else 2
#for t in range(tensors)
@group(0) @binding({{ first + 3 * t }}) var<storage, read> gradient_{{ t }}: array<Full>;
@group(0) @binding({{ first + 3 * t + 1 }}) var<storage, read_write> w_{{ t }}: array<Full>;
@group(0) @binding({{ first + 3 * t + 2 }}) var<storage, read_write> v_{{ t }}: array<Full>;
#endfor

struct Step {
    w: vec4<f32>,
    v: vec4<f32>,
}

fn step(gradient: vec4<f32>, w: vec4<f32>, v: vec4<f32>, weight_decay: f32, lr_scale: f32) -> Step {
    let g = {{ "scale.x * " if scaled }}gradient + weight_decay * w;
    let velocity = p.momentum * v + g;
    return Step(w - lr_scale * lr[0] * {{ "(g + p.momentum * velocity)" if nesterov else "velocity" }}, velocity);
}

fn each(i: u32) {
#if scaled
    if (scale.y == 0.0) {
        return;
    }
#endif
    var at = i;
#for t in range(tensors)
    if (at < p.count_{{ t }}) {
        let next = step(
            from_full(gradient_{{ t }}[at]), from_full(w_{{ t }}[at]), from_full(v_{{ t }}[at]),
            p.weight_decay_{{ t }}, p.lr_scale_{{ t }},
        );
        w_{{ t }}[at] = to_full(next.w);
        v_{{ t }}[at] = to_full(next.v);
        return;
    }
    at -= p.count_{{ t }};
#endfor
}
