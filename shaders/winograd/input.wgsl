// Winograd's transform of a map: v[p, tile] = (Bt d B)[p] of the {{ m + 2 }} x {{ m + 2 }} patch d that a tile of
// {{ m }} x {{ m }} results reads; src/graph/op/winograd.rs has the matrices. Patches overlap by two pixels. i: a tile
// and a pair of channels, since the patch of a whole quad would not fit the registers of RDNA 3.
//
// x: [N, H, W, C], v: [{{ (m + 2) * (m + 2) }}, tiles, C], in pairs of channels; each position p is an operand of a
// matrix product of its own. The kernel transforms first the rows of the patch, as they come from memory, then the
// columns.
#if rolled
// Rows and columns move through loops whose length the driver does not know, so that it does not unroll them: it takes
// long to compile each load and store of the text.
#endif
#set n = m + 2
#include "shared/each.wgsl"
#if storage == "f32_by_64"
// See shared/storage.wgsl.
alias Pair = u64;

fn from_pair(pair: Pair) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(u32(pair), u32(pair >> 32u)));
}

fn to_pair(v: vec2<f32>) -> Pair {
    let bits = bitcast<vec2<u32>>(v);
    return u64(bits.x) | (u64(bits.y) << 32u);
}
#else
alias Pair = vec2<f32>;

fn from_pair(pair: Pair) -> vec2<f32> {
    return pair;
}

fn to_pair(v: vec2<f32>) -> Pair {
    return v;
}
#endif

struct Params {
    count: u32,      // tiles * pairs
    pairs: u32,      // C / 2
    height: u32,
    width: u32,
    tiles_down: u32, // of an image
    tiles_across: u32,
    padding: i32,
    dilation: u32,   // distance of the pixels in a patch
    n: u32,          // {{ n }}, for loops alone
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Pair>;
@group(0) @binding(2) var<storage, read_write> v: array<Pair>;

alias Line = array<vec2<f32>, {{ n }}>;

// Bt d for a column d.
fn transform(d: Line) -> Line {
#if m == 2
    return Line(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
#else
    let even = d[4] - 4.0 * d[2];
    let odd = d[3] - 4.0 * d[1];
    let even2 = d[4] - d[2];
    let odd2 = 2.0 * (d[3] - d[1]);
    return Line(
        4.0 * d[0] - 5.0 * d[2] + d[4],
        even + odd,
        even - odd,
        even2 + odd2,
        even2 - odd2,
        4.0 * d[1] - 5.0 * d[3] + d[5],
    );
#endif
}

// A row of the patch, transformed. The map is surrounded by zeros.
fn patch_row(left: i32, y: i32, image: u32, pair: u32) -> Line {
    let row_inside = u32(y) < p.height;
    let row_at = (image + select(0u, u32(y), row_inside)) * p.width * p.pairs;
#for c in range(n)
    let x{{ c }} = u32(left + {{ c }}{{ " * i32(p.dilation)" if dilated }});
    let inside{{ c }} = x{{ c }} < p.width;
    let at{{ c }} = row_at + (select(0u, x{{ c }}, inside{{ c }}) * p.pairs + pair);
#endfor
    return transform(Line(
#for c in range(n)
        select(vec2<f32>(0.0), from_pair(x[at{{ c }}]), row_inside && inside{{ c }}),
#endfor
    ));
}

fn each(i: u32) {
    let pair = i % p.pairs;
    let tile = i / p.pairs;
    let line = tile / p.tiles_across;
    let place = vec2<u32>(tile % p.tiles_across, line % p.tiles_down);
#if dilated
    // Every p.dilation'th pixel down and across makes a map of its own; neighbouring tiles are of neighbouring maps.
    let corner = vec2<i32>({{ m }}u * p.dilation * (place / p.dilation) + place % p.dilation) - p.padding;
#else
    let corner = {{ m }} * vec2<i32>(place) - p.padding;
#endif
    let image = line / p.tiles_down * p.height;
#if rolled
#for r in range(n)
    var row{{ r }}: Line;
#endfor
    for (var r = 0u; r < p.n; r++) {
#for k in range(n - 1)
        row{{ k }} = row{{ k + 1 }};
#endfor
        row{{ n - 1 }} = patch_row(corner.x, corner.y + i32(r{{ " * p.dilation" if dilated }}), image, pair);
    }
    for (var c = 0u; c < p.n; c++) {
        let column = transform(Line({% for r in range(n) %}row{{ r }}[0], {% endfor %}));
#for r in range(n)
        v[({{ r * n }}u + c) * p.count + i] = to_pair(column[{{ r }}]);
        row{{ r }} = Line({% for k in range(1, n) %}row{{ r }}[{{ k }}], {% endfor %}row{{ r }}[0]);
#endfor
    }
#else
#for r in range(n)
    let row{{ r }} = patch_row(corner.x, corner.y + {{ r }}{{ " * i32(p.dilation)" if dilated }}, image, pair);
#endfor
#for c in range(n)
    let column{{ c }} = transform(Line({% for r in range(n) %}row{{ r }}[{{ c }}], {% endfor %}));
#for r in range(n)
    v[{{ r * n + c }}u * p.count + i] = to_pair(column{{ c }}[{{ r }}]);
#endfor
#endfor
#endif
}
