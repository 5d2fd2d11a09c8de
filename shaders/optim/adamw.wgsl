// AdamW (Loshchilov and Hutter 2019), as PyTorch computes it:
//     g = scale * gradient; m += new_mean * (g - m); v += new_square * (g^2 - v)
//     w -= lr_scale * lr * (weight_decay * w + (m / c1) / (sqrt(v / c2) + eps))
//
// Updates {{ tensors }} tensors. Each has a gradient, w, m and v, of one shape, in vec4; lr: [1]; corrections: c1 and
// c2. i: a vec4 of the tensors, one after another. Padding stays 0, since its gradient is 0.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in all tensors
    new_mean: f32, // share of the new gradient in m, and of its square in v
    new_square: f32,
    eps: f32,
#for t in range(tensors)
    count_{{ t }}: u32, // vec4 in w
    weight_decay_{{ t }}: f32,
    lr_scale_{{ t }}: f32,
#endfor
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> lr: array<f32>;
@group(0) @binding(2) var<storage, read> corrections: vec2<f32>;
#if scaled
@group(0) @binding(3) var<storage, read> scale: vec2<f32>; // of the gradients; whether to step at all
#endif
#set first = 4 if scaled else 3
#for t in range(tensors)
@group(0) @binding({{ first + 4 * t }}) var<storage, read> gradient_{{ t }}: array<Full>;
@group(0) @binding({{ first + 4 * t + 1 }}) var<storage, read_write> w_{{ t }}: array<Full>;
@group(0) @binding({{ first + 4 * t + 2 }}) var<storage, read_write> m_{{ t }}: array<Full>;
@group(0) @binding({{ first + 4 * t + 3 }}) var<storage, read_write> v_{{ t }}: array<Full>;
#endfor

struct Step {
    w: vec4<f32>,
    m: vec4<f32>,
    v: vec4<f32>,
}

fn step(gradient: vec4<f32>, now: Step, weight_decay: f32, lr_scale: f32) -> Step {
    let g = {{ "scale.x * " if scaled }}gradient;
    let m = now.m + p.new_mean * (g - now.m);
    let v = now.v + p.new_square * (g * g - now.v);
    let direction = (m / corrections.x) / (sqrt(v / corrections.y) + p.eps);
    return Step(now.w - lr_scale * lr[0] * (weight_decay * now.w + direction), m, v);
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
        let now = Step(from_full(w_{{ t }}[at]), from_full(m_{{ t }}[at]), from_full(v_{{ t }}[at]));
        let next = step(from_full(gradient_{{ t }}[at]), now, p.weight_decay_{{ t }}, p.lr_scale_{{ t }});
        w_{{ t }}[at] = to_full(next.w);
        m_{{ t }}[at] = to_full(next.m);
        v_{{ t }}[at] = to_full(next.v);
        return;
    }
    at -= p.count_{{ t }};
#endfor
}
