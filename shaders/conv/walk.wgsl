// How a convolution walks over its input. One form serves the forward pass and the input gradient.
//
// A dispatch computes a grid of output pixels. Grid pixel (gy, gx) of image n is stored at
// (gy * out_step_y + out_y0, gx * out_step_x + out_x0). Its tap (ty, tx) reads input pixel
//     (gy * in_step_y + in_y0 + ty * tap_step_y, gx * in_step_x + in_x0 + tx * tap_step_x)
// times tap first_tap + ty * taps_w + tx of the kernel.
//
// Forward, along each axis: in_step = stride, in_y0 = -padding, tap_step = dilation, out_step = 1.
//
// Input gradient: output pixel y sees kernel row ky where y + padding - ky * dilation is a multiple of the stride. An
// axis has a stride or a dilation, not both. With a stride, pixels of equal remainder y mod stride see the same rows,
// every stride-th, walked backwards: each such phase is a dispatch, and no work is spent on the zeros that a stride
// would interleave. So out_step = stride, tap_step = -1, in_step = 1, and conv/exchange_channels puts a phase's taps
// together. With a dilation there is one phase, whose pixels see every row, walked backwards: tap_step = -dilation.
struct Walk {
    pixels: u32,        // images * grid_h * grid_w
    grid_h: u32,
    grid_w: u32,
    out_h: u32,
    out_w: u32,
    out_step_y: u32,
    out_step_x: u32,
    out_y0: u32,
    out_x0: u32,
    in_h: u32,
    in_w: u32,
    in_step_y: i32,
    in_step_x: i32,
    in_y0: i32,
    in_x0: i32,
    tap_step_y: i32,
    tap_step_x: i32,
    taps_h: u32,
    taps_w: u32,
    first_tap: u32,     // where the dispatch's taps start in the kernel, in which they lie one after another
    kernel_rows: u32,   // rows of the weights: all taps * input channels
    in_quads: u32,      // input channels / 4
    out_quads: u32,     // output channels / 4
    column_blocks: u32, // workgroups side by side along the output channels
    splits: u32,        // of the sequence of taps and quads, each with a result of its own
    split_length: u32,  // elements of the sequence in a split
    split_size: u32,    // vec4 in a split's result
    // Only the kernels of CPU adapters read these; for GPUs they are settings of the shader's text.
    has_bias: u32,      // whether there is a bias; if not, another buffer is bound in its place
    has_gate: u32,
    has_shortcut: u32,
    rectified: u32,     // whether ReLU is applied
}
