// Largest value that a window reads; the padding is never the largest.
//
// x: [N, H, W, C], y: [N, OH, OW, C], in quads. i: a quad of y.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "pool/window.wgsl"

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read_write> y: array<Quad>;

fn each(i: u32) {
    let c = i % p.quads;
    let pixel = i / p.quads;
    let n = pixel / p.out_w / p.out_h;
    let iy = i32(pixel / p.out_w % p.out_h * {{ stride_h }}u) - p.top;
    let ix = i32(pixel % p.out_w * {{ stride_w }}u) - p.left;
    // For a tap outside the map, the nearest tap inside is read once more.
    let ys = taps_inside(iy, {{ kernel_h }}, {{ dilation_h }}, i32(p.in_h));
    let xs = taps_inside(ix, {{ kernel_w }}, {{ dilation_w }}, i32(p.in_w));
    var largest = vec4<f32>(-3.4028234e38);
#for ky in range(kernel_h)
    let line{{ ky }} = (n * p.in_h + u32(iy + clamp({{ ky }}, ys.x, ys.y - 1) * {{ dilation_h }})) * p.in_w;
#for kx in range(kernel_w)
    let at{{ ky }}_{{ kx }} = line{{ ky }} + u32(ix + clamp({{ kx }}, xs.x, xs.y - 1) * {{ dilation_w }});
    largest = max(largest, widen(x[at{{ ky }}_{{ kx }} * p.quads + c]));
#endfor
#endfor
    y[i] = narrow(largest);
}
