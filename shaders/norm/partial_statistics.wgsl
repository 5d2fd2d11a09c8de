// Batch norm, forward, step 1 of 3: mean and sum of squared deviations of each chunk of rows, per channel.
//
// Deviations are taken from the chunk's first row, so that the two sums of one pass suffice without cancellation:
// with d = x - first, mean = first + sum(d) / n and M2 = sum(d * d) - sum(d)^2 / n.
//
// x: [rows, C] in vec4; partial: [chunks, 2, C] in vec4 (mean, M2). i: a channel group of a chunk, groups fastest.
#include "shared/each.wgsl"

struct Params {
    count: u32,       // chunks of this dispatch * groups
    groups: u32,      // C / 4
    rows: u32,        // of this dispatch
    chunk_rows: u32,
    first_chunk: u32, // where this dispatch's chunks start
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> partial: array<vec4<f32>>;

fn each(i: u32) {
    let group = i % p.groups;
    let chunk = i / p.groups;
    let begin = chunk * p.chunk_rows;
    let end = min(begin + p.chunk_rows, p.rows);
    let first = x[begin * p.groups + group];
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var row = begin + 1u; row < end; row++) {
        let d = x[row * p.groups + group] - first;
        sum += d;
        squares += d * d;
    }
    let n = f32(end - begin);
    let at = (p.first_chunk + chunk) * 2u * p.groups + group;
    partial[at] = first + sum / n;
    partial[at + p.groups] = max(squares - sum * sum / n, vec4<f32>(0.0));
}
