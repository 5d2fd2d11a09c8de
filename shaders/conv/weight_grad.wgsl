// Geometry of the weight gradient, shared by both kernel families.
//
//     dw[ky, kx, i, o] = sum over n, oy, ox of x[n, iy, ix, i] * dy[n, oy, ox, o]
//     iy = oy * stride_h + ky * dilation_h - top, ix = ox * stride_w + kx * dilation_w - left
//
// The sum is cut into runs; see shared/runs.wgsl.
#include "shared/weights.wgsl"
struct Geometry {
    images: u32,
    run_images: u32,     // images in a run
    runs_per_image: u32, // more than 1 only where run_images is 1
    run_lines: u32,      // lines of an image in a run
    first_run: u32,      // where this dispatch's results start in the array of partial results
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    top: u32,            // padding
    left: u32,
    in_quads: u32,
    out_quads: u32,
    row_blocks: u32,     // workgroups along the input channels, in tiles along taps and input channels
    column_blocks: u32,  // workgroups along the output channels
}

#set params = "g"
#include "shared/runs.wgsl"

// Position of a run's result for one row (an input channel of a tap) and one quad of output channels.
fn result_at(run: u32, row: u32, column: u32) -> u32 {
    let rows = g.kernel_h * g.kernel_w * g.in_quads * 4u;
    return (g.first_run + run) * rows * g.out_quads + weight_at(row, column, rows, g.out_quads);
}
