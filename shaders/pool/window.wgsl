// The windows of a pool, of {{ kernel_h }} x {{ kernel_w }} taps, and how they relate to pixels along one axis. Window
// o starts at o * stride - padding; its taps lie `dilation` pixels apart.
struct Params {
    count: u32, // values of i
    quads: u32, // C / 4
    in_h: u32,  // of the map
    in_w: u32,
    out_h: u32, // windows down and across
    out_w: u32,
    top: i32,   // padding
    left: i32,
}

// The taps of a window that lie inside the map: the first, and one past the last. Every window of a pool has at least
// one such tap.
fn taps_inside(start: i32, taps: i32, dilation: i32, size: i32) -> vec2<i32> {
    return vec2<i32>((max(-start, 0) + dilation - 1) / dilation, min(taps, (size - start + dilation - 1) / dilation));
}

// The windows that read a pixel: every dilation-th from the first on, and one past the last. `at`: the pixel, counted
// from the padding's corner. A dilated window has stride 1.
fn windows_reading(at: i32, taps: i32, stride: i32, dilation: i32, windows: i32) -> vec2<i32> {
    let first = max(at - (taps - 1) * dilation, 0);
    return vec2<i32>((first + stride - 1) / stride + (at - first) % dilation, min(at / stride + 1, windows));
}
