// Convolution in registers alone, for CPU adapters: no workgroup memory, no barrier.
//
//     y[pixel, o] = activation((sum over taps, i of x[pixel + tap, i] * w[tap, i, o] + bias[o]) * gate[n, o] + shortcut[pixel, o])
//
// A lane is a SIMD lane there. All lanes of a workgroup share {{ rows }} consecutive grid pixels, so reads of x are the
// same for all of them, and lie side by side along the output channels, so reads of w are contiguous. A lane keeps
// {{ rows }} x {{ cols }} sums of type {{ unit }}; each value of w that it reads is used {{ rows }} times.
//
// x: [N, H, W, Ci] in vec4, w: [KH, KW, Ci, Co], y, shortcut: [N, OH, OW, Co], bias: [Co], gate: [N, Co] in {{ unit }}.
// Workgroup: {{ rows }} pixels x {{ lanes * cols }} {{ unit }}.
#include "conv/walk.wgsl"
#include "shared/activation.wgsl"

@group(0) @binding(0) var<uniform> walk: Walk;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<{{ unit }}>;
@group(0) @binding(3) var<storage, read_write> y: array<{{ unit }}>;
#include "conv/epilogue.wgsl"

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    let first = block / walk.column_blocks * {{ rows }}u;
    if (first >= walk.pixels) {
        return;
    }
    let column = block % walk.column_blocks * {{ lanes * cols }}u + lane;
#for c in range(cols)
    let column{{ c }} = column + {{ c * lanes }}u;
    let read{{ c }} = min(column{{ c }}, walk.out_units - 1u);
#endfor

    // Grid position of each row: one division, then steps.
    let first_line = first / walk.grid_w;
    var image = first_line / walk.grid_h;
    var gy = first_line % walk.grid_h;
    var gx = first % walk.grid_w;
#for r in range(rows)
    let n{{ r }} = image;
    let gy{{ r }} = gy;
    let gx{{ r }} = gx;
#if not loop.last
    // A row past the last pixel repeats it; it is computed and not stored.
    if (first + {{ r + 1 }}u < walk.pixels) {
        gx += 1u;
        if (gx == walk.grid_w) {
            gx = 0u;
            gy += 1u;
        }
        if (gy == walk.grid_h) {
            gy = 0u;
            image += 1u;
        }
    }
#endif
#endfor

#for r in range(rows)
#for c in range(cols)
    var sum{{ r }}_{{ c }} = {{ unit }}(0.0);
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
            var weight = tap * walk.in_groups * 4u * walk.out_units;
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
                sum{{ r }}_{{ c }} += {{ unit }}(a{{ r }}.{{ j }}) * b{{ j }}{{ c }};
#endfor
#endfor
                weight += walk.out_units;
#endfor
            }
        }
    }

#for r in range(rows)
    if (first + {{ r }}u < walk.pixels) {
        let oy = gy{{ r }} * walk.out_step + walk.out_y0;
        let ox = gx{{ r }} * walk.out_step + walk.out_x0;
        let out = ((n{{ r }} * walk.out_h + oy) * walk.out_w + ox) * walk.out_units;
#for c in range(cols)
        if (column{{ c }} < walk.out_units) {
            y[out + column{{ c }}] = finish(sum{{ r }}_{{ c }}, n{{ r }}, column{{ c }}, out + column{{ c }});
        }
#endfor
    }
#endfor
}
