// average += rate * (x - average): if x stays constant, the average reaches it exactly, whatever the rounding of the
// rate.
//
// Updates {{ tensors }} tensors. Each has x and its average, of one shape, in vec4; rate: [1]. i: a vec4 of the
// tensors, one after another.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // vec4 in all tensors
#for t in range(tensors)
    count_{{ t }}: u32, // vec4 in average
#endfor
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rate: array<f32>;
#for t in range(tensors)
@group(0) @binding({{ 2 + 2 * t }}) var<storage, read> x_{{ t }}: array<Full>;
@group(0) @binding({{ 3 + 2 * t }}) var<storage, read_write> average_{{ t }}: array<Full>;
#endfor

fn each(i: u32) {
    var at = i;
#for t in range(tensors)
    if (at < p.count_{{ t }}) {
        let old = from_full(average_{{ t }}[at]);
        average_{{ t }}[at] = to_full(old + rate[0] * (from_full(x_{{ t }}[at]) - old));
        return;
    }
    at -= p.count_{{ t }};
#endfor
}
