// Depthwise convolution: each channel by a kernel of its own.
//
//     y[n, oy, ox, c] = activation(sum over ky, kx of x[n, iy, ix, c] * w[ky, kx, c] + bias[c])
//     iy = oy * {{ stride_h }} + ky * {{ dilation_h }} - top, ix = ox * {{ stride_w }} + kx * {{ dilation_w }} - left
//
// A result takes only {{ kernel_h * kernel_w }} multiply-adds, so loads take most of the time. An invocation computes a
// tile of {{ tile_h }} x {{ tile_w }} pixels of one channel quad, and loads each pixel under it once for all windows
// that see it. Neighbouring invocations have neighbouring quads.
//
// x: [N, H, W, C], y: [N, OH, OW, C] in quads, w: [KH, KW, C], bias: [C] in vec4. i: a tile of a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "shared/activation.wgsl"

struct Params {
    count: u32,   // images * tiles_h * tiles_w * quads
    quads: u32,   // C / 4
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    top: i32,     // padding
    left: i32,
    tiles_h: u32, // tiles down and across a picture
    tiles_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> w: array<Full>;
@group(0) @binding(3) var<storage, read_write> y: array<Quad>;
#if bias
@group(0) @binding(4) var<storage, read> bias: array<Full>;
#endif
#set patch_h = (tile_h - 1) * stride_h + (kernel_h - 1) * dilation_h + 1
#set patch_w = (tile_w - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
#set map, height, width, first_y, first_x = "x", "p.in_h", "p.in_w", "iy", "ix"

fn each(i: u32) {
    let c = i % p.quads;
    let tile = i / p.quads;
    let oy = tile / p.tiles_w % p.tiles_h * {{ tile_h }}u;
    let ox = tile % p.tiles_w * {{ tile_w }}u;
    let n = tile / p.tiles_w / p.tiles_h;
    let iy = i32(oy * {{ stride_h }}u) - p.top;
    let ix = i32(ox * {{ stride_w }}u) - p.left;
#for r in range(tile_h)
#for q in range(tile_w)
#if bias
    var sum{{ r }}_{{ q }} = from_full(bias[c]);
#else
    var sum{{ r }}_{{ q }} = vec4<f32>(0.0);
#endif
#endfor
#endfor
#for v in range(patch_h)

#set ky = v // dilation_h
#if v % dilation_h == 0 and ky < kernel_h
    // The kernel is loaded line by line, as late as possible: the whole kernel would take too many registers.
#for kx in range(kernel_w)
    let w{{ ky }}_{{ kx }} = from_full(w[{{ ky * kernel_w + kx }}u * p.quads + c]);
#endfor
#endif
#include "depthwise/patch_line.wgsl"
#for r in range(tile_h)
#set shift_y = v - r * stride_h
#set ky = shift_y // dilation_h
#if shift_y >= 0 and shift_y % dilation_h == 0 and ky < kernel_h
#for q in range(tile_w)
#for kx in range(kernel_w)
    sum{{ r }}_{{ q }} += v{{ v }}_{{ q * stride_w + kx * dilation_w }} * w{{ ky }}_{{ kx }};
#endfor
#endfor
#endif
#endfor
#endfor

#for r in range(tile_h)
#for q in range(tile_w)
    if (oy + {{ r }}u < p.out_h && ox + {{ q }}u < p.out_w) {
        y[((n * p.out_h + oy + {{ r }}u) * p.out_w + ox + {{ q }}u) * p.quads + c] =
            narrow(activate(sum{{ r }}_{{ q }}));
    }
#endfor
#endfor
}
