// Results of a Winograd convolution: y = epilogue(At m A) for a tile of {{ m }} x {{ m }} pixels, where m is its
// {{ (m + 2) * (m + 2) }} sums over input channels; src/graph/op/winograd.rs has the matrices. i: a tile and a quad.
//
// m: [{{ (m + 2) * (m + 2) }}, tiles, C], y, shortcut: [N, H, W, C], in quads, bias: [C], gate: [N, C] in vec4.
// The kernel transforms first the rows of sums, as they come from memory, then the columns.
#if rolled
// Rows and columns move through loops whose length the driver does not know, so that it does not unroll them: it takes
// long to compile each load and store of the text.
#endif
#set n = m + 2
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,      // tiles * quads
    quads: u32,      // C / 4
    height: u32,
    width: u32,
    tiles_down: u32, // of an image
    tiles_across: u32,
    dilation: u32,   // distance of the pixels in a tile
    n: u32,          // {{ n }}, for loops alone
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> sums: array<Full>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;
// All results of a quad have one bias, which is loaded once.
#set out_quads, first_binding, bias_added = "p.quads", 3, true
#include "conv/epilogue.wgsl"

alias Line = array<vec4<f32>, {{ m }}>;

// At s for a column s.
fn transform({% for k in range(n) %}s{{ k }}: vec4<f32>{{ ", " if not loop.last }}{% endfor %}) -> Line {
#if m == 2
    return Line(s0 + s1 + s2, s1 - s2 - s3);
#else
    let even = s1 + s2;
    let odd = s1 - s2;
    let even2 = s3 + s4;
    let odd2 = s3 - s4;
    return Line(s0 + even + even2, odd + 2.0 * odd2, even + 4.0 * even2, odd + 8.0 * odd2 + s5);
#endif
}

fn row_of_sums(r: u32, i: u32) -> Line {
    return transform(
#for c in range(n)
        from_full(sums[(r * {{ n }}u + {{ c }}u) * p.count + i]),
#endfor
    );
}

fn store(sum: vec4<f32>, place: vec2<u32>, image: u32, quad: u32) {
#if dilated
    // The pixel at the map's edge may belong to another tile.
    if any(place >= vec2<u32>(p.width, p.height)) {
        return;
    }
    let pixel = place;
#else
    // A result beyond the map's edge is stored at the edge. The pixel that belongs there overwrites it, since a tile is
    // stored from its far corner on. That costs less than a test for each pixel.
    let pixel = min(place, vec2<u32>(p.width, p.height) - 1u);
#endif
    let at = ((image * p.height + pixel.y) * p.width + pixel.x) * p.quads + quad;
    y[at] = narrow(finish(sum, image, quad, at));
}

fn each(i: u32) {
    let quad = i % p.quads;
    let tile = i / p.quads;
    let line = tile / p.tiles_across;
    let image = line / p.tiles_down;
    let place = vec2<u32>(tile % p.tiles_across, line % p.tiles_down);
#if dilated
    // Every p.dilation'th pixel down and across makes a map of its own; neighbouring tiles are of neighbouring maps.
    let apart = p.dilation;
    let corner = {{ m }}u * apart * (place / apart) + place % apart;
#else
    const apart = 1u;
    let corner = {{ m }}u * place;
#endif
#if bias
    let start = from_full(bias[quad]);
#endif
#if rolled
#for r in range(n)
    var row{{ r }}: Line;
#endfor
    for (var r = 0u; r < p.n; r++) {
#for k in range(n - 1)
        row{{ k }} = row{{ k + 1 }};
#endfor
        row{{ n - 1 }} = row_of_sums(r, i);
    }
    for (var c = p.n - 2u; c > 0u; c--) {
        let column = transform({% for r in range(n) %}row{{ r }}[{{ m - 1 }}]{{ ", " if not loop.last }}{% endfor %});
#for r in range(m)|reverse
        store(column[{{ r }}]{{ " + start" if bias }}, corner + apart * vec2<u32>(c - 1u, {{ r }}u), image, quad);
#endfor
#for r in range(n)
        row{{ r }} = Line(row{{ r }}[{{ m - 1 }}],
            {% for k in range(m - 1) %}row{{ r }}[{{ k }}]{{ ", " if not loop.last }}{% endfor %});
#endfor
    }
#else
#for r in range(n)
    let row{{ r }} = row_of_sums({{ r }}u, i);
#endfor
#for c in range(m)|reverse
    let column{{ c }} = transform({% for r in range(n) %}row{{ r }}[{{ c }}]{{ ", " if not loop.last }}{% endfor %});
#for r in range(m)|reverse
    store(column{{ c }}[{{ r }}]{{ " + start" if bias }}, corner + apart * vec2<u32>({{ c }}u, {{ r }}u), image, quad);
#endfor
#endfor
#endif
}
