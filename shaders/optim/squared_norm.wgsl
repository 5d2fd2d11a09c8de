// Sum of (factor * x)^2 over each chunk of {{ tensors }} tensors x, one workgroup per chunk. Thread t adds up every
// 64th vec4 from t on; then one thread adds up the sums of all threads in order.
//
// Each x: in vec4, padding 0; factor: [1]; sums: one for each chunk, those of a tensor after those of the one before.
#include "shared/storage.wgsl"

struct Params {
    chunk: u32, // vec4 in a chunk
    first: u32, // index of the first sum
    count: u32, // chunks of all tensors
#for t in range(tensors)
    count_{{ t }}: u32, // vec4 in x
#endfor
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
#for t in range(tensors)
@group(0) @binding({{ 3 + t }}) var<storage, read> x_{{ t }}: array<Full>;
#endfor

var<workgroup> partial: array<f32, 64>;

// The sum of one thread's share of a chunk.
fn part(chunk: u32, thread: u32) -> f32 {
    var sum = 0.0;
    var begin = chunk * p.chunk;
#for t in range(tensors)
    if (begin < p.count_{{ t }}) {
        for (var i = begin + thread; i < min(begin + p.chunk, p.count_{{ t }}); i += 64u) {
            let v = factor[0] * from_full(x_{{ t }}[i]);
            sum += dot(v, v);
        }
        return sum;
    }
    begin -= (p.count_{{ t }} + p.chunk - 1u) / p.chunk * p.chunk;
#endfor
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let chunk = workgroup.y * workgroups.x + workgroup.x;
    if (chunk >= p.count) {
        return;
    }
    var sum = part(chunk, thread);
    partial[thread] = sum;
    workgroupBarrier();
    if (thread == 0u) {
        for (var other = 1u; other < 64u; other++) {
            sum += partial[other];
        }
        sums[p.first + chunk] = sum;
    }
}
