// Weight gradient of a convolution in registers alone, for CPU adapters.
//
// A workgroup takes one tap, {{ 4 * groups }} input channels and {{ 4 * lanes * cols }} output channels, and walks over the pixels of
// its run. The lanes lie side by side along the output channels, each with {{ 4 * groups }} x {{ 4 * cols }} sums.
//
// x: [N, H, W, Ci], dy: [N, OH, OW, Co], partial: [runs, KH, KW, Ci, Co], all in vec4.
#include "conv/weight_grad.wgsl"

@group(0) @binding(0) var<uniform> g: Geometry;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>;

// First and one past the last output position whose tap lies inside the input.
fn reach(tap: u32, size: u32, outputs: u32) -> vec2<u32> {
    let first = (max(g.padding, tap) - tap + g.stride - 1u) / g.stride;
    let limit = size + g.padding;
    if (limit <= tap) {
        return vec2<u32>(0u, 0u);
    }
    return vec2<u32>(first, min(outputs, (limit - tap + g.stride - 1u) / g.stride));
}

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var block = workgroup.y * workgroups.x + workgroup.x;
    let column = block % g.column_blocks * {{ lanes * cols }}u + lane;
    block /= g.column_blocks;
    let first_group = block % g.row_blocks * {{ groups }}u;
    block /= g.row_blocks;
    let taps = g.kernel_h * g.kernel_w;
    let tap = block % taps;
    let run = block / taps;
    let images = run_images(run);
    if (images.x >= images.y) {
        return;
    }
    let lines = run_lines(run);
    let ys = reach(tap / g.kernel_w, g.in_h, g.out_h);
    let xs = reach(tap % g.kernel_w, g.in_w, g.out_w);
#for c in range(cols)
    let read{{ c }} = min(column + {{ c * lanes }}u, g.out_groups - 1u);
#endfor
#for i in range(groups)
    let group{{ i }} = min(first_group + {{ i }}u, g.in_groups - 1u);
#endfor
#for r in range(4 * groups)
#for c in range(cols)
    var sum{{ r }}_{{ c }} = vec4<f32>(0.0);
#endfor
#endfor
    for (var n = images.x; n < images.y; n++) {
        for (var oy = max(ys.x, lines.x); oy < min(ys.y, lines.y); oy++) {
            let iy = oy * g.stride + tap / g.kernel_w - g.padding;
            let ix = xs.x * g.stride + tap % g.kernel_w - g.padding;
            var at = ((n * g.in_h + iy) * g.in_w + ix) * g.in_groups;
            var out = ((n * g.out_h + oy) * g.out_w + xs.x) * g.out_groups;
            for (var ox = xs.x; ox < xs.y; ox++) {
#for c in range(cols)
                let d{{ c }} = dy[out + read{{ c }}];
#endfor
#for i in range(groups)
                let a{{ i }} = x[at + group{{ i }}];
#endfor
#for r in range(4 * groups)
#for c in range(cols)
                sum{{ r }}_{{ c }} += vec4<f32>(a{{ r // 4 }}.{{ xyzw[r % 4] }}) * d{{ c }};
#endfor
#endfor
                at += g.stride * g.in_groups;
                out += g.out_groups;
            }
        }
    }

    let result = ((g.first_run + run) * taps + tap) * g.in_groups * 4u;
#for r in range(4 * groups)
    if (first_group + {{ r // 4 }}u < g.in_groups) {
        let row = (result + (first_group * 4u) + {{ r }}u) * g.out_groups;
#for c in range(cols)
        if (column + {{ c * lanes }}u < g.out_groups) {
            partial[row + column + {{ c * lanes }}u] = sum{{ r }}_{{ c }};
        }
#endfor
    }
#endfor
}
