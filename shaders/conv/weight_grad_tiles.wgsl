// Weight gradient of a convolution by tiles in workgroup memory, for GPUs: the matrix product
// (taps * input channels) x pixels x output channels.
#set a_reads, b_reads = 2 * rows // threads, quads // 8
//
// A workgroup of {{ threads }} threads takes {{ rows // 4 }} elements of the sequence over taps and quads of input
// channels, {{ 4 * quads }} output channels and one run, 16 pixels at a time. Both maps are contiguous along their
// channels, so both tiles are copied nearly as they lie: up to {{ 4 * rows }} and {{ 16 * quads }} contiguous bytes a
// pixel, no two threads in the same bank. While the next 16 pixels are on their way to registers, the threads multiply;
// see conv/product.wgsl.
//
// x: [N, H, W, Ci], dy: [N, OH, OW, Co] in quads, partial: [runs, KH, KW, Ci, Co] in vec4.
#include "shared/storage.wgsl"
#include "conv/weight_grad.wgsl"

@group(0) @binding(0) var<uniform> g: Geometry;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>;

var<workgroup> tile_a: array<vec4<f32>, {{ 4 * rows }}>; // [16 pixels][{{ rows }} taps * input channels / 4]
var<workgroup> tile_b: array<vec4<f32>, {{ 16 * quads }}>; // [16 pixels][{{ 4 * quads }} output channels / 4]

#set width = rows // 4
@compute @workgroup_size({{ threads }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    var block = workgroup.y * workgroups.x + workgroup.x;
    let first_column = block % g.column_blocks * {{ quads }}u;
    block /= g.column_blocks;
    let first_row = block % g.row_blocks * {{ width }}u;
    let run = block / g.row_blocks;
    // Uniform over the workgroup; a workgroup past the end has no pixels and stores nothing.
    let images = run_images(run);
    let lines = run_lines(run);
    let first = (images.x * g.out_h + lines.x) * g.out_w;
    let end = select(first, ((images.y - 1u) * g.out_h + lines.y) * g.out_w, images.x < images.y);

    let tx = thread % 8u;
    let ty = thread / 8u;
    let sequence = g.kernel_h * g.kernel_w * g.in_quads;

    // From x, this thread loads one element of the sequence at pixels thread / {{ width }} + multiples of
    // {{ threads // width }}. It steps from one of these pixels to the next by known steps in x, y and n, without a
    // division.
    let element = min(first_row + thread % {{ width }}u, sequence - 1u);
    let tap = element / g.in_quads;
    let quad = element % g.in_quads;
    let shift_y = i32(tap / g.kernel_w * g.dilation_h) - i32(g.top);
    let shift_x = i32(tap % g.kernel_w * g.dilation_w) - i32(g.left);
    let step_x = {{ threads // width }}u % g.out_w;
    let step_y = {{ threads // width }}u / g.out_w % g.out_h;
    let step_n = {{ threads // width }}u / g.out_w / g.out_h;
    var pixel = first + thread / {{ width }}u;
    var ox = pixel % g.out_w;
    var oy = pixel / g.out_w % g.out_h;
    var n = pixel / g.out_w / g.out_h;
#for i in range(16 * width // threads)
    var a{{ i }}: vec4<f32>;
    var inside{{ i }}: bool;
#endfor

    // From dy, this thread loads column thread % {{ quads }} at pixels thread / {{ quads }} + multiples of
    // {{ threads // quads }}.
    let load_column = min(first_column + thread % {{ quads }}u, g.out_quads - 1u);
#for i in range(16 * quads // threads)
    var b{{ i }}: vec4<f32>;
#endfor

#macro load(m)
#for i in range(16 * width // threads)
        let iy{{ i }} = i32(oy * g.stride_h) + shift_y;
        let ix{{ i }} = i32(ox * g.stride_w) + shift_x;
        inside{{ i }} = pixel < end && u32(iy{{ i }}) < g.in_h && u32(ix{{ i }}) < g.in_w;
        a{{ i }} = widen(x[select(0u,
            ((n * g.in_h + u32(iy{{ i }})) * g.in_w + u32(ix{{ i }})) * g.in_quads + quad, inside{{ i }})]);
        pixel += {{ threads // width }}u;
        ox += step_x;
        oy += step_y;
        n += step_n;
        if (ox >= g.out_w) {
            ox -= g.out_w;
            oy += 1u;
        }
        if (oy >= g.out_h) {
            oy -= g.out_h;
            n += 1u;
        }
#endfor
#for i in range(16 * quads // threads)
        b{{ i }} = widen(dy[min({{ m }} + thread / {{ quads }}u +
            {{ i * threads // quads }}u, end - 1u) * g.out_quads + load_column]);
#endfor
#endmacro

#for r in range(4 * a_reads)
#for c in range(b_reads)
    var sum{{ r }}_{{ c }} = vec4<f32>(0.0);
#endfor
#endfor
    if (first < end) {
{{ load("first") }}
    }
    for (var m = first; m < end; m += 16u) {
        workgroupBarrier();
#for i in range(16 * width // threads)
        let row{{ i }} = thread / {{ width }}u + {{ i * threads // width }}u;
        tile_a[row{{ i }} * {{ width }}u + (thread % {{ width }}u ^ (row{{ i }} / 4u * 2u))] =
            select(vec4<f32>(0.0), a{{ i }}, inside{{ i }});
#endfor
#for i in range(16 * quads // threads)
        tile_b[thread + {{ i * threads }}u] = b{{ i }};
#endfor
        workgroupBarrier();
        if (m + 16u < end) {
{{ load("(m + 16u)") }}
        }
#include "conv/product.wgsl"
    }
    if (first >= end) {
        return;
    }
#for r in range(a_reads)
    let row{{ r }} = first_row + ty + {{ r * threads // 8 }}u;
    if (row{{ r }} < sequence) {
#for c in range(b_reads)
        let column{{ r }}_{{ c }} = first_column + tx + {{ 8 * c }}u;
        if (column{{ r }}_{{ c }} < g.out_quads) {
            let at = result_at(run, 4u * row{{ r }}, column{{ r }}_{{ c }});
            let stride = weight_row_stride(column{{ r }}_{{ c }}, g.out_quads);
#for j in range(4)
            partial[at + {{ j }}u * stride] = sum{{ 4 * r + j }}_{{ c }};
#endfor
        }
#endfor
    }
#endfor
}
