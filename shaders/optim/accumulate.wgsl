// sum = keep > 0 ? sum + gradient : gradient. The first part of a batch overwrites the sum, so that no NaN of an
// earlier step remains.
//
// Updates {{ tensors }} tensors. Each has a gradient and its sum, of one shape, in vec4; keep: [1]. i: a vec4 of the
// tensors, one after another.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in all tensors
#for t in range(tensors)
    count_{{ t }}: u32, // vec4 in sum
#endfor
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> keep: array<f32>;
#for t in range(tensors)
@group(0) @binding({{ 2 + 2 * t }}) var<storage, read> gradient_{{ t }}: array<Full>;
@group(0) @binding({{ 3 + 2 * t }}) var<storage, read_write> sum_{{ t }}: array<Full>;
#endfor

fn each(i: u32) {
    var at = i;
#for t in range(tensors)
    if (at < p.count_{{ t }}) {
        let g = from_full(gradient_{{ t }}[at]);
        sum_{{ t }}[at] = to_full(select(g, from_full(sum_{{ t }}[at]) + g, keep[0] > 0.0));
        return;
    }
    at -= p.count_{{ t }};
#endfor
}
