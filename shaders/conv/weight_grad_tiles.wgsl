// Weight gradient of a convolution by tiles in workgroup memory, for GPUs: for each tap the matrix product
// (input channels x pixels) x (pixels x output channels).
//
// A workgroup of 64 threads takes one tap, 64 input channels, 64 output channels and one run, 16 pixels at a
// time. Both maps are contiguous along their channels, so both tiles are copied as they lie: 256 contiguous bytes a
// pixel. Thread (ty, tx) of 8 x 8 keeps 8 x 8 sums: input channels 4 ty + {0..3, 32..35}, output groups tx + {0, 8}.
//
// x: [N, H, W, Ci], dy: [N, OH, OW, Co], partial: [runs, KH, KW, Ci, Co], all in vec4.
#include "conv/weight_grad.wgsl"

@group(0) @binding(0) var<uniform> g: Geometry;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>;

var<workgroup> tile_x: array<vec4<f32>, 256>;  // [16 pixels][64 input channels / 4]
var<workgroup> tile_dy: array<vec4<f32>, 256>; // [16 pixels][64 output channels / 4]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var block = workgroup.y * workgroups.x + workgroup.x;
    let first_column = block % g.column_blocks * 16u;
    block /= g.column_blocks;
    let first_group = block % g.row_blocks * 16u;
    block /= g.row_blocks;
    let taps = g.kernel_h * g.kernel_w;
    let tap = block % taps;
    let run = block / taps;
    // Uniform over the workgroup; a workgroup past the end has no pixels and stores nothing.
    let images = run_images(run);
    let lines = run_lines(run);
    let first_pixel = (images.x * g.out_h + lines.x) * g.out_w;
    let last_pixel = select(first_pixel, ((images.y - 1u) * g.out_h + lines.y) * g.out_w, images.x < images.y);

    let tx = thread % 8u;
    let ty = thread / 8u;
    let load_pixel = thread / 16u;
    let load_group = min(first_group + thread % 16u, g.in_groups - 1u);
    let load_column = min(first_column + thread % 16u, g.out_groups - 1u);
    let shift_y = i32(tap / g.kernel_w) - i32(g.padding);
    let shift_x = i32(tap % g.kernel_w) - i32(g.padding);

#for r in range(8)
    var sum{{ r }}_0 = vec4<f32>(0.0);
    var sum{{ r }}_1 = vec4<f32>(0.0);
#endfor
    for (var m = first_pixel; m < last_pixel; m += 16u) {
        workgroupBarrier();
#for i in range(4)
        let pixel{{ i }} = min(m + load_pixel + {{ 4 * i }}u, last_pixel - 1u);
        let line{{ i }} = pixel{{ i }} / g.out_w;
        let iy{{ i }} = i32(line{{ i }} % g.out_h * g.stride) + shift_y;
        let ix{{ i }} = i32(pixel{{ i }} % g.out_w * g.stride) + shift_x;
        let counts{{ i }} = m + load_pixel + {{ 4 * i }}u < last_pixel;
        let inside{{ i }} = counts{{ i }} && u32(iy{{ i }}) < g.in_h && u32(ix{{ i }}) < g.in_w;
        let at{{ i }} = select(0u, ((line{{ i }} / g.out_h * g.in_h + u32(iy{{ i }})) * g.in_w + u32(ix{{ i }})) * g.in_groups, inside{{ i }});
        tile_x[(load_pixel + {{ 4 * i }}u) * 16u + thread % 16u] = select(vec4<f32>(0.0), x[at{{ i }} + load_group], inside{{ i }});
        tile_dy[(load_pixel + {{ 4 * i }}u) * 16u + thread % 16u] = dy[pixel{{ i }} * g.out_groups + load_column];
#endfor
        workgroupBarrier();
        for (var kk = 0u; kk < 256u; kk += 64u) {
#for u in range(4)
            let p{{ u }}_0 = tile_x[kk + {{ 16 * u }}u + ty];
            let p{{ u }}_1 = tile_x[kk + {{ 16 * u + 8 }}u + ty];
            let q{{ u }}_0 = tile_dy[kk + {{ 16 * u }}u + tx];
            let q{{ u }}_1 = tile_dy[kk + {{ 16 * u + 8 }}u + tx];
#for r in range(8)
            sum{{ r }}_0 += p{{ u }}_{{ r // 4 }}.{{ xyzw[r % 4] }} * q{{ u }}_0;
            sum{{ r }}_1 += p{{ u }}_{{ r // 4 }}.{{ xyzw[r % 4] }} * q{{ u }}_1;
#endfor
#endfor
        }
    }
    if (images.x >= images.y) {
        return;
    }
#for r in range(8)
    if (first_group + ty + {{ 8 * (r // 4) }}u < g.in_groups) {
        let channel = (first_group + ty + {{ 8 * (r // 4) }}u) * 4u + {{ r % 4 }}u;
#for c in range(2)
        if (first_column + tx + {{ 8 * c }}u < g.out_groups) {
            partial[result_at(run, tap, channel, first_column + tx + {{ 8 * c }}u)] = sum{{ r }}_{{ c }};
        }
#endfor
    }
#endfor
}
