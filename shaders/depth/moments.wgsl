// Number, mean and squared deviations of some pixels' d = ln(prediction) - ln(truth), and how they are merged (Chan,
// Golub, LeVeque 1979).
struct Sum {
    mean: f32,
    m2: f32, // sum of the squared deviations from the mean
    pixels: f32,
}

fn join(a: Sum, b: Sum) -> Sum {
    let pixels = a.pixels + b.pixels;
    let share = b.pixels / max(pixels, 1.0);
    let delta = b.mean - a.mean;
    return Sum(a.mean + delta * share, a.m2 + b.m2 + delta * delta * (a.pixels * share), pixels);
}
