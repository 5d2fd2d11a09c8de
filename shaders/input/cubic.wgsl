// Pillow's bicubic filter (a = -0.5) along one axis, stretched when shrinking so that it does not alias.

// What pixel `at` of the result is made of: the weighted mean of the pixels first .. end. The part of the picture that is resized begins at
// `start`, and a pixel of the result covers `scale` of its pixels. Taps reach beyond the part, but not beyond the picture.
struct Taps {
    first: i32,
    end: i32,
    centre: f32,
    stretch: f32,
}

fn taps(at: u32, start: f32, scale: f32, length: i32) -> Taps {
    let stretch = max(scale, 1.0);
    let centre = start + (f32(at) + 0.5) * scale;
    let first = max(i32(floor(centre - 2.0 * stretch + 0.5)), 0);
    let end = min(i32(floor(centre + 2.0 * stretch + 0.5)), length);
    return Taps(first, end, centre, stretch);
}

fn weight(t: Taps, tap: i32) -> f32 {
    let x = abs((f32(tap) + 0.5 - t.centre) / t.stretch);
    let near = (1.5 * x - 2.5) * x * x + 1.0;
    let far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
    return select(select(0.0, far, x < 2.0), near, x < 1.0);
}

// Both axes round to 8 bits, as Pillow does. Red is the lowest byte.
fn pack_rgb(colour: vec3<f32>) -> u32 {
    let bytes = vec3<u32>(clamp(floor(colour + 0.5), vec3<f32>(0.0), vec3<f32>(255.0)));
    return bytes.r | (bytes.g << 8u) | (bytes.b << 16u);
}

fn unpack_rgb(rgba: u32) -> vec3<f32> {
    return vec3<f32>(f32(rgba & 255u), f32((rgba >> 8u) & 255u), f32((rgba >> 16u) & 255u));
}
