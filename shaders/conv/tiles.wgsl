// Convolution by tiles in workgroup memory, for GPUs: an implicit matrix product, pixels x (taps * input channels) x
// output channels.
#set a_reads, b_reads = 2 * rows // threads, quads // 8
//
//     y[pixel, o] = activation(
//         (sum over taps, i of x[pixel + tap, i] * w[tap, i, o] + bias[o]) * gate[n, o] + shortcut[pixel, o])
//
// A workgroup of {{ threads }} threads computes {{ rows }} grid pixels x {{ 4 * quads }} channels. The sum runs over
// taps and quads of input channels as one sequence, four elements at a time, so three input channels cost no more than
// one quad:
//   1. thread t loads element t % 4 of four neighbouring pixels, so that four threads load 16 contiguous channels of a
//      pixel where the elements are of one tap, and {{ 16 * quads // threads }} quads of weights, which lie in the
//      order of the sequence, a row of a block side by side;
#if threads > rows
//      (the pixels are loaded by the first {{ rows }} threads);
#endif
//   2. it transposes the four pixels in registers and stores them as [k][pixel / 4], whole vec4 only, since a write to
//      one component may touch the other three. The exclusive or makes eight threads write to eight different sets of
//      banks;
//   3. while the next four elements are on their way to registers, the threads multiply; see conv/product.wgsl.
#if split
// This kernel computes only a split of the sequence; conv/sum_partials adds the splits and applies the epilogue.
#endif
//
// x: [N, H, W, Ci], w: [KH, KW, Ci, Co], y, shortcut: [N, OH, OW, Co], in quads, bias: [Co], gate: [N, Co] in vec4.
#include "shared/storage.wgsl"
#include "conv/walk.wgsl"
#include "shared/weights.wgsl"

@group(0) @binding(0) var<uniform> walk: Walk;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> w: array<Weights>;
#if split
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read_write> y: array<Quad>;
#include "shared/activation.wgsl"
#include "conv/epilogue.wgsl"
#endif

var<workgroup> tile_a: array<vec4<f32>, {{ 4 * rows }}>; // [16 k][{{ rows }} pixels / 4]
var<workgroup> tile_b: array<vec4<f32>, {{ 16 * quads }}>; // [16 k][{{ 4 * quads }} channels / 4]

@compute @workgroup_size({{ threads }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var block = workgroup.y * workgroups.x + workgroup.x;
    let first_column = block % walk.column_blocks * {{ quads }}u;
    block /= walk.column_blocks;
#if split
    let pixel_blocks = (walk.pixels + {{ rows - 1 }}u) / {{ rows }}u;
    let split = block / pixel_blocks;
    let first_pixel = block % pixel_blocks * {{ rows }}u;
    let first = split * walk.split_length;
    let end = min(first + walk.split_length, walk.taps_h * walk.taps_w * walk.in_quads);
#else
    let first_pixel = block * {{ rows }}u;
    let first = 0u;
    let end = walk.taps_h * walk.taps_w * walk.in_quads;
#endif
    let tx = thread % 8u;
    let ty = thread / 8u;

    // The pixels that this thread loads, relative to tap (0, 0): where they lie in the map and in memory. The two
    // coordinates share a register, which saves the one wave in eight that four registers cost on RDNA 2.
    let element = thread % 4u;
#for i in range(4)
    let pixel{{ i }} = min(first_pixel + thread / 4u * 4u + {{ i }}u, walk.pixels - 1u);
    let line{{ i }} = pixel{{ i }} / walk.grid_w;
    let y{{ i }} = i32(line{{ i }} % walk.grid_h) * walk.in_step_y + walk.in_y0;
    let x{{ i }} = i32(pixel{{ i }} % walk.grid_w) * walk.in_step_x + walk.in_x0;
    let yx{{ i }} = (y{{ i }} << 16u) | (x{{ i }} & 0xffff);
    let at{{ i }} =
        ((i32(line{{ i }} / walk.grid_h * walk.in_h) + y{{ i }}) * i32(walk.in_w) + x{{ i }}) * i32(walk.in_quads);
    var a{{ i }}: vec4<f32>;
    var inside{{ i }}: bool;
#endfor
    // The thread's element of the sequence.
    let tap = (first + element) / walk.in_quads;
    var quad = (first + element) % walk.in_quads;
    var tap_y = tap / walk.taps_w;
    var tap_x = tap % walk.taps_w;

    // The weights that this thread loads: column thread % {{ quads }} of rows thread / {{ quads }} + multiples of
    // {{ threads // quads }}.
    let load_row = thread / {{ quads }}u;
    let load_column = min(first_column + thread % {{ quads }}u, walk.out_quads - 1u);
    let weights = weight_at(walk.first_tap * walk.in_quads * 4u, load_column, walk.kernel_rows, walk.out_quads);
    let weight_stride = weight_row_stride(load_column, walk.out_quads);
#for i in range(16 * quads // threads)
    var b{{ i }}: vec4<f32>;
#endfor

#macro load(e)
        let dy = i32(tap_y) * walk.tap_step_y;
        let dx = i32(tap_x) * walk.tap_step_x;
        let offset = (dy * i32(walk.in_w) + dx) * i32(walk.in_quads) + i32(quad);
#for i in range(4)
        inside{{ i }} = {{ e }} + element < end && u32((yx{{ i }} >> 16u) + dy) < walk.in_h
            && u32(((yx{{ i }} << 16u) >> 16u) + dx) < walk.in_w;
        a{{ i }} = widen(x[select(0, at{{ i }} + offset, inside{{ i }})]);
#endfor
#for i in range(16 * quads // threads)
        b{{ i }} = widen_weights(
            w[weights + min({{ e }} * 4u + load_row + {{ i * threads // quads }}u, end * 4u - 1u) * weight_stride]);
#endfor
        quad += 4u;
        while (quad >= walk.in_quads) {
            quad -= walk.in_quads;
            tap_x += 1u;
            if (tap_x == walk.taps_w) {
                tap_x = 0u;
                tap_y += 1u;
            }
        }
#endmacro

#for r in range(4 * a_reads)
#for c in range(b_reads)
    var sum{{ r }}_{{ c }} = vec4<f32>(0.0);
#endfor
#endfor
    if (first < end) {
{{ load("first") }}
    }
    for (var e = first; e < end; e += 4u) {
        workgroupBarrier();
#for i in range(4)
        let p{{ i }} = select(vec4<f32>(0.0), a{{ i }}, inside{{ i }});
#endfor
        let at_a = element * {{ rows }}u + ((thread / 4u) ^ (2u * element));
#if threads > rows
        if (thread < {{ rows }}u) {
#endif
#for j in xyzw
        tile_a[at_a + {{ loop.index0 * rows // 4 }}u] = vec4<f32>(p0.{{ j }}, p1.{{ j }}, p2.{{ j }}, p3.{{ j }});
#endfor
#if threads > rows
        }
#endif
#for i in range(16 * quads // threads)
        tile_b[thread + {{ i * threads }}u] = b{{ i }};
#endfor
        workgroupBarrier();
        if (e + 4u < end) {
{{ load("(e + 4u)") }}
        }
#include "conv/product.wgsl"
    }
#for r in range(4 * a_reads)
    {
        let pixel = first_pixel + 4u * ty + {{ r % 4 + r // 4 * threads // 2 }}u;
        if (pixel < walk.pixels) {
#if strided or gate
            let line = pixel / walk.grid_w;
            let image = line / walk.grid_h;
#else
            let image = 0u;
#endif
#if strided
            let oy = line % walk.grid_h * walk.out_step_y + walk.out_y0;
            let ox = pixel % walk.grid_w * walk.out_step_x + walk.out_x0;
            let out = ((image * walk.out_h + oy) * walk.out_w + ox) * walk.out_quads;
#else
            let out = pixel * walk.out_quads;
#endif
#for c in range(b_reads)
            let column{{ c }} = first_column + tx + {{ 8 * c }}u;
            if (column{{ c }} < walk.out_quads) {
#if split
                y[split * walk.split_size + out + column{{ c }}] = sum{{ r }}_{{ c }};
#else
                y[out + column{{ c }}] = narrow(finish(sum{{ r }}_{{ c }}, image, column{{ c }}, out + column{{ c }}));
#endif
            }
#endfor
        }
    }
#endfor
}
