// Convolution in registers alone, for CPU adapters: no workgroup memory, no barrier.
//
//     y[pixel, o] = activation((sum over taps, i of x[pixel + tap, i] * w[tap, i, o] + bias[o]) * gate[n, o] + shortcut[pixel, o])
//
// There a lane is a SIMD lane, and what takes time is neither multiplying nor memory but the loads themselves, each of which the
// driver carries out lane by lane. So a lane keeps many sums, {{ rows }} pixels x {{ cols }} groups of 4 channels, and uses each
// number that it loads as often as it can.
#if lanes_along == "pixels"
// The lanes lie side by side along the pixels: for layers so narrow that a lane holds all their channels.
// Workgroup: {{ rows * lanes }} pixels x {{ 4 * cols }} channels.
#else
// The lanes lie side by side along the output channels: for wide layers.
// Workgroup: {{ rows }} pixels x {{ 4 * cols * lanes }} channels.
#endif
//
// x: [N, H, W, Ci], w: [KH, KW, Ci, Co], y, shortcut: [N, OH, OW, Co], bias: [Co], gate: [N, Co], all in vec4.
#include "conv/walk.wgsl"
#include "shared/activation.wgsl"

@group(0) @binding(0) var<uniform> walk: Walk;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
#include "conv/epilogue.wgsl"

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
#if lanes_along == "pixels"
    let first = block / walk.column_blocks * {{ rows * lanes }}u + lane;
    let column = block % walk.column_blocks * {{ cols }}u;
#set row_step, column_step = lanes, 1
#else
    let first = block / walk.column_blocks * {{ rows }}u;
    let column = block % walk.column_blocks * {{ cols * lanes }}u + lane;
#set row_step, column_step = 1, lanes
#endif
    if (first >= walk.pixels) {
        return;
    }
#for c in range(cols)
    let column{{ c }} = column + {{ c * column_step }}u;
    let read{{ c }} = min(column{{ c }}, walk.out_groups - 1u);
#endfor

    // Grid position of each row: one division, then steps. A row past the last pixel repeats it; it is computed and not stored.
    let first_line = first / walk.grid_w;
    var n = first_line / walk.grid_h;
    var gy = first_line % walk.grid_h;
    var gx = first % walk.grid_w;
#for r in range(rows)
    let n{{ r }} = n;
    let gy{{ r }} = gy;
    let gx{{ r }} = gx;
#if not loop.last
    if (first + {{ (r + 1) * row_step }}u < walk.pixels) {
        gx += {{ row_step }}u;
        while (gx >= walk.grid_w) {
            gx -= walk.grid_w;
            gy += 1u;
        }
        while (gy >= walk.grid_h) {
            gy -= walk.grid_h;
            n += 1u;
        }
    }
#endif
#endfor

#for r in range(rows)
#for c in range(cols)
    var sum{{ r }}_{{ c }} = vec4<f32>(0.0);
#endfor
#endfor
    for (var ty = 0u; ty < walk.taps_h; ty++) {
        for (var tx = 0u; tx < walk.taps_w; tx++) {
            let dy = walk.in_y0 + i32(ty) * walk.tap_step;
            let dx = walk.in_x0 + i32(tx) * walk.tap_step;
#for r in range(rows)
            let iy{{ r }} = i32(gy{{ r }}) * walk.in_step + dy;
            let ix{{ r }} = i32(gx{{ r }}) * walk.in_step + dx;
#if padded
            let inside{{ r }} = u32(iy{{ r }}) < walk.in_h && u32(ix{{ r }}) < walk.in_w;
            let at{{ r }} = select(0u, ((n{{ r }} * walk.in_h + u32(iy{{ r }})) * walk.in_w + u32(ix{{ r }})) * walk.in_groups, inside{{ r }});
#else
            let at{{ r }} = ((n{{ r }} * walk.in_h + u32(iy{{ r }})) * walk.in_w + u32(ix{{ r }})) * walk.in_groups;
#endif
#endfor
            let tap = (walk.kernel_y0 + ty * walk.kernel_step) * walk.kernel_w + walk.kernel_x0 + tx * walk.kernel_step;
            var weight = tap * walk.in_groups * 4u * walk.out_groups;
            for (var k = 0u; k < walk.in_groups; k++) {
#for r in range(rows)
#if padded
                let a{{ r }} = select(vec4<f32>(0.0), x[at{{ r }} + k], inside{{ r }});
#else
                let a{{ r }} = x[at{{ r }} + k];
#endif
#endfor
#for j in xyzw
#for c in range(cols)
                let b{{ j }}{{ c }} = w[weight + read{{ c }}];
#for r in range(rows)
                sum{{ r }}_{{ c }} += a{{ r }}.{{ j }} * b{{ j }}{{ c }};
#endfor
#endfor
                weight += walk.out_groups;
#endfor
            }
        }
    }

#for r in range(rows)
    if (first + {{ r * row_step }}u < walk.pixels) {
        let oy = gy{{ r }} * walk.out_step + walk.out_y0;
        let ox = gx{{ r }} * walk.out_step + walk.out_x0;
        let out = ((n{{ r }} * walk.out_h + oy) * walk.out_w + ox) * walk.out_groups;
#for c in range(cols)
        if (column{{ c }} < walk.out_groups) {
            y[out + column{{ c }}] = finish(sum{{ r }}_{{ c }}, n{{ r }}, column{{ c }}, out + column{{ c }});
        }
#endfor
    }
#endfor
}
