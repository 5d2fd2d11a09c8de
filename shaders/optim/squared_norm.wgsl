// Sum of (factor * x)^2 over each chunk of x, one workgroup per chunk. Thread t adds up every 64th vec4 from t on; then
// one thread adds up all threads' sums in order.
//
// x: in vec4, padding 0; factor: [1]; sums: [n], in which this tensor's sums start at p.first.
#include "shared/storage.wgsl"

struct Params {
    count: u32, // vec4 in x
    chunk: u32, // vec4 in a chunk
    first: u32, // index of the tensor's first sum
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Full>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let chunk = workgroup.y * workgroups.x + workgroup.x;
    let begin = chunk * p.chunk;
    if (begin >= p.count) {
        return;
    }
    var sum = 0.0;
    for (var i = begin + thread; i < min(begin + p.chunk, p.count); i += 64u) {
        let v = factor[0] * from_full(x[i]);
        sum += dot(v, v);
    }
    partial[thread] = sum;
    workgroupBarrier();
    if (thread == 0u) {
        for (var other = 1u; other < 64u; other++) {
            sum += partial[other];
        }
        sums[p.first + chunk] = sum;
    }
}
