// Weight gradient of a convolution in registers alone, for CPU adapters; see conv/registers.wgsl for what costs time
// there.
//
#if lanes_along == "channels"
// The lanes lie side by side along the channels: each loads one quad of input channels, which a subgroup broadcast
// shares, and {{ cols }} quads of output channels for itself. All lanes walk over the same pixels of the workgroup's
// run. Workgroup: one tap, {{ 4 * lanes }} input channels x {{ 4 * lanes * cols }} output channels.
#else
// The lanes lie side by side along the pixels of the workgroup's run, for layers too narrow to fill them with channels:
// each adds up every {{ lanes }}th pixel that the tap reaches, so that together they read what lies together in memory.
// In the end the lanes' sums are added in order. Workgroup: one tap, {{ 4 * own }} input channels x {{ 4 * cols }}
// output channels.
#endif
//
// x: [N, H, W, Ci], dy: [N, OH, OW, Co] in quads, partial: [runs, KH, KW, Ci, Co] in vec4.
#include "shared/storage.wgsl"
#include "conv/weight_grad.wgsl"

@group(0) @binding(0) var<uniform> g: Geometry;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> dy: array<Quad>;
@group(0) @binding(3) var<storage, read_write> partial: array<Full>;

// First and one past the last output position whose tap, `shift` pixels from the window's first, lies inside the input.
fn reach(shift: u32, padding: u32, stride: u32, size: u32, outputs: u32) -> vec2<u32> {
    let first = (max(padding, shift) - shift + stride - 1u) / stride;
    let limit = size + padding;
    if (limit <= shift) {
        return vec2<u32>(0u, 0u);
    }
    return vec2<u32>(first, min(outputs, (limit - shift + stride - 1u) / stride));
}

#if lanes_along == "pixels"
// The image, the line and the column of a position among images of this size.
fn split(position: u32, height: u32, width: u32) -> vec3<u32> {
    let line = position / max(width, 1u);
    return vec3<u32>(line / max(height, 1u), line % max(height, 1u), position % max(width, 1u));
}

#endif
@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var block = workgroup.y * workgroups.x + workgroup.x;
#if lanes_along == "channels"
#set block_quads, block_columns, rows = lanes, lanes * cols, 4 * lanes
#else
#set block_quads, block_columns, rows = own, cols, 4 * own
#endif
    let first_column = block % g.column_blocks * {{ block_columns }}u;
    block /= g.column_blocks;
    let first_quad = block % g.row_blocks * {{ block_quads }}u;
    block /= g.row_blocks;
    let taps = g.kernel_h * g.kernel_w;
    let tap = block % taps;
    let run = block / taps;
    let images = run_images(run);
    if (images.x >= images.y) {
        return;
    }
    let lines = run_lines(run);
    let shift_y = tap / g.kernel_w * g.dilation_h;
    let shift_x = tap % g.kernel_w * g.dilation_w;
    let ys = reach(shift_y, g.top, g.stride_h, g.in_h, g.out_h);
    let xs = reach(shift_x, g.left, g.stride_w, g.in_w, g.out_w);
    let first_x = xs.x * g.stride_w + shift_x - g.left;

#for r in range(rows)
#for c in range(cols)
    var sum{{ r }}_{{ c }} = vec4<f32>(0.0);
#endfor
#endfor
#if lanes_along == "channels"
    let quad = min(first_quad + lane, g.in_quads - 1u);
#for c in range(cols)
    let column{{ c }} = first_column + {{ c * lanes }}u + lane;
    let read{{ c }} = min(column{{ c }}, g.out_quads - 1u);
#endfor
    for (var n = images.x; n < images.y; n++) {
        for (var oy = max(ys.x, lines.x); oy < min(ys.y, lines.y); oy++) {
            let iy = oy * g.stride_h + shift_y - g.top;
            var at = ((n * g.in_h + iy) * g.in_w + first_x) * g.in_quads + quad;
            var out = ((n * g.out_h + oy) * g.out_w + xs.x) * g.out_quads;
            for (var ox = xs.x; ox < xs.y; ox++) {
                let a = widen(x[at]);
#for c in range(cols)
                let d{{ c }} = widen(dy[out + read{{ c }}]);
#endfor
#for r in range(rows)
                let a{{ r }} = subgroupBroadcast(a.{{ xyzw[r % 4] }}, {{ r // 4 }}u);
#for c in range(cols)
                sum{{ r }}_{{ c }} += a{{ r }} * d{{ c }};
#endfor
#endfor
                at += g.stride_w * g.in_quads;
                out += g.out_quads;
            }
        }
    }
    // Stores one quad of rows after another; each iteration moves the next one up (see conv/registers.wgsl).
    for (var row = first_quad; row < min(first_quad + {{ lanes }}u, g.in_quads); row++) {
#for c in range(cols)
        if (column{{ c }} < g.out_quads) {
            let at = result_at(run, (tap * g.in_quads + row) * 4u, column{{ c }});
            let stride = weight_row_stride(column{{ c }}, g.out_quads);
#for r in range(4)
            partial[at + {{ r }}u * stride] = to_full(sum{{ r }}_{{ c }});
#endfor
        }
#endfor
#for r in range(rows - 4)
#for c in range(cols)
        sum{{ r }}_{{ c }} = sum{{ r + 4 }}_{{ c }};
#endfor
#endfor
    }
#else
#for c in range(cols)
    let read{{ c }} = min(first_column + {{ c }}u, g.out_quads - 1u);
#endfor
#for i in range(own)
    let quad{{ i }} = min(first_quad + {{ i }}u, g.in_quads - 1u);
#endfor
    // The outputs whose tap lies inside the input: images x height x width, of which a lane visits every {{ lanes }}th.
    let first_y = max(ys.x, lines.x);
    let height = max(min(ys.y, lines.y), first_y) - first_y;
    let width = max(xs.y, xs.x) - xs.x;
    let count = (images.y - images.x) * height * width;
    var place = split(lane, height, width);
    let step = split({{ lanes }}u, height, width);
    for (var first = 0u; first < count; first += {{ lanes }}u) {
        let counts = first + lane < count;
        let n = images.x + place.x;
        let oy = first_y + place.y;
        let ox = xs.x + place.z;
        let iy = oy * g.stride_h + shift_y - g.top;
        let ix = ox * g.stride_w + shift_x - g.left;
        let at = select(0u, ((n * g.in_h + iy) * g.in_w + ix) * g.in_quads, counts);
        let out = select(0u, ((n * g.out_h + oy) * g.out_w + ox) * g.out_quads, counts);
#for c in range(cols)
        let d{{ c }} = widen(dy[out + read{{ c }}]);
#endfor
#for i in range(own)
        let a{{ i }} = select(vec4<f32>(0.0), widen(x[at + quad{{ i }}]), counts);
#endfor
#for r in range(rows)
#for c in range(cols)
        sum{{ r }}_{{ c }} += a{{ r // 4 }}.{{ xyzw[r % 4] }} * d{{ c }};
#endfor
#endfor
        place += step;
        let past_line = place.z >= width;
        place.z -= select(0u, width, past_line);
        place.y += select(0u, 1u, past_line);
        let past_image = place.y >= height;
        place.y -= select(0u, height, past_image);
        place.x += select(0u, 1u, past_image);
    }
    // Stores one column after another; each iteration moves the next one up (see conv/registers.wgsl). Every lane adds
    // up all lanes' sums, and the first lane stores the total.
    for (var c = 0u; c < {{ cols }}u; c++) {
        let column = first_column + c;
#for r in range(rows)
        let total{{ r }} = {% for l in range(lanes) %}
            subgroupBroadcast(sum{{ r }}_0, {{ l }}u){{ "" if loop.last else " + " }}
        {%- endfor %};
#endfor
        if (lane == 0u && column < g.out_quads) {
            let at = result_at(run, (tap * g.in_quads + first_quad) * 4u, column);
            let stride = weight_row_stride(column, g.out_quads);
#for i in range(own)
            if (first_quad + {{ i }}u < g.in_quads) {
#for r in range(4 * i, 4 * i + 4)
                partial[at + {{ r }}u * stride] = to_full(total{{ r }});
#endfor
            }
#endfor
        }
#for r in range(rows)
#for c in range(cols - 1)
        sum{{ r }}_{{ c }} = sum{{ r }}_{{ c + 1 }};
#endfor
#endfor
    }
#endif
}
