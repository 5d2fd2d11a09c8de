// Sum of exp(z - largest) over a pixel's logits: what its softmax is divided by.
#include "pixels/largest.wgsl"

fn exponentials(at: u32, largest: f32) -> f32 {
    var sum = vec4<f32>(0.0);
    for (var quad = 0u; quad < p.quads; quad++) {
        sum += exp(logits(at, quad) - largest);
    }
    return dot(sum, vec4<f32>(1.0));
}
