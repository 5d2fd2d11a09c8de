// Winograd's transform of a map: v[p, tile] = (Bt d B)[p] of the {{ m + 2 }} x {{ m + 2 }} patch d that a tile of {{ m }} x {{ m }} results sees; the matrices
// stand in src/graph/op/winograd.rs. Patches overlap by two pixels. i: a tile and a pair of channels, since the patch of a whole
// group of 4 would not fit the registers of RDNA 3.
//
// x: [N, H, W, C], v: [{{ (m + 2) * (m + 2) }}, tiles, C], in pairs of channels; each position p is an operand of a matrix product of its own.
// First the rows of the patch, as they come from memory, then the columns.
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
    count: u32,        // tiles * pairs
    pairs: u32,        // C / 2
    height: u32,
    width: u32,
    tiles_down: u32,   // of an image
    tiles_across: u32,
    padding: i32,
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

fn each(i: u32) {
    let pair = i % p.pairs;
    let tile = i / p.pairs;
    let line = tile / p.tiles_across;
    let corner = {{ m }} * vec2<i32>(vec2<u32>(tile % p.tiles_across, line % p.tiles_down)) - p.padding;
    let image = line / p.tiles_down * p.height;
    // Of each column and row of the patch, whether it lies in the map, and where in memory. All around the map is zero.
#for c in range(n)
    let column_inside{{ c }} = u32(corner.x + {{ c }}) < p.width;
    let column_at{{ c }} = select(0u, u32(corner.x + {{ c }}), column_inside{{ c }}) * p.pairs + pair;
#endfor
#for r in range(n)
    let row_inside{{ r }} = u32(corner.y + {{ r }}) < p.height;
    let row_at{{ r }} = (image + select(0u, u32(corner.y + {{ r }}), row_inside{{ r }})) * p.width * p.pairs;
    let row{{ r }} = transform(Line(
#for c in range(n)
        select(vec2<f32>(0.0), from_pair(x[row_at{{ r }} + column_at{{ c }}]), row_inside{{ r }} && column_inside{{ c }}),
#endfor
    ));
#endfor
#for c in range(n)
    let column{{ c }} = transform(Line({% for r in range(n) %}row{{ r }}[{{ c }}], {% endfor %}));
#for r in range(n)
    v[{{ r * n + c }}u * p.count + i] = to_pair(column{{ c }}[{{ r }}]);
#endfor
#endfor
}
