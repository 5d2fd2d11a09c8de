// Geometry of the weight gradient, shared by both kernel families.
//
//     dw[ky, kx, i, o] = sum over n, oy, ox of x[n, oy*stride + ky - padding, ox*stride + kx - padding, i] * dy[n, oy, ox, o]
//
// The images are split into runs; each run writes a whole dw of its own, and sum_splits adds them in order.
struct Geometry {
    images: u32,
    images_per_split: u32,
    first_split: u32,   // where this dispatch's results start in the array of partial results
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride: u32,
    padding: u32,
    in_groups: u32,
    out_units: u32,
    row_blocks: u32,    // workgroups along the input channels
    column_blocks: u32, // workgroups along the output channels
}
