// Gradient of a depthwise convolution with respect to its kernels:
//
//     dw[ky, kx, c] = sum over n, oy, ox of x[n, iy, ix, c] * dy[n, oy, ox, c]
//     iy = oy * {{ stride_h }} + ky * {{ dilation_h }} - top, ix = ox * {{ stride_w }} + kx * {{ dilation_w }} - left
//
// An invocation adds up one line ky of the kernel for one quad, over a run of dy's lines. It takes {{ tile_w }} pixels
// at a time, so that it loads each pixel of x once for all of the line's taps. Each run stores a complete dw, and
// conv/sum_partials adds these in order.
//
// x: [N, H, W, C], dy: [N, OH, OW, C] in quads, partial: [runs, KH, KW, C] in vec4. i: a quad of a line of a
// run's kernel.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,     // runs * KH * quads
    quads: u32,     // C / 4
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    top: u32,       // padding
    left: u32,
    images: u32,    // of this dispatch
    run_images: u32,
    runs_per_image: u32,
    run_lines: u32,
    first_run: u32, // where this dispatch's results start in the array of partial results
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partial: array<Full>;
#set params = "p"
#include "shared/runs.wgsl"
#set patch_w = (tile_w - 1) * stride_w + (kernel_w - 1) * dilation_w + 1

fn each(i: u32) {
    let c = i % p.quads;
    let ky = i / p.quads % {{ kernel_h }}u;
    let run = i / p.quads / {{ kernel_h }}u;
    let images = run_images(run);
    let lines = run_lines(run);
#for kx in range(kernel_w)
    var sum{{ kx }} = vec4<f32>(0.0);
#endfor
    for (var n = images.x; n < images.y; n++) {
        for (var oy = lines.x; oy < lines.y; oy++) {
            // For a line above the map the difference wraps around to a number past the map's end.
            let iy = oy * {{ stride_h }}u + ky * {{ dilation_h }}u - p.top;
            if (iy >= p.in_h) {
                continue;
            }
            let dy_line = (n * p.out_h + oy) * p.out_w;
            let x_line = (n * p.in_h + iy) * p.in_w;
            for (var ox = 0u; ox < p.out_w; ox += {{ tile_w }}u) {
#for q in range(tile_w)
                let d{{ q }} = select(vec4<f32>(0.0),
                    widen(dy[(dy_line + min(ox + {{ q }}u, p.out_w - 1u)) * p.quads + c]), ox + {{ q }}u < p.out_w);
#endfor
#for u in range(patch_w)
#if u - [u // dilation_w, kernel_w - 1] | min * dilation_w <= (tile_w - 1) * stride_w
                let x{{ u }} = ox * {{ stride_w }}u + {{ u }}u - p.left;
                let v{{ u }} = select(vec4<f32>(0.0),
                    widen(x[(x_line + min(x{{ u }}, p.in_w - 1u)) * p.quads + c]), x{{ u }} < p.in_w);
#endif
#endfor
#for q in range(tile_w)
#for kx in range(kernel_w)
                sum{{ kx }} += v{{ q * stride_w + kx * dilation_w }} * d{{ q }};
#endfor
#endfor
            }
        }
    }
    let to = (((p.first_run + run) * {{ kernel_h }}u + ky) * {{ kernel_w }}u) * p.quads + c;
#for kx in range(kernel_w)
    partial[to + {{ kx }}u * p.quads] = to_full(sum{{ kx }});
#endfor
}
