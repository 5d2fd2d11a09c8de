// Convolution in registers alone, for CPU adapters: no workgroup memory, no barrier.
//
//     y[pixel, o] = activation(
//         (sum over taps, i of x[pixel + tap, i] * w[tap, i, o] + bias[o]) * gate[n, o] + shortcut[pixel, o])
//
// On a CPU adapter a workgroup of {{ lanes }} is one SIMD register wide, and a multiply-add of all lanes costs less
// than a load, which the driver carries out lane by lane. So no number is loaded twice: each lane loads a part of the
// numbers that all lanes need, and a subgroup broadcast, which is one shuffle on a CPU, shares them.
#if lanes_along == "pixels"
// The lanes lie side by side along the pixels, for layers too narrow to fill them with channels; the weights are
// broadcast. A lane keeps the sums of {{ own }} pixels x {{ 4 * cols }} channels. Workgroup: {{ own * lanes }} pixels x
// {{ 4 * cols }} channels.
#else
// The lanes lie side by side along the output channels; the pixels are broadcast. A lane keeps the sums of
// {{ own * lanes }} pixels x {{ 4 * cols }} channels. Workgroup: {{ own * lanes }} pixels x {{ 4 * cols * lanes }}
// channels.
#endif
// To compile another kernel takes the driver longer than to test a uniform at run time, so one kernel serves
// convolutions with and without padding, bias, gate, shortcut, and ReLU. With more than one split, each split sums over
// its own rows of taps and stores its own result.
//
// x: [N, H, W, Ci], w: [KH, KW, Ci, Co], y, shortcut: [N, OH, OW, Co], in quads, bias: [Co], gate: [N, Co] in vec4.
#include "shared/storage.wgsl"
#include "conv/walk.wgsl"
#include "shared/activation.wgsl"
#include "shared/weights.wgsl"

@group(0) @binding(0) var<uniform> walk: Walk;
@group(0) @binding(1) var<storage, read> x: array<Quad>;
@group(0) @binding(2) var<storage, read> w: array<Weights>;
@group(0) @binding(3) var<storage, read_write> y: array<Quad>;
@group(0) @binding(4) var<storage, read> bias: array<Full>;
@group(0) @binding(5) var<storage, read> gate: array<Full>;
@group(0) @binding(6) var<storage, read> shortcut: array<Quad>;

// The epilogue of a sum. The bias is already in it, since the sum started at the bias.
fn finish(sum: vec4<f32>, image: u32, column: u32, at: u32) -> vec4<f32> {
    var v = sum;
    if (walk.has_gate != 0u) {
        v *= from_full(gate[image * walk.out_quads + column]);
    }
    if (walk.has_shortcut != 0u) {
        v += widen(shortcut[at]);
    }
    v = activate(v);
    return select(v, max(v, vec4<f32>(0.0)), walk.rectified != 0u);
}

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = workgroup.y * workgroups.x + workgroup.x;
    // Neighbouring workgroups share a block of weights, which stays in the cache.
    let pixel_blocks = (walk.pixels + {{ own * lanes - 1 }}u) / {{ own * lanes }}u;
    let first_pixel = block % pixel_blocks * {{ own * lanes }}u;
    let column_block = block / pixel_blocks % walk.column_blocks;
    let split = block / pixel_blocks / walk.column_blocks;
    if (split >= walk.splits) {
        return;
    }
    let split_rows = walk.taps_h / walk.splits; // a split has whole rows of taps
#if lanes_along == "pixels"
    let column = column_block * {{ cols }}u;
#set column_step = 1
#else
    let column = column_block * {{ cols * lanes }}u + lane;
#set column_step = lanes
#endif

    // Grid positions of the pixels that this lane loads: every {{ lanes }}th from its first on. The first position
    // takes divisions; each further pixel is a step from the one before it. A pixel past the map's end repeats
    // the last one.
    let first = min(first_pixel + lane, walk.pixels - 1u);
    let first_line = first / walk.grid_w;
    var n = first_line / walk.grid_h;
    var gy = first_line % walk.grid_h;
    var gx = first % walk.grid_w;
#for o in range(own)
    var n{{ o }} = n;
    let gy{{ o }} = gy;
    let gx{{ o }} = gx;
#if not loop.last
    if (first + {{ (o + 1) * lanes }}u < walk.pixels) {
        gx += {{ lanes }}u;
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
#if lanes_along == "pixels"
#set loads, rows = (4 * cols + lanes - 1) // lanes, own

    // Weights of one input quad: 4 rows of {{ cols }} quads, of which a lane loads every {{ lanes }}th.
#for i in range(loads)
    let part{{ i }} = min(lane + {{ i * lanes }}u, {{ 4 * cols - 1 }}u);
    let read{{ i }} = min(column + part{{ i }} % {{ cols }}u, walk.out_quads - 1u);
    let base{{ i }} = weight_at(part{{ i }} / {{ cols }}u, read{{ i }}, walk.kernel_rows, walk.out_quads);
    let stride{{ i }} = weight_row_stride(read{{ i }}, walk.out_quads);
#endfor
#else

#for c in range(cols)
    let read{{ c }} = min(column + {{ c * lanes }}u, walk.out_quads - 1u);
    let base{{ c }} = weight_at(0u, read{{ c }}, walk.kernel_rows, walk.out_quads);
    let stride{{ c }} = weight_row_stride(read{{ c }}, walk.out_quads);
#endfor
#set loads, rows = cols, own * lanes
#endif

#for c in range(cols)
    let start{{ c }} = select(vec4<f32>(0.0),
        from_full(bias[min(column + {{ c * column_step }}u, walk.out_quads - 1u)]), walk.has_bias != 0u);
#for r in range(rows)
    var sum{{ r }}_{{ c }} = start{{ c }};
#endfor
#endfor
    var ty = split * split_rows;
    var tx = 0u;
    for (var tap = ty * walk.taps_w; tap < (split + 1u) * split_rows * walk.taps_w; tap++) {
        let dy = walk.in_y0 + i32(ty) * walk.tap_step_y;
        let dx = walk.in_x0 + i32(tx) * walk.tap_step_x;
#for o in range(own)
        let iy{{ o }} = i32(gy{{ o }}) * walk.in_step_y + dy;
        let ix{{ o }} = i32(gx{{ o }}) * walk.in_step_x + dx;
        let inside{{ o }} = u32(iy{{ o }}) < walk.in_h && u32(ix{{ o }}) < walk.in_w;
        let at{{ o }} = select(0u,
            ((n{{ o }} * walk.in_h + u32(iy{{ o }})) * walk.in_w + u32(ix{{ o }})) * walk.in_quads, inside{{ o }});
#endfor
#for i in range(loads)
        var weight{{ i }} = base{{ i }} + (walk.first_tap + tap) * walk.in_quads * 4u * stride{{ i }};
#endfor
        for (var k = 0u; k < walk.in_quads; k++) {
#for o in range(own)
            let a{{ o }} = select(vec4<f32>(0.0), widen(x[at{{ o }} + k]), inside{{ o }});
#endfor
#if lanes_along == "pixels"
#for i in range(loads)
            let b{{ i }} = widen_weights(w[weight{{ i }}]);
            weight{{ i }} += 4u * stride{{ i }};
#endfor
#for q in range(4 * cols)
            let w{{ q }} = subgroupBroadcast(b{{ q // lanes }}, {{ q % lanes }}u);
#for r in range(rows)
            sum{{ r }}_{{ q % cols }} += a{{ r }}.{{ xyzw[q // cols] }} * w{{ q }};
#endfor
#endfor
#else
#for j in xyzw
#for c in range(cols)
            let b_{{ j }}{{ c }} = widen_weights(w[weight{{ c }}]);
            weight{{ c }} += stride{{ c }};
#endfor
#for r in range(rows)
            let a{{ r }}_{{ j }} = subgroupBroadcast(a{{ r // lanes }}.{{ j }}, {{ r % lanes }}u);
#for c in range(cols)
            sum{{ r }}_{{ c }} += a{{ r }}_{{ j }} * b_{{ j }}{{ c }};
#endfor
#endfor
#endfor
#endif
        }
        // The next tap, without a division.
        tx += 1u;
        if (tx == walk.taps_w) {
            tx = 0u;
            ty += 1u;
        }
    }

    // Where the lane's pixels are stored. A pixel that repeats another stores the same value again. This is safe even
    // if another lane stores it at the same time, since the lanes are those of one SIMD register.
#for o in range(own)
    let oy{{ o }} = gy{{ o }} * walk.out_step_y + walk.out_y0;
    let ox{{ o }} = gx{{ o }} * walk.out_step_x + walk.out_x0;
    var out{{ o }} = ((n{{ o }} * walk.out_h + oy{{ o }}) * walk.out_w + ox{{ o }}) * walk.out_quads
        + split * walk.split_size;
#endfor
    // Results are stored in loops, since the driver takes long to compile stores and their loads, which it carries out
    // lane by lane. Each iteration moves the next result into the variables that the top of the loop reads.
#if lanes_along == "pixels"
    for (var c = 0u; c < {{ cols }}u; c++) {
        let quad = column + c;
        for (var r = 0u; r < {{ own }}u; r++) {
            if (quad < walk.out_quads) {
                y[out0 + quad] = narrow(finish(sum0_0, n0, quad, out0 + quad));
            }
            // The pixels rotate, since the next quad's sums belong to the same pixels.
            let stored_out = out0;
            let stored_n = n0;
#for r in range(own - 1)
            out{{ r }} = out{{ r + 1 }};
            n{{ r }} = n{{ r + 1 }};
            sum{{ r }}_0 = sum{{ r + 1 }}_0;
#endfor
            out{{ own - 1 }} = stored_out;
            n{{ own - 1 }} = stored_n;
        }
#for c in range(cols - 1)
#for r in range(own)
        sum{{ r }}_{{ c }} = sum{{ r }}_{{ c + 1 }};
#endfor
#endfor
    }
#else
    for (var o = 0u; o < {{ own }}u; o++) {
#for r in range(lanes)
        let to{{ r }} = subgroupBroadcast(out0, {{ r }}u);
        let image{{ r }} = subgroupBroadcast(n0, {{ r }}u);
#endfor
#for c in range(cols)
        if (column + {{ c * lanes }}u < walk.out_quads) {
            let quad = column + {{ c * lanes }}u;
#for r in range(lanes)
            y[to{{ r }} + quad] = narrow(finish(sum{{ r }}_{{ c }}, image{{ r }}, quad, to{{ r }} + quad));
#endfor
        }
#endfor
#for o in range(own - 1)
        out{{ o }} = out{{ o + 1 }};
        n{{ o }} = n{{ o + 1 }};
#endfor
#for c in range(cols)
#for r in range(rows - lanes)
        sum{{ r }}_{{ c }} = sum{{ r + lanes }}_{{ c }};
#endfor
#endfor
    }
#endif
}
