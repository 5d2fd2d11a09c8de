// square = spread * variance + level * mean^2, where the spread makes the variance unbiased if that is asked for. The
// loss is the square{{ ", or factor * sqrt(square)" if root else "" }}.
fn spread(pixels: f32) -> f32 {
    return {{ "pixels / max(pixels - 1.0, 1.0)" if unbiased else "1.0" }};
}

fn square(pixels: f32, mean: f32, variance: f32) -> f32 {
    return spread(pixels) * variance + p.level * mean * mean;
}
