// Each pixel receives, from every window that reads it, the window's gradient divided by the number of pixels that
// count in the window. Another path's gradient is added where there is one.
//
// dy: [N, OH, OW, C], dx, addend: [N, H, W, C], in quads. i: a quad of dx.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "pool/window.wgsl"

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dy: array<Quad>;
@group(0) @binding(2) var<storage, read_write> dx: array<Quad>;
#if addend
@group(0) @binding(3) var<storage, read> addend: array<Quad>;
#endif

fn each(i: u32) {
    let c = i % p.quads;
    let pixel = i / p.quads;
    let n = pixel / p.in_w / p.in_h;
    let iy = i32(pixel / p.in_w % p.in_h) + p.top;
    let ix = i32(pixel % p.in_w) + p.left;
    let ys = windows_reading(iy, {{ kernel_h }}, {{ stride_h }}, {{ dilation_h }}, i32(p.out_h));
    let xs = windows_reading(ix, {{ kernel_w }}, {{ stride_w }}, {{ dilation_w }}, i32(p.out_w));
    var sum = vec4<f32>(0.0);
    for (var oy = ys.x; oy < ys.y; oy += {{ dilation_h }}) {
        let down = taps_inside(oy * {{ stride_h }} - p.top, {{ kernel_h }}, {{ dilation_h }}, i32(p.in_h));
        for (var ox = xs.x; ox < xs.y; ox += {{ dilation_w }}) {
            let across = taps_inside(ox * {{ stride_w }} - p.left, {{ kernel_w }}, {{ dilation_w }}, i32(p.in_w));
            let d = widen(dy[((n * p.out_h + u32(oy)) * p.out_w + u32(ox)) * p.quads + c]);
            sum += d / f32({{ kernel_h * kernel_w if zeros_count else "(down.y - down.x) * (across.y - across.x)" }});
        }
    }
    dx[i] = narrow(sum{{ " + widen(addend[i])" if addend else "" }});
}
