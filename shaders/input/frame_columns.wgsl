// Rows of the target's width, resized to its height, with a border around the target: the second of the two passes that
// data/resize.rs makes on the CPU. rows: [row_count, width], pixels: [H, input_width] from first_pixel on; RGBA with
// red in the lowest byte. i: a pixel of the result.
#include "input/filters.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,
    input_width: u32,
    left: u32, top: u32, width: u32, height: u32, // the target
    first_row: u32, // row of the picture that is row 0 of rows
    row_count: u32,
    picture_height: u32,
    first_pixel: u32,
    filter_number: u32,
    border: u32,    // RGBA
    start: f32, scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> pixels: array<u32>;

fn each(i: u32) {
    // For a pixel left of the target or above it the difference wraps around to a number beyond the target's end.
    let x = i % p.input_width - p.left;
    let y = i / p.input_width - p.top;
    if (x >= p.width || y >= p.height) {
        pixels[p.first_pixel + i] = p.border;
        return;
    }
    let t = taps(p.filter_number, y, p.start, p.scale, i32(p.picture_height));
    var sum = vec3<f32>(0.0);
    var total = 0.0;
    for (var tap = t.first; tap < t.end; tap += 1) {
        let row = clamp(tap - i32(p.first_row), 0, i32(p.row_count) - 1);
        sum += weight(t, tap) * unpack_rgb(rows[u32(row) * p.width + x]);
        total += weight(t, tap);
    }
    pixels[p.first_pixel + i] = pack_rgb(sum / total);
}
