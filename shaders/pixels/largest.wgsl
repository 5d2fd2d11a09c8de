// The largest of a pixel's logits. z: [pixels, K] in quads. Padding counts as the lowest number, which is never the
// largest and whose exponential is 0.
struct Largest {
    logit: f32,
    of_class: u32, // the first that has it
}

// A quad of a pixel's logits; `at` is the pixel's first quad.
fn logits(at: u32, quad: u32) -> vec4<f32> {
    let lanes = vec4<u32>(0u, 1u, 2u, 3u) + quad * 4u;
    return select(vec4<f32>(-3.4e38), widen(z[at + quad]), lanes < vec4<u32>(p.classes));
}

fn largest(at: u32) -> Largest {
    var found = Largest(-3.4e38, 0u);
    for (var quad = 0u; quad < p.quads; quad++) {
        let v = logits(at, quad);
        let m = max(max(v.x, v.y), max(v.z, v.w));
        if (m > found.logit) {
            let lane = select(select(select(3u, 2u, v.z == m), 1u, v.y == m), 0u, v.x == m);
            found = Largest(m, quad * 4u + lane);
        }
    }
    return found;
}
