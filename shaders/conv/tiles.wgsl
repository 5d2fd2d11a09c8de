// Convolution by tiles in workgroup memory, for GPUs: an implicit matrix product, pixels x (taps * input channels) x output channels.
//
//     y[pixel, o] = activation((sum over taps, i of x[pixel + tap, i] * w[tap, i, o] + bias[o]) * gate[n, o] + shortcut[pixel, o])
//
// A workgroup of 64 threads computes 64 grid pixels x 64 channels, 16 input channels of one tap at a time:
//   1. thread t loads the 16 channels of pixel t (64 contiguous bytes) and stores them transposed, [k][pixel], so that
//      neighbouring threads write neighbouring words: no bank conflicts;
//   2. the threads load 16 rows of 64 weights as they lie, 256 contiguous bytes a row;
//   3. thread (ty, tx) of 8 x 8 multiplies: per k two vec4 of pixels and two vec4 of channels give 64 multiply-adds for
//      four 16-byte reads. Its pixels are 4 ty + {0..3, 32..35}, its channel groups tx + {0, 8}, so that the eight
//      threads of a row read neighbouring vec4.
//
// x: [N, H, W, Ci], w: [KH, KW, Ci, Co], y, shortcut: [N, OH, OW, Co], in groups of 4 channels, bias: [Co], gate: [N, Co] in vec4.
#include "shared/storage.wgsl"
#include "conv/walk.wgsl"
#include "shared/activation.wgsl"
#include "shared/weights.wgsl"

@group(0) @binding(0) var<uniform> walk: Walk;
@group(0) @binding(1) var<storage, read> x: array<Group>;
@group(0) @binding(2) var<storage, read> w: array<Group>;
@group(0) @binding(3) var<storage, read_write> y: array<Group>;
#include "conv/epilogue.wgsl"

var<workgroup> tile_x: array<vec4<f32>, 256>; // [16 k][64 pixels / 4]
var<workgroup> tile_w: array<vec4<f32>, 256>; // [16 k][64 channels / 4]

fn store(pixel: u32, column: u32, sum: vec4<f32>) {
    if (pixel >= walk.pixels || column >= walk.out_groups) {
        return;
    }
    let line = pixel / walk.grid_w;
    let image = line / walk.grid_h;
    let oy = line % walk.grid_h * walk.out_step + walk.out_y0;
    let ox = pixel % walk.grid_w * walk.out_step + walk.out_x0;
    let at = ((image * walk.out_h + oy) * walk.out_w + ox) * walk.out_groups + column;
    y[at] = narrow(finish(sum, image, column, at));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    let first_pixel = block / walk.column_blocks * 64u;
    let first_column = block % walk.column_blocks * 16u;
    let tx = thread % 8u;
    let ty = thread / 8u;

    // The pixel this thread loads.
    let pixel = min(first_pixel + thread, walk.pixels - 1u);
    let line = pixel / walk.grid_w;
    let image = line / walk.grid_h;
    let base_y = i32(line % walk.grid_h) * walk.in_step + walk.in_y0;
    let base_x = i32(pixel % walk.grid_w) * walk.in_step + walk.in_x0;

    // The weights this thread loads: column thread % 16 of rows thread / 16 + {0, 4, 8, 12}.
    let load_row = thread / 16u;
    let load_column = min(first_column + thread % 16u, walk.out_groups - 1u);
    let rows = walk.in_groups * 4u;
    let weight_base = weight_at(0u, load_column, walk.kernel_rows, walk.out_groups);
    let weight_stride = weight_row_stride(load_column, walk.out_groups);

#for r in range(8)
    var sum{{ r }}_0 = vec4<f32>(0.0);
    var sum{{ r }}_1 = vec4<f32>(0.0);
#endfor
    let taps = walk.taps_h * walk.taps_w;
    for (var t = 0u; t < taps; t++) {
        let tap_y = t / walk.taps_w;
        let tap_x = t % walk.taps_w;
        let iy = base_y + i32(tap_y) * walk.tap_step;
        let ix = base_x + i32(tap_x) * walk.tap_step;
        let inside = u32(iy) < walk.in_h && u32(ix) < walk.in_w;
        let at = select(0u, ((image * walk.in_h + u32(iy)) * walk.in_w + u32(ix)) * walk.in_groups, inside);
        let tap = (walk.kernel_y0 + tap_y * walk.kernel_step) * walk.kernel_w + walk.kernel_x0 + tap_x * walk.kernel_step;
        for (var k = 0u; k < walk.in_groups; k += 4u) {
            workgroupBarrier();
#for i in range(4)
            let a{{ i }} = select(vec4<f32>(0.0), widen(x[at + min(k + {{ i }}u, walk.in_groups - 1u)]), inside && k + {{ i }}u < walk.in_groups);
#endfor
#for i in range(4)
            let row{{ i }} = k * 4u + load_row + {{ 4 * i }}u;
            let b{{ i }} = select(vec4<f32>(0.0), widen(w[weight_base + (tap * rows + min(row{{ i }}, rows - 1u)) * weight_stride]), row{{ i }} < rows);
#endfor
#for i in range(4)
#for j in xyzw
            tile_x[{{ (4 * i + loop.index0) * 16 }}u + thread / 4u][thread % 4u] = a{{ i }}.{{ j }};
#endfor
            tile_w[(load_row + {{ 4 * i }}u) * 16u + thread % 16u] = b{{ i }};
#endfor
            workgroupBarrier();
            for (var kk = 0u; kk < 256u; kk += 64u) {
#for u in range(4)
                let p{{ u }}_0 = tile_x[kk + {{ 16 * u }}u + ty];
                let p{{ u }}_1 = tile_x[kk + {{ 16 * u + 8 }}u + ty];
                let q{{ u }}_0 = tile_w[kk + {{ 16 * u }}u + tx];
                let q{{ u }}_1 = tile_w[kk + {{ 16 * u + 8 }}u + tx];
#for r in range(8)
                sum{{ r }}_0 += p{{ u }}_{{ r // 4 }}.{{ xyzw[r % 4] }} * q{{ u }}_0;
                sum{{ r }}_1 += p{{ u }}_{{ r // 4 }}.{{ xyzw[r % 4] }} * q{{ u }}_1;
#endfor
#endfor
            }
        }
    }
#for r in range(8)
    store(first_pixel + 4u * ty + {{ r % 4 + 32 * (r // 4) }}u, first_column + tx, sum{{ r }}_0);
    store(first_pixel + 4u * ty + {{ r % 4 + 32 * (r // 4) }}u, first_column + tx + 8u, sum{{ r }}_1);
#endfor
}
