// Mean of the pixels that a window reads. The zeros of the padding {{ "count" if zeros_count else "do not count" }}.
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
    let ys = taps_inside(iy, {{ kernel_h }}, {{ dilation_h }}, i32(p.in_h));
    let xs = taps_inside(ix, {{ kernel_w }}, {{ dilation_w }}, i32(p.in_w));
    var sum = vec4<f32>(0.0);
    for (var ky = ys.x; ky < ys.y; ky++) {
        for (var kx = xs.x; kx < xs.y; kx++) {
            let at = (n * p.in_h + u32(iy + ky * {{ dilation_h }})) * p.in_w + u32(ix + kx * {{ dilation_w }});
            sum += widen(x[at * p.quads + c]);
        }
    }
    y[i] = narrow(sum / f32({{ kernel_h * kernel_w if zeros_count else "(ys.y - ys.x) * (xs.y - xs.x)" }}));
}
