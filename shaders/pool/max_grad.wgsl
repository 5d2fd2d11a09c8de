// Gradient of the largest value of 3x3 windows with stride 2: each window hands its gradient to its largest value, the first of equal
// ones in reading order. A pixel lies in up to 2 x 2 windows; it looks in each whether it is the one.
//
// x, dx: [N, H, W, C], dy: [N, OH, OW, C], in quads. i: a quad of x.
#include "shared/storage.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32, // quads in x
    quads: u32, // C / 4
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
}

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
    let own = widen(x[i]);
    var sum = vec4<f32>(0.0);
    // Window (oy, ox) begins at (2 oy - 1, 2 ox - 1). The last that reaches a pixel has its middle there or one before.
    for (var oy = max(iy, 1) / 2; oy <= min((iy + 1) / 2, i32(p.out_h) - 1); oy++) {
        for (var ox = max(ix, 1) / 2; ox <= min((ix + 1) / 2, i32(p.out_w) - 1); ox++) {
            var beaten = vec4<bool>(false);
#for ky in range(3)
#for kx in range(3)
            {
                let y = 2 * oy + {{ ky - 1 }};
                let x_at = 2 * ox + {{ kx - 1 }};
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
