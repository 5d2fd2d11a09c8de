// Gradient of a depthwise convolution with respect to its map:
//
//     dx[n, y, x, c] = sum over ky, kx of dy[n, oy, ox, c] * w[ky, kx, c]
//     oy = (y + top - ky * {{ dilation_h }}) / {{ stride_h }}
//     ox = (x + left - kx * {{ dilation_w }}) / {{ stride_w }}
//
// over the taps for which oy and ox are whole numbers.
//
// With strides only some taps reach a pixel. Counted from the padding's corner, (y + top, x + left), pixels fall into
// tiles of {{ tile_h }} x {{ tile_w }}, multiples of the strides; so it is known when this text is rendered which taps
// reach which pixel of a tile. An invocation computes a tile of one quad.
//
// dy: [N, OH, OW, C], dx, addend: [N, H, W, C] in quads, w: [KH, KW, C] in vec4. i: a tile of a quad of dx.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,   // images * tiles_h * tiles_w * quads
    quads: u32,   // C / 4
    in_h: u32,    // of dx
    in_w: u32,
    out_h: u32,   // of dy
    out_w: u32,
    top: u32,     // padding
    left: u32,
    tiles_h: u32, // tiles down and across a padded picture
    tiles_w: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Quad>;
@group(0) @binding(2) var<storage, read> w: array<Full>;
@group(0) @binding(3) var<storage, read_write> dx: array<Quad>;
#if addend
@group(0) @binding(4) var<storage, read> addend: array<Quad>;
#endif
// Lines and columns of dy that reach a tile: `before` counts those that lie before its first window, `patch` all of
// them.
#set before_h, before_w = (kernel_h - 1) * dilation_h // stride_h, (kernel_w - 1) * dilation_w // stride_w
#set patch_h, patch_w = before_h + tile_h // stride_h, before_w + tile_w // stride_w
#set map, height, width, first_y, first_x = "dy", "p.out_h", "p.out_w", "oy", "ox"

fn each(i: u32) {
    let c = i % p.quads;
    let tile = i / p.quads;
    let ty = tile / p.tiles_w % p.tiles_h;
    let tx = tile % p.tiles_w;
    let n = tile / p.tiles_w / p.tiles_h;
    let oy = i32(ty * {{ tile_h // stride_h }}u) - {{ before_h }};
    let ox = i32(tx * {{ tile_w // stride_w }}u) - {{ before_w }};
#for r in range(tile_h)
#for q in range(tile_w)
    var sum{{ r }}_{{ q }} = vec4<f32>(0.0);
#endfor
#endfor
#for v in range(patch_h)

    // The kernel is loaded line by line, backwards, as late as possible: the whole kernel would take too many
    // registers.
#for r in range(stride_h)
#set shift_y = r + (before_h - v) * stride_h
#set ky = shift_y // dilation_h
#if shift_y >= 0 and shift_y % dilation_h == 0 and ky < kernel_h
#for kx in range(kernel_w)
    let w{{ ky }}_{{ kx }} = from_full(w[{{ ky * kernel_w + kx }}u * p.quads + c]);
#endfor
#endif
#endfor
#include "depthwise/patch_line.wgsl"
#for r in range(tile_h)
#set shift_y = r + (before_h - v) * stride_h
#set ky = shift_y // dilation_h
#if shift_y >= 0 and shift_y % dilation_h == 0 and ky < kernel_h
#for q in range(tile_w)
#for u in range(patch_w)
#set shift_x = q + (before_w - u) * stride_w
#set kx = shift_x // dilation_w
#if shift_x >= 0 and shift_x % dilation_w == 0 and kx < kernel_w
    sum{{ r }}_{{ q }} += v{{ v }}_{{ u }} * w{{ ky }}_{{ kx }};
#endif
#endfor
#endfor
#endif
#endfor
#endfor

    // For a pixel before the map's corner the difference wraps around to a number past the map's far end.
#for r in range(tile_h)
    let to_y{{ r }} = ty * {{ tile_h }}u + {{ r }}u - p.top;
#for q in range(tile_w)
    let to_x{{ r }}_{{ q }} = tx * {{ tile_w }}u + {{ q }}u - p.left;
    if (to_y{{ r }} < p.in_h && to_x{{ r }}_{{ q }} < p.in_w) {
        let to = ((n * p.in_h + to_y{{ r }}) * p.in_w + to_x{{ r }}_{{ q }}) * p.quads + c;
#if addend
        sum{{ r }}_{{ q }} += widen(addend[to]);
#endif
        dx[to] = narrow(sum{{ r }}_{{ q }});
    }
#endfor
#endfor
}
