// The rows of a texture, resized to the target's width: the first of the two passes that data/resize.rs makes on the
// CPU. rows: [rows, width], RGBA with red in the lowest byte. frame: 8-bit colours. i: a pixel of rows.
#include "input/filters.wgsl"
#include "shared/each.wgsl"

struct Params {
    count: u32,
    width: u32,
    first_row: u32, // row of the texture that is row 0 of rows
    is_linear: u32, // 1 if reads return linear light, as those of an sRGB texture do, since they decode it
    filter_number: u32,
    start: f32, scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
@group(0) @binding(2) var frame: texture_2d<f32>;

// Networks are trained on the values in picture files, which are sRGB.
fn srgb(linear: vec3<f32>) -> vec3<f32> {
    let curve = 1.055 * pow(linear, vec3<f32>(1.0 / 2.4)) - 0.055;
    return select(curve, 12.92 * linear, linear <= vec3<f32>(0.0031308));
}

fn each(i: u32) {
    let x = i % p.width;
    let y = p.first_row + i / p.width;
    let size = vec2<i32>(textureDimensions(frame));
    let t = taps(p.filter_number, x, p.start, p.scale, size.x);
    var sum = vec3<f32>(0.0);
    var total = 0.0;
    for (var tap = t.first; tap < t.end; tap += 1) {
        var colour = textureLoad(frame, vec2<i32>(tap, min(i32(y), size.y - 1)), 0).rgb;
        if (p.is_linear == 1u) {
            colour = srgb(colour);
        }
        sum += weight(t, tap) * round(255.0 * colour);
        total += weight(t, tap);
    }
    rows[i] = pack_rgb(sum / total);
}
