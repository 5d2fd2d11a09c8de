// Where pixel o of `out` lies on an axis of `length` pixels, by pixel centres: at (o + 0.5) * length / out - 0.5, at
// least 0. It is counted in units of half a new pixel, 2 * out of them a pixel: integers, so that no weight suffers
// from the rounding of a large coordinate.
fn position(o: u32, length: u32, out: u32) -> u32 {
    return max((2u * o + 1u) * length, out) - out;
}
