// Winograd's transform of kernels: u[p, i, o] = (G w[.., i, o] Gt)[p] for the {{ (m + 2) * (m + 2) }} positions p;
// src/graph/op/winograd.rs has the matrices.
#if flipped
// For the input gradient, the kernel is rotated by 180 degrees and its channels are exchanged. i: four input channels
// of an output channel.
#else
// i: an input channel and a quad of output channels.
#endif
#if rolled
// Rows and columns move through loops whose length the driver does not know, so that it does not unroll them: it takes
// long to compile each load and store of the text.
#endif
//
// w: [3, 3, Ci, Co], u: [{{ (m + 2) * (m + 2) }}, 1, {{ "Co, Ci" if flipped else "Ci, Co" }}], as shared/weights.wgsl
// lays them out.
#set n = m + 2
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,   // rows * columns
    rows: u32,    // of one position of u: {{ "Co" if flipped else "Ci" }}
    columns: u32, // {{ "Ci" if flipped else "Co" }} / 4
    n: u32,       // {{ n }}, for loops alone
}

@group(0) @binding(0) var<uniform> p: Params;
#if flipped
@group(0) @binding(1) var<storage, read> w: array<f32>;
#else
@group(0) @binding(1) var<storage, read> w: array<Full>;
#endif
@group(0) @binding(2) var<storage, read_write> u: array<Full>;

alias Line = array<vec4<f32>, {{ n }}>;

// G k for three numbers of a kernel.
fn transform(k0: vec4<f32>, k1: vec4<f32>, k2: vec4<f32>) -> Line {
#if m == 2
    let even = 0.5 * (k0 + k2);
    let odd = 0.5 * k1;
    return Line(k0, even + odd, even - odd, k2);
#else
    let even = (-1.0 / 6.0) * (k0 + k2);
    let odd = (-1.0 / 6.0) * k1;
    let even2 = (1.0 / 24.0) * k0 + (1.0 / 6.0) * k2;
    let odd2 = (1.0 / 12.0) * k1;
    return Line(0.25 * k0, even + odd, even - odd, even2 + odd2, even2 - odd2, k2);
#endif
}

#if flipped
// A tap of four input channels from `column` on, of output channel `row`.
fn kernel(tap: u32, row: u32, column: u32) -> vec4<f32> {
    let out_quads = p.rows / 4u;
    let at = weight_at((tap * p.columns + column) * 4u, row / 4u, 36u * p.columns, out_quads) * 4u + row % 4u;
    let step = weight_row_stride(row / 4u, out_quads) * 4u;
    return vec4<f32>(w[at], w[at + step], w[at + 2u * step], w[at + 3u * step]);
}
#else
fn kernel(tap: u32, row: u32, column: u32) -> vec4<f32> {
    return from_full(w[weight_at(tap * p.rows + row, column, 9u * p.rows, p.columns)]);
}
#endif

fn row_of_kernel(y: u32, row: u32, column: u32) -> Line {
#if flipped
    let tap = 8u - 3u * y;
    return transform(kernel(tap, row, column), kernel(tap - 1u, row, column), kernel(tap - 2u, row, column));
#else
    let tap = 3u * y;
    return transform(kernel(tap, row, column), kernel(tap + 1u, row, column), kernel(tap + 2u, row, column));
#endif
}

fn each(i: u32) {
#if flipped
    let column = i % p.columns;
    let row = i / p.columns;
#else
    // In the order in which they lie in memory.
    let column = weight_column(i, p.rows, p.columns);
    let row = weight_row(i, p.rows, p.columns);
#endif
#if rolled
#for y in range(3)
    var row{{ y }}: Line;
#endfor
    for (var y = 0u; y < p.n - {{ n - 3 }}u; y++) {
        row0 = row1;
        row1 = row2;
        row2 = row_of_kernel(y, row, column);
    }
    for (var c = 0u; c < p.n; c++) {
        let made = transform(row0[0], row1[0], row2[0]);
#for r in range(n)
        u[weight_at(({{ r * n }}u + c) * p.rows + row, column, {{ n * n }}u * p.rows, p.columns)] =
            to_full(made[{{ r }}]);
#endfor
#for y in range(3)
        row{{ y }} = Line({% for k in range(1, n) %}row{{ y }}[{{ k }}], {% endfor %}row{{ y }}[0]);
#endfor
    }
#else
#for y in range(3)
    let row{{ y }} = row_of_kernel({{ y }}u, row, column);
#endfor
#for c in range(n)
    let column{{ c }} = transform(row0[{{ c }}], row1[{{ c }}], row2[{{ c }}]);
#for r in range(n)
    u[weight_at({{ r * n + c }}u * p.rows + row, column, {{ n * n }}u * p.rows, p.columns)] =
        to_full(column{{ c }}[{{ r }}]);
#endfor
#endfor
#endif
}
