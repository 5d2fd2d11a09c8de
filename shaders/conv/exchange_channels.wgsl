// Exchanges a kernel's channel dimensions, [taps, Ci, Co] to [taps, Co, Ci]. It also sorts the taps by the phase of the
// input gradient that reads them (taps of one phase have equal remainders by the strides down and across), so that each
// phase reads its weights contiguously, as the forward pass does.
// i: four input channels and four output channels of one tap.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/weights.wgsl"

struct Params {
    count: u32,     // taps * in_quads * out_quads
    in_quads: u32,  // Ci / 4
    out_quads: u32, // Co / 4
    kernel_h: u32,
    kernel_w: u32,
    stride_h: u32,
    stride_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> w: array<Full>;
@group(0) @binding(2) var<storage, read_write> exchanged: array<Full>;

// Of `length` rows: the number whose index has a remainder by `stride` below `remainder`, and the number whose index
// has exactly that remainder.
fn rows(length: u32, stride: u32, remainder: u32) -> vec2<u32> {
    let all = length / stride;
    let more = length % stride;
    return vec2<u32>(remainder * all + min(remainder, more), all + select(0u, 1u, remainder < more));
}

fn each(i: u32) {
    let quad = i % p.in_quads;
    let out_quad = i / p.in_quads % p.out_quads;
    let tap = i / p.in_quads / p.out_quads;
    let taps = p.kernel_h * p.kernel_w;
    let at = weight_at((tap * p.in_quads + quad) * 4u, out_quad, taps * p.in_quads * 4u, p.out_quads);
    let step = weight_row_stride(out_quad, p.out_quads);
#for r in range(4)
    let row{{ r }} = from_full(w[at + {{ r }}u * step]);
#endfor
    let ky = tap / p.kernel_w;
    let kx = tap % p.kernel_w;
    let along_y = rows(p.kernel_h, p.stride_h, ky % p.stride_h);
    let along_x = rows(p.kernel_w, p.stride_w, kx % p.stride_w);
    let phase = along_y.x * p.kernel_w + along_y.y * along_x.x;
    let moved = phase + ky / p.stride_h * along_x.y + kx / p.stride_w;
    let to = weight_at((moved * p.out_quads + out_quad) * 4u, quad, taps * p.out_quads * 4u, p.in_quads);
    let to_step = weight_row_stride(quad, p.in_quads);
#for c in xyzw
    exchanged[to + {{ loop.index0 }}u * to_step] =
        to_full(vec4<f32>(row0.{{ c }}, row1.{{ c }}, row2.{{ c }}, row3.{{ c }}));
#endfor
}
