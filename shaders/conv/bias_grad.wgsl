// Gradient of a convolution's bias, step 1 of 2: per chunk of rows and channel, the sum of d. d = dy, or after a ReLU
// dy where the result y is above 0 and 0 elsewhere; then d is stored, since the other gradients start from it.
//
// dy, y, d: [rows, C] in quads, partial: [chunks, C] in vec4.
#include "shared/storage.wgsl"
#include "norm/chunks.wgsl"

@group(0) @binding(1) var<storage, read> dy: array<Quad>;
#if relu
@group(0) @binding(2) var<storage, read> y: array<Quad>;
@group(0) @binding(3) var<storage, read_write> d: array<Quad>;
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>;
#endif

fn sum_rows(c: u32, chunk_begin: u32, first: u32, end: u32) -> Sums {
    var sum = vec4<f32>(0.0);
    for (var row = first; row < end; row++) {
        let at = row * p.quads + c;
#if relu
        let gradient = select(vec4<f32>(0.0), widen(dy[at]), widen(y[at]) > vec4<f32>(0.0));
        d[at] = narrow(gradient);
#else
        let gradient = widen(dy[at]);
#endif
        sum += gradient;
    }
    return Sums(sum, vec4<f32>(0.0));
}

fn leave(sums: Sums, c: u32, chunk_begin: u32, end: u32, chunk: u32) {
    partial[chunk * p.quads + c] = sums.first;
}
