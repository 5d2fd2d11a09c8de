// Gradient of the largest value that a window reads: each window hands its gradient to its largest value, the first of
// equal ones in reading order. For each pixel, the kernel checks in every window that reads it whether it is the
// largest value.
//
// x, dx: [N, H, W, C], dy: [N, OH, OW, C], in quads. i: a quad of x.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"
#include "pool/window.wgsl"

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read_write> dx: array<Quad>;

fn each(i: u32) {
    let c = i % p.quads;
    let pixel = i / p.quads;
    let image = pixel / p.in_w / p.in_h;
    let iy = i32(pixel / p.in_w % p.in_h);
    let ix = i32(pixel % p.in_w);
    let ys = windows_reading(iy + p.top, {{ kernel_h }}, {{ stride_h }}, {{ dilation_h }}, i32(p.out_h));
    let xs = windows_reading(ix + p.left, {{ kernel_w }}, {{ stride_w }}, {{ dilation_w }}, i32(p.out_w));
    let own = widen(x[i]);
    var sum = vec4<f32>(0.0);
    for (var oy = ys.x; oy < ys.y; oy += {{ dilation_h }}) {
        for (var ox = xs.x; ox < xs.y; ox += {{ dilation_w }}) {
            var beaten = vec4<bool>(false);
#for ky in range(kernel_h)
#for kx in range(kernel_w)
            {
                let y = oy * {{ stride_h }} - p.top + {{ ky * dilation_h }};
                let x_at = ox * {{ stride_w }} - p.left + {{ kx * dilation_w }};
                let inside = u32(y) < p.in_h && u32(x_at) < p.in_w;
                let earlier = y < iy || (y == iy && x_at < ix);
                let at = select(i, ((image * p.in_h + u32(y)) * p.in_w + u32(x_at)) * p.quads + c, inside);
                let other = widen(x[at]);
                beaten |= select(other > own, other >= own, vec4<bool>(inside && earlier));
            }
#endfor
#endfor
            let d = widen(dy[((image * p.out_h + u32(oy)) * p.out_w + u32(ox)) * p.quads + c]);
            sum += select(d, vec4<f32>(0.0), beaten);
        }
    }
    dx[i] = narrow(sum);
}
