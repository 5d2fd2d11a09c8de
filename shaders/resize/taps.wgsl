// A pixel of a resized axis as a weighted sum of two pixels of the axis before. Nearest: pixel o of `out` is pixel
// floor(o * length / out). Bilinear: it lies at (o + 0.5) * length / out - 0.5, at least 0. Positions are counted in
// units of half a new pixel: integers, so that no weight suffers from the rounding of a large coordinate.
struct Taps {
    pixels: vec2<u32>,
    share: f32, // of the second
}

fn taps(o: u32, length: u32, out: u32) -> Taps {
#if filter == "nearest"
    return Taps(vec2<u32>(o * length / out), 0.0);
#else
    let at = max((2u * o + 1u) * length, out) - out;
    let first = at / (2u * out);
    let share = f32(at - first * 2u * out) / f32(2u * out);
    return Taps(vec2<u32>(first, min(first + 1u, length - 1u)), share);
#endif
}
